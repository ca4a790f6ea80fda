#include "algorithms/attribution/gradient_methods.h"

#include <cmath>

#include "algorithms/attribution/backward_pass.h"

namespace onnxray {
namespace {

// A layer that no scalar depends on is a mistake, not zeros.
void expect_between(Session& session) { session.expect_between(); }

}  // namespace

Attribution gradients_at(const Model& model, const Request& request, const char* phase) {
  return run_backward_pass(model, request, {.phase = phase});
}

Attribution run_method(const Model& model, const Saliency& options, const Request& request) {
  Attribution out = run_backward_pass(model, request, {.phase = "saliency", .check = expect_between});
  if (options.abs) {
    for (auto& [name, t] : out.attributions) {
      for (double& v : t.mutable_data<double>()) v = std::abs(v);
    }
  }
  return out;
}

Attribution run_method(const Model& model, const InputXGradient&, const Request& request) {
  return run_backward_pass(model, request, {.phase = "input-x-gradient", .times_value = true, .check = expect_between});
}

Attribution run_method(const Model& model, const GradientXActivation& options, const Request& request) {
  return run_backward_pass(
      model, request,
      {.phase = "gradient-x-activation", .times_value = options.multiply_by_inputs, .check = expect_between});
}

}  // namespace onnxray
