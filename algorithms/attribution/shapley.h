// Shapley values of the features: the mean, over all orders in which features can join, of what a feature adds when it
// joins. Shapley, "A Value for n-Person Games", 1953; as an explanation: Strumbelj, Kononenko, "An Efficient
// Explanation of Individual Classifications using Game Theory", JMLR 2010.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// Exact: phi_f = sum over S without f of |S|! (F - |S| - 1)! / F! (v(S + f) - v(S)), by 2^F evaluations. At most 20
// features.
struct ShapleyValues {
  Baselines baselines;
  FeatureMask feature_mask;
  void visit(OptionVisitor& v) {
    v({.name = "baselines", .description = "what absent features are: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask",
       .description = "elements that join together: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

// The mean over n_samples random orders; complete for every single order. Coalitions that orders share are evaluated
// once. Castro, Gomez, Tejada, "Polynomial Calculation of the Shapley Value Based on Sampling", 2009; antithetic
// orders: Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 2022.
struct ShapleyValueSampling {
  std::int64_t n_samples = 25;
  bool antithetic = true;
  Baselines baselines;
  FeatureMask feature_mask;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "orders of the features", .lo = 1, .hi = 1e6}, n_samples);
    v({.name = "antithetic", .description = "every second order is the one before it reversed"}, antithetic);
    v({.name = "baselines", .description = "what absent features are: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask",
       .description = "elements that join together: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

// The same numbers from the worths of all 2^F coalitions: worth(S) for bit set S; one value per feature.
[[nodiscard]] std::vector<double> shapley_values(std::int64_t features,
                                                 const std::function<double(std::int64_t coalition)>& worth);

Attribution run_method(const Model& model, const ShapleyValues& options, const Request& request);
Attribution run_method(const Model& model, const ShapleyValueSampling& options, const Request& request);

}  // namespace onnxray
