// Weighted linear models of a few samples: y ~ X beta + intercept. Objectives as in scikit-learn, so that equal
// arguments give equal coefficients.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace onnxray {

struct LinearSamples {
  std::int64_t samples = 0, features = 0;
  std::span<const double> x;       // [samples, features]
  std::span<const double> weight;  // [samples], not negative, not all zero
};

// Coefficients [features] for y [samples]; the intercept is fitted and not returned. Each throws kBadInput when the
// weights sum to nothing.

// min sum_i w_i (y_i - x_i beta - c)^2; of several minima the one with the smallest |beta|.
[[nodiscard]] std::vector<double> fit_least_squares(const LinearSamples& s, std::span<const double> y);
// ... + alpha |beta|_2^2, alpha > 0.
[[nodiscard]] std::vector<double> fit_ridge(const LinearSamples& s, std::span<const double> y, double alpha);
// min 1/2 sum_i (w_i / sum w) (y_i - x_i beta - c)^2 + alpha |beta|_1 by cyclic coordinate descent from 0, until the
// duality gap is 1e-12 of the null model's objective. Friedman, Hastie, Tibshirani, "Regularization Paths for
// Generalized Linear Models via Coordinate Descent", 2010.
[[nodiscard]] std::vector<double> fit_lasso(const LinearSamples& s, std::span<const double> y, double alpha);

// min sum_i w_i (y_i - x_i beta)^2 subject to sum(beta) = total, no intercept; of several minima the one nearest to
// equal shares. Factored once for many y.
class SumConstrainedFit {
 public:
  explicit SumConstrainedFit(const LinearSamples& s);
  ~SumConstrainedFit();
  SumConstrainedFit(const SumConstrainedFit&) = delete;
  SumConstrainedFit& operator=(const SumConstrainedFit&) = delete;
  [[nodiscard]] std::vector<double> solve(std::span<const double> y, double total) const;

 private:
  struct Factors;
  std::unique_ptr<Factors> factors_;
};

}  // namespace onnxray
