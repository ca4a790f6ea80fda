// Integrated gradients. Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1:
//   IG_i = (x_i - x'_i) * integral over alpha in [0, 1] of dF(x' + alpha (x - x')) / dx_i
// `from` an inner value is layer integrated gradients: the path runs in that value's space, what lies before it runs
// once per example, and paths that bypass it hold their actual values.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct IntegratedGradients {
  std::int64_t n_steps = 50;
  std::string method = "gausslegendre";
  bool multiply_by_inputs = true;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v({.name = "n_steps", .description = "points on the path", .lo = 1, .hi = 1e6}, n_steps);
    v({.name = "method",
       .description = "quadrature on the path",
       .choices = {"gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"}},
      method);
    v({.name = "multiply_by_inputs", .description = "multiply the path's mean gradient by x - baseline"},
      multiply_by_inputs);
    v({.name = "baselines", .description = "where the path starts: a number, blur, or a file"}, baselines);
  }
};

Attribution run_method(const Model& model, const IntegratedGradients& options, const Request& request);

}  // namespace onnxray
