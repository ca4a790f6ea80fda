// The one list of methods; the command line, the bindings, the documentation and the conformance tests read it.
#include "algorithms/method_of.h"

namespace onnxray {

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> list = [] {
    std::vector<MethodInfo> all;
    add_gradient_methods(all);
    add_rule_methods(all);
#ifdef ONNXRAY_LRP
    add_lrp_methods(all);
#endif
    add_cam_methods(all);
    add_perturbation_methods(all);
    return all;
  }();
  return list;
}

const MethodInfo& method(const std::string& name) {
  std::string known;
  for (const MethodInfo& m : methods()) {
    if (m.name == name) return m;
    known += (known.empty() ? "" : ", ") + m.name;
  }
  fail("unknown method '", name, "', expected one of: ", known);
}

}  // namespace onnxray
