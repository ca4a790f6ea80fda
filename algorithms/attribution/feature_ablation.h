// Methods that replace one feature at a time.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// F(x) - F(x with the feature := baseline), given to every element of the feature. `from` an inner value ablates that
// layer's units. Integer values (token ids) may be ablated too.
struct FeatureAblation {
  Baselines baselines;
  FeatureMask feature_mask;
  // Recompute only what a feature changes, layer by layer (algorithms/incremental_rows.h); the result is the same.
  bool incremental = true;
  void visit(OptionVisitor& v) {
    v({.name = "baselines", .description = "what replaces a feature: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask",
       .description = "elements replaced together: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
    v({.name = "incremental", .description = "recompute only what a feature changes, where that is cheaper"},
      incremental);
  }
};

// F(x) - F(x with the feature := that of another example), mean over n_samples random permutations of the examples
// without fixed points. One permutation per feature and sample moves all of a feature, also across values. Needs at
// least two examples. Breiman, "Random Forests", 2001.
struct FeaturePermutation {
  std::int64_t n_samples = 1;
  FeatureMask feature_mask;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "permutations per feature", .lo = 1, .hi = 1e6}, n_samples);
    v({.name = "feature_mask",
       .description = "elements moved together: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

Attribution run_method(const Model& model, const FeatureAblation& options, const Request& request);
Attribution run_method(const Model& model, const FeaturePermutation& options, const Request& request);

}  // namespace onnxray
