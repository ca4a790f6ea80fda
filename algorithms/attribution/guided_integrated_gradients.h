// Guided integrated gradients. Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi, "Guided Integrated Gradients:
// an Adaptive Path Method for Removing Noise", CVPR 2021, algorithm 1 with the bounded path of section 4.2.
//   sum over moves of dF/dx_i * (change of x_i)
// along a path from the baseline on which, at every step, the features with the smallest partial derivatives move
// first. After step t of T the L1 distance to the input is (1 - t / T) of the whole, and every feature lies within
// max_dist of the straight path (in fractions of its own way). The path depends on the scalar, so several scalars take
// a run each.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct GuidedIntegratedGradients {
  std::int64_t n_steps = 200;
  double fraction = 0.25;
  double max_dist = 0.02;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v(steps_option(), n_steps);
    v({.name = "fraction", .description = "part of the features that moves at a time", .lo = 0, .hi = 1}, fraction);
    v({.name = "max_dist",
       .description = "distance from the straight path that a feature may have; 1: unbounded, 0: straight",
       .lo = 0,
       .hi = 1},
      max_dist);
    v(path_start_option(), baselines);
  }
};

Attribution run_method(const Model& model, const GuidedIntegratedGradients& options, const Request& request);

}  // namespace onnxray
