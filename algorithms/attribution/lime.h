// LIME: a sparse linear model of v(S) on the members of S, fitted to random coalitions near the example. Ribeiro,
// Singh, Guestrin, "Why Should I Trust You?", KDD 2016.
//
//   S holds each feature with probability 1/2;  weight(S) = exp(-d(x, x_S)^2 / (2 kernel_width^2)),
//   d = 1 - cosine or the Euclidean distance of the attributed values, flattened and joined;
//   the coefficients of the weighted lasso, ridge or least-squares model with an intercept are the attributions.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct Lime {
  std::int64_t n_samples = 25;
  std::string interpretable_model = "lasso";
  double alpha = 0.01;
  std::string distance_mode = "cosine";
  double kernel_width = 1;
  Baselines baselines;
  FeatureMask feature_mask;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "coalitions the model is fitted to", .lo = 1, .hi = 1e6}, n_samples);
    v({.name = "interpretable_model", .description = "the linear model", .choices = {"lasso", "ridge", "linear"}},
      interpretable_model);
    v({.name = "alpha", .description = "penalty of lasso and ridge, as scikit-learn's", .lo = 0, .hi = 1e12}, alpha);
    v({.name = "distance_mode",
       .description = "how far a sample is from the example",
       .choices = {"cosine", "euclidean"}},
      distance_mode);
    v({.name = "kernel_width",
       .description = "width of the exponential kernel over distances",
       .lo = 1e-12,
       .hi = 1e12},
      kernel_width);
    v({.name = "baselines", .description = "what absent features are: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask",
       .description = "elements of one feature: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

Attribution run_method(const Model& model, const Lime& options, const Request& request);

}  // namespace onnxray
