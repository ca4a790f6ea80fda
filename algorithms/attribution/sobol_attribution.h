// Sobol attribution: the share of the output's variance that a region takes part in, alone or with others, when all
// regions are blended with the baseline by independent uniform amounts. Fel et al., "Look at the Variance! Efficient
// Black-box Explanations with Sobol-based Sensitivity Analysis", NeurIPS 2021.
//
//   total index ST_f = 1 / (2 N Var) sum over j of (v(A_j) - v(A_j with coordinate f of B_j))^2,
// Jansen's estimator, "Analysis of variance designs for model output", 1999. A row with amounts m holds
// m x + (1 - m) baseline; Var is the sample variance of v(A). The amounts are Latin hypercube samples: every coordinate
// is stratified over the N designs, as the paper's quasi-random sequences are.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct SobolAttribution {
  std::int64_t n_samples = 32;
  Baselines baselines;
  FeatureMask feature_mask = grid_mask(8);
  void visit(OptionVisitor& v) {
    v({.name = "n_samples",
       .description = "designs N; each costs one row per feature and one more",
       .lo = 2,
       .hi = 1e6},
      n_samples);
    v({.name = "baselines", .description = "what regions are blended with: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask", .description = "the regions: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

Attribution run_method(const Model& model, const SobolAttribution& options, const Request& request);

}  // namespace onnxray
