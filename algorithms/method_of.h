// What a family's register_*.cpp needs: a method from an options aggregate with `visit` and a `run_method` overload.
// Each options type is registered with make_method<Options> and instantiates `attribute` explicitly.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "algorithms/attribution.h"

namespace onnxray {

template <class Options>
class MethodOf final : public Method {
 public:
  explicit MethodOf(Options options = {}) : options_(std::move(options)) {}
  void visit_options(OptionVisitor& v) override { options_.visit(v); }
  [[nodiscard]] Attribution run(const Model& model, const Request& request) const override {
    return run_method(model, options_, request);
  }
  [[nodiscard]] std::unique_ptr<Method> clone() const override { return std::make_unique<MethodOf>(*this); }

 private:
  Options options_;
};

template <class Options>
std::unique_ptr<Method> make_method() {
  return std::make_unique<MethodOf<Options>>();
}

template <class Options>
Attribution attribute(const Model& model, const Options& options, const Request& request) {
  MethodOf<Options> method(options);
  check_options(method);
  return method.run(model, request);
}

// One function per family, in the order of the documentation (algorithms/attribution/register_*.cpp).
void add_gradient_methods(std::vector<MethodInfo>& list);
void add_rule_methods(std::vector<MethodInfo>& list);
void add_lrp_methods(std::vector<MethodInfo>& list);  // only with ONNXRAY_LRP
void add_cam_methods(std::vector<MethodInfo>& list);
void add_perturbation_methods(std::vector<MethodInfo>& list);

}  // namespace onnxray
