// The one list of methods; the command line, the bindings, the documentation and the conformance tests read it.
#include "algorithms/attribution.h"
#include "algorithms/attribution/gradient_methods.h"
#include "algorithms/attribution/integrated_gradients.h"
#include "algorithms/attribution/occlusion.h"

namespace onnxray {
namespace {

template <class Options>
class MethodOf final : public Method {
 public:
  explicit MethodOf(Options options = {}) : options_(std::move(options)) {}
  void visit_options(OptionVisitor& v) override { options_.visit(v); }
  Attribution run(const Model& model, const Request& request) const override {
    return run_method(model, options_, request);
  }

 private:
  Options options_;
};

template <class Options>
std::unique_ptr<Method> make() {
  return std::make_unique<MethodOf<Options>>();
}

}  // namespace

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> list = {
      {.name = "saliency",
       .title = "Saliency",
       .paper = "Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, 2013",
       .formula = "|dF/dx|",
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make<Saliency>},
      {.name = "input-x-gradient",
       .title = "Input x Gradient",
       .paper = "Shrikumar, Greenside, Shcherbina, Kundaje, Not Just a Black Box, 2016",
       .formula = "x * dF/dx",
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make<InputXGradient>},
      {.name = "integrated-gradients",
       .title = "Integrated Gradients",
       .paper = "Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, 2017",
       .formula = "(x - x') * integral over alpha of dF(x' + alpha (x - x'))/dx",
       .needs_baseline = true,
       .completeness = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make<IntegratedGradients>},
      {.name = "occlusion",
       .title = "Occlusion",
       .paper = "Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, 2013",
       .formula = "mean over windows of F(x) - F(x with window := baseline)",
       .needs_baseline = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make<Occlusion>},
  };
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

template <class Options>
Attribution attribute(const Model& model, const Options& options, const Request& request) {
  MethodOf<Options> method(options);
  check_options(method);
  return method.run(model, request);
}

template Attribution attribute(const Model&, const Saliency&, const Request&);
template Attribution attribute(const Model&, const InputXGradient&, const Request&);
template Attribution attribute(const Model&, const IntegratedGradients&, const Request&);
template Attribution attribute(const Model&, const Occlusion&, const Request&);

}  // namespace onnxray
