// Kernel SHAP: Shapley values as the solution of a weighted linear regression of the coalitions' worths on their
// members. Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, theorem 2; paired
// sampling: Covert, Lee, "Improving KernelSHAP: Practical Shapley Value Estimation via Linear Regression", AISTATS
// 2021.
//
// min over phi of sum over sampled S of (v(S) - v(none) - sum of phi over S)^2, subject to sum(phi) = v(all) - v(none).
// Sizes of S are drawn with p(k) ~ (F - 1) / (k (F - k)), k = 1..F-1, members uniformly, so that every sample weighs
// the same. With n_samples of at least 2^F all coalitions are evaluated and the values are exact.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct KernelShap {
  std::int64_t n_samples = 25;
  bool paired = true;
  Baselines baselines;
  FeatureMask feature_mask;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "coalitions, the full and the empty one among them", .lo = 2, .hi = 1e6},
      n_samples);
    v({.name = "paired", .description = "every second coalition is the complement of the one before it"}, paired);
    v({.name = "baselines", .description = "what absent features are: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask",
       .description = "elements of one feature: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

Attribution run_method(const Model& model, const KernelShap& options, const Request& request);

}  // namespace onnxray
