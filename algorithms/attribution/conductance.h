// Conductance: integrated gradients' total, attributed to inner values. Dhamdhere, Sundararajan, Yan, "How Important Is
// a Neuron?", ICLR 2019, equations 2 and 3. On the path x(alpha) = x' + alpha (x - x'), for an element y of a layer,
//   Cond_y = integral over alpha in [0, 1] of dF/dy * dy/dalpha,   dy/dalpha = sum over i of dy/dx_i (x_i - x'_i).
// The derivative of y along the path is exact (directional_derivative in engine/autodiff.h), so the sum over a layer
// that all paths cross is F(x) - F(x') up to the quadrature, with every rule. Any number of layers come from one sweep.
// With increments = difference it is the Riemann-Stieltjes sum over n equal intervals of the path instead,
//   Cond_y = sum over i of dF/dy(x(i / n)) * (y(x((i + 1) / n)) - y(x(i / n)))       (riemann_left)
// or with dF/dy at the other end of each interval (riemann_right). Captum's LayerConductance with its trapezoid nodes
// is the former. Its limit is the same integral. With `through`, the flow through that element of a layer is attributed
// to the inputs instead:
//   Cond_i = (x_i - x'_i) * integral over alpha of dF/dy * dy/dx_i.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct Conductance {
  std::int64_t n_steps = 50;
  std::string method = "gausslegendre";
  Baselines baselines;
  std::string increments = "derivative";
  std::string through;
  bool multiply_by_inputs = true;
  void visit(OptionVisitor& v) {
    v(steps_option(), n_steps);
    v(quadrature_option(), method);
    v(path_start_option(), baselines);
    v({.name = "increments",
       .description =
           "dy: the exact derivative, or (with riemann_left, riemann_right) the difference over each interval",
       .choices = {"derivative", "difference"}},
      increments);
    v({.name = "through", .description = "VALUE:INDEX: attribute what flows through this neuron to the inputs"},
      through);
    v({.name = "multiply_by_inputs", .description = "with through: multiply by x - baseline"}, multiply_by_inputs);
  }
};

Attribution run_method(const Model& model, const Conductance& options, const Request& request);

}  // namespace onnxray
