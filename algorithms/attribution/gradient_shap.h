// Gradients at random points between baselines drawn from a sample and the input.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// Gradient SHAP. Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NIPS 2017; as in the SHAP
// package and Captum: with noise n ~ N(0, stdevs^2), baseline b drawn from the sample, alpha ~ U(0, 1), x~ = x + n,
//   mean over n_samples draws of (y(x~) - y(b)) * dF/dy at alpha x~ + (1 - alpha) b,  y a `from` value (or x itself).
// The sum is F(x~) - F(b) in expectation; delta is its error for the draws that were made. Draws (algorithms/random.h):
// row random_index(kBaseline) of the sample, jointly for all values, alpha = random_uniform(kAlpha), noise
// random_normal(kNoise + i) on varied value i, all keyed by (seed, example, sample).
struct GradientShap {
  std::int64_t n_samples = 5;
  std::vector<double> stdevs = {0.0};
  Baselines baselines;
  bool multiply_by_inputs = true;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "random points per example", .lo = 1, .hi = 1e6}, n_samples);
    v({.name = "stdevs",
       .description = "standard deviation of the noise on the input, or one per varied value",
       .lo = 0,
       .hi = 1e30},
      stdevs);
    v({.name = "baselines", .description = "a sample to draw from: a file with any number of rows, or a number"},
      baselines);
    v({.name = "multiply_by_inputs", .description = "multiply each gradient by x - baseline"}, multiply_by_inputs);
  }
};

// Expected gradients. Erion, Janizek, Sturmfels, Lundberg, Lee, "Improving performance of deep learning models with
// axiomatic attribution priors and expected gradients", Nature Machine Intelligence 2021, equation 3:
//   E over b ~ sample, alpha ~ U(0, 1) of (x - b) * dF/dx at b + alpha (x - b),
// which is integrated gradients averaged over the baselines, estimated with n_samples draws. The draws are those of
// gradient SHAP without noise.
struct ExpectedGradients {
  std::int64_t n_samples = 200;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "random points per example", .lo = 1, .hi = 1e6}, n_samples);
    v({.name = "baselines", .description = "a sample to draw from: a file with any number of rows, or a number"},
      baselines);
  }
};

Attribution run_method(const Model& model, const GradientShap& options, const Request& request);
Attribution run_method(const Model& model, const ExpectedGradients& options, const Request& request);

}  // namespace onnxray
