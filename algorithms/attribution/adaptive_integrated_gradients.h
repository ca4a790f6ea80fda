// Integrated gradients (Sundararajan, Taly, Yan, ICML 2017) whose steps are placed for a requested completeness error
// instead of in a fixed number. The path is cut into intervals; each takes a four-point Gauss-Legendre rule.
// Completeness says what the rule should give on an interval, F(end) - F(begin), so its error is known, not estimated.
// Intervals are halved, worst first, until the errors left add up to `max_delta` at most: steps gather where the
// gradient along the path changes, at kinks above all. Each round takes the intervals whose errors fit into half of
// what is left of the budget and halves the rest, or takes them all when they fit.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct AdaptiveIntegratedGradients {
  double max_delta = 1e-3;
  std::int64_t max_steps = 2000;
  bool multiply_by_inputs = true;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v({.name = "max_delta",
       .description = "completeness error that is wanted, in units of the scalar",
       .lo = 1e-12,
       .hi = 1e30},
      max_delta);
    v({.name = "max_steps",
       .description = "gradients per example at most; a notice says when they did not suffice",
       .lo = 16,
       .hi = 1e7},
      max_steps);
    v({.name = "multiply_by_inputs", .description = "multiply the path's mean gradient by x - baseline"},
      multiply_by_inputs);
    v(path_start_option(), baselines);
  }
};

Attribution run_method(const Model& model, const AdaptiveIntegratedGradients& options, const Request& request);

}  // namespace onnxray
