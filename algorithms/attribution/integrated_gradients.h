// Integrated gradients. Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1:
//   IG_i = (x_i - x'_i) * integral over alpha in [0, 1] of dF(x' + alpha (x - x')) / dx_i
// `from` an inner value is layer integrated gradients: the path runs in that value's space, what lies before it runs
// once per example, and paths that bypass it hold their actual values.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct IntegratedGradients {
  std::int64_t n_steps = 50;
  std::string method = "gausslegendre";
  bool multiply_by_inputs = true;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v(steps_option(), n_steps);
    v(quadrature_option(), method);
    v({.name = "multiply_by_inputs", .description = "multiply the path's mean gradient by x - baseline"},
      multiply_by_inputs);
    v(path_start_option(), baselines);
  }
};

Attribution run_method(const Model& model, const IntegratedGradients& options, const Request& request);

}  // namespace onnxray
