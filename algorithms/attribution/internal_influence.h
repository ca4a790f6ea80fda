// Internal influence. Leino, Sen, Datta, Fredrikson, Li, "Influence-Directed Explanations for Deep Convolutional
// Networks", ITC 2018, definition 1, with the straight path from the baseline as distribution of interest:
//   II_y = integral over alpha in [0, 1] of dF/dy at x' + alpha (x - x'),  y an element of a `from` value.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct InternalInfluence {
  std::int64_t n_steps = 50;
  std::string method = "gausslegendre";
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v({.name = "n_steps", .description = "points on the path", .lo = 1, .hi = 1e6}, n_steps);
    v({.name = "method",
       .description = "quadrature on the path",
       .choices = {"gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"}},
      method);
    v({.name = "baselines", .description = "where the path starts: a number, blur, or a file"}, baselines);
  }
};

Attribution run_method(const Model& model, const InternalInfluence& options, const Request& request);

}  // namespace onnxray
