// The linear models behind LIME and Kernel SHAP, by the conditions that make a solution the optimum.
#include "algorithms/linear_fit.h"

#include <gtest/gtest.h>

#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::largest_difference;
using testing::wave;

struct Data {
  std::int64_t n, f;
  std::vector<double> x, y, w;
  Data(std::int64_t n, std::int64_t f, double phase)
      : n(n), f(f), x(wave({n, f}, phase).to_doubles()), y(wave({n}, phase + 1, 3).to_doubles()) {
    for (const double v : wave({n}, phase + 2).to_doubles()) w.push_back(1.5 + v);
  }
  [[nodiscard]] LinearSamples samples() const { return {.samples = n, .features = f, .x = x, .weight = w}; }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j) const { return x[static_cast<std::size_t>(i * f + j)]; }
  // Residuals with the best intercept, and sum_i w_i r_i x_ij.
  [[nodiscard]] std::vector<double> correlations(const std::vector<double>& beta) const {
    std::vector<double> r = y;
    double sum = 0, mean = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      for (std::int64_t j = 0; j < f; ++j) r[k] -= at(i, j) * beta[static_cast<std::size_t>(j)];
      sum += w[k];
      mean += w[k] * r[k];
    }
    std::vector<double> out(static_cast<std::size_t>(f), 0);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      for (std::int64_t j = 0; j < f; ++j) out[static_cast<std::size_t>(j)] += w[k] * (r[k] - mean / sum) * at(i, j);
    }
    return out;
  }
  [[nodiscard]] double weight() const {
    double s = 0;
    for (const double v : w) s += v;
    return s;
  }
};

TEST(LinearFit, LeastSquaresLeavesNoCorrelation) {
  const Data d(20, 4, 1);
  EXPECT_LE(testing::largest(d.correlations(fit_least_squares(d.samples(), d.y))), 1e-12);
}

// Of the many solutions the one without a part that no sample sees.
TEST(LinearFit, LeastSquaresOfFewSamplesHasTheSmallestNorm) {
  Data d(3, 6, 2);
  const auto beta = fit_least_squares(d.samples(), d.y);
  EXPECT_LE(testing::largest(d.correlations(beta)), 1e-12);
  // beta = centred rows times two numbers: 1 to 0 and 2 to 0.
  std::vector<double> a, b;
  for (std::int64_t j = 0; j < 6; ++j) {
    a.push_back(d.at(1, j) - d.at(0, j));
    b.push_back(d.at(2, j) - d.at(0, j));
  }
  const auto dot = [](const std::vector<double>& p, const std::vector<double>& q) {
    double s = 0;
    for (std::size_t i = 0; i < p.size(); ++i) s += p[i] * q[i];
    return s;
  };
  const double aa = dot(a, a), ab = dot(a, b), bb = dot(b, b), det = aa * bb - ab * ab;
  const double ta = d.y[1] - d.y[0], tb = d.y[2] - d.y[0];
  const double u = (bb * ta - ab * tb) / det, v = (aa * tb - ab * ta) / det;
  std::vector<double> want;
  for (std::size_t j = 0; j < 6; ++j) want.push_back(u * a[j] + v * b[j]);
  EXPECT_LE(largest_difference(beta, want), 1e-12);
}

TEST(LinearFit, RidgeIsStationary) {
  for (const std::int64_t f : {4, 30}) {  // both forms of the normal equations
    const Data d(20, f, 3);
    const auto beta = fit_ridge(d.samples(), d.y, 0.7);
    const auto c = d.correlations(beta);
    for (std::size_t j = 0; j < beta.size(); ++j) EXPECT_NEAR(c[j], 0.7 * beta[j], 1e-11);
  }
}

// Subgradient conditions: correlation alpha sign(beta) where beta is not 0, at most alpha where it is.
TEST(LinearFit, LassoMeetsItsOptimalityConditions) {
  for (const auto& [n, f] : {std::pair(30, 5), std::pair(8, 20)}) {
    for (const double alpha : {0.01, 0.1, 0.5}) {
      const Data d(n, f, 4);
      const auto beta = fit_lasso(d.samples(), d.y, alpha);
      const auto c = d.correlations(beta);
      int zeros = 0;
      for (std::size_t j = 0; j < beta.size(); ++j) {
        const double g = c[j] / d.weight();
        if (beta[j] == 0) {
          ++zeros;
          EXPECT_LE(std::abs(g), alpha * (1 + 1e-5));
        } else {
          EXPECT_NEAR(g, std::copysign(alpha, beta[j]), 1e-5 * alpha);
        }
      }
      EXPECT_GE(zeros, std::max(0, f - n));
    }
  }
}

// sklearn.linear_model.Lasso(alpha=0.05).fit(X, y, sample_weight=w).coef_ and Ridge(alpha=2), LinearRegression() on
// X = [[1,0,0],[1,1,0],[0,1,1],[1,0,1],[0,0,1],[1,1,1]], y = [1,3,-1,2,-3,4], w = [1,.5,.25,1,.75,1] (scikit-learn
// 1.9.1, tol=1e-14).
TEST(LinearFit, AgreesWithScikitLearn) {
  const std::vector<double> x = {1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1};
  const std::vector<double> y = {1, 3, -1, 2, -3, 4}, w = {1, 0.5, 0.25, 1, 0.75, 1};
  const LinearSamples s{.samples = 6, .features = 3, .x = x, .weight = w};
  EXPECT_LE(largest_difference(fit_lasso(s, y, 0.05), {4.582142857142865, 1.871428571428569, 0.6464285714285747}),
            1e-6);
  EXPECT_LE(largest_difference(fit_ridge(s, y, 2), {1.3302043070127, 0.891220320265047, -0.043622308117062344}), 1e-12);
  EXPECT_LE(largest_difference(fit_least_squares(s, y), {4.999999999999997, 1.9999999999999991, 1.0000000000000024}),
            1e-12);
}

TEST(LinearFit, SumConstrained) {
  const Data d(15, 5, 6);
  const SumConstrainedFit fit(d.samples());
  const double total = 2.5;
  const auto beta = fit.solve(d.y, total);
  double sum = 0;
  for (const double b : beta) sum += b;
  EXPECT_NEAR(sum, total, 1e-13);
  // Stationary along every direction that keeps the sum: the gradient is the same in all coordinates.
  std::vector<double> gradient(5, 0);
  for (std::int64_t i = 0; i < d.n; ++i) {
    double r = d.y[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < d.f; ++j) r -= d.at(i, j) * beta[static_cast<std::size_t>(j)];
    for (std::int64_t j = 0; j < d.f; ++j) {
      gradient[static_cast<std::size_t>(j)] += d.w[static_cast<std::size_t>(i)] * r * d.at(i, j);
    }
  }
  for (const double g : gradient) EXPECT_NEAR(g, gradient[0], 1e-12);
  // Nothing known: equal shares.
  const std::vector<double> none(5, 0);
  const SumConstrainedFit empty({.samples = 1, .features = 5, .x = none, .weight = std::span(none).first(1)});
  EXPECT_LE(largest_difference(empty.solve(std::span(none).first(1), 10), std::vector<double>(5, 2)), 1e-14);
}

TEST(LinearFit, RefusesWeightsOfZero) {
  const std::vector<double> zero(4, 0);
  const LinearSamples s{.samples = 2, .features = 2, .x = zero, .weight = std::span(zero).first(2)};
  EXPECT_NE(testing::thrown_by([&] { (void)fit_lasso(s, std::span(zero).first(2), 0.1); }).text.find("sum to 0"),
            std::string::npos);
}

}  // namespace
}  // namespace onnxray
