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
    v(steps_option(), n_steps);
    v(quadrature_option(), method);
    v(path_start_option(), baselines);
  }
};

Attribution run_method(const Model& model, const InternalInfluence& options, const Request& request);

}  // namespace onnxray
