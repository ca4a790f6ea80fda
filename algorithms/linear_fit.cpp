#include "algorithms/linear_fit.h"

#include <Eigen/Dense>
#include <cmath>

#include "engine/base/error.h"

namespace onnxray {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Eigen::MatrixXd;
using Eigen::VectorXd;

Eigen::Map<const Matrix> x_of(const LinearSamples& s) { return {s.x.data(), s.samples, s.features}; }
Eigen::Map<const VectorXd> vector_of(std::span<const double> v) {
  return {v.data(), static_cast<Eigen::Index>(v.size())};
}
// Directions whose extent is this small a part of the largest are rounding, and get no part of the solution.
constexpr double kRankTolerance = 1e-10;

std::vector<double> list_of(const VectorXd& v) { return {v.data(), v.data() + v.size()}; }

// Columns and y relative to their weighted means, which the intercept takes up, each row times the root of its weight.
struct Centered {
  MatrixXd x;
  VectorXd y;
};

Centered centered(const LinearSamples& s, std::span<const double> y, bool weights_sum_to_one) {
  VectorXd w = vector_of(s.weight);
  const double sum = w.sum();
  ONNXRAY_CHECK(sum > 0 && std::isfinite(sum), "a linear model's weights sum to ", sum);
  const VectorXd share = w / sum;
  if (weights_sum_to_one) w = share;
  const Eigen::RowVectorXd mean_x = share.transpose() * x_of(s);
  const double mean_y = share.dot(vector_of(y));
  const VectorXd root = w.cwiseSqrt();
  return {root.asDiagonal() * (x_of(s).rowwise() - mean_x).matrix(),
          (root.array() * (vector_of(y).array() - mean_y)).matrix()};
}

}  // namespace

std::vector<double> fit_least_squares(const LinearSamples& s, std::span<const double> y) {
  const Centered c = centered(s, y, false);
  Eigen::CompleteOrthogonalDecomposition<MatrixXd> decomposition;
  decomposition.setThreshold(kRankTolerance);
  decomposition.compute(c.x);
  return list_of(decomposition.solve(c.y));
}

std::vector<double> fit_ridge(const LinearSamples& s, std::span<const double> y, double alpha) {
  ONNXRAY_ASSERT(alpha > 0);
  const Centered c = centered(s, y, false);
  // The smaller of the two normal equations.
  if (s.features <= s.samples) {
    MatrixXd a = c.x.transpose() * c.x;
    a.diagonal().array() += alpha;
    return list_of(a.ldlt().solve(c.x.transpose() * c.y));
  }
  MatrixXd a = c.x * c.x.transpose();
  a.diagonal().array() += alpha;
  return list_of(c.x.transpose() * a.ldlt().solve(c.y));
}

std::vector<double> fit_lasso(const LinearSamples& s, std::span<const double> y, double alpha) {
  if (alpha == 0) return fit_least_squares(s, y);
  constexpr int kMaxPasses = 100000;
  const Centered c = centered(s, y, true);
  const VectorXd norms = c.x.colwise().squaredNorm().transpose();
  const double null = 0.5 * c.y.squaredNorm();
  VectorXd beta = VectorXd::Zero(s.features), r = c.y;
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    for (Eigen::Index j = 0; j < beta.size(); ++j) {
      if (norms[j] == 0) continue;
      const double old = beta[j], rho = c.x.col(j).dot(r) + norms[j] * old;
      beta[j] = std::copysign(std::max(0.0, std::abs(rho) - alpha), rho) / norms[j];
      if (beta[j] != old) r += (old - beta[j]) * c.x.col(j);
    }
    // Dual point: the residual scaled into the feasible set |X^T r|_inf <= alpha.
    const double largest = (c.x.transpose() * r).lpNorm<Eigen::Infinity>();
    const double scale = largest > alpha ? alpha / largest : 1;
    const double gap = 0.5 * r.squaredNorm() * (1 + scale * scale) + alpha * beta.lpNorm<1>() - scale * r.dot(c.y);
    if (gap <= 1e-12 * null) return list_of(beta);
  }
  fail("the lasso with alpha ", alpha, " did not converge in ", kMaxPasses, " passes");
}

struct SumConstrainedFit::Factors {
  VectorXd root;       // of the weights
  VectorXd row_means;  // mean of each sample's features
  Eigen::CompleteOrthogonalDecomposition<MatrixXd> decomposition;
};

// beta = total / F + u with u orthogonal to (1, ..., 1): least squares for u over the projected rows, whose
// minimum-norm solution is orthogonal to it by itself.
SumConstrainedFit::SumConstrainedFit(const LinearSamples& s) : factors_(std::make_unique<Factors>()) {
  factors_->root = vector_of(s.weight).cwiseSqrt();
  factors_->row_means = x_of(s).rowwise().mean();
  const MatrixXd projected = factors_->root.asDiagonal() * (x_of(s).colwise() - factors_->row_means).matrix();
  factors_->decomposition.setThreshold(kRankTolerance);
  factors_->decomposition.compute(projected);
}

SumConstrainedFit::~SumConstrainedFit() = default;

std::vector<double> SumConstrainedFit::solve(std::span<const double> y, double total) const {
  const Factors& f = *factors_;
  const auto features = f.decomposition.cols();
  // The part of x beta that equal shares explain: total / F times the number of present features.
  const VectorXd rest = (f.root.array() * (vector_of(y).array() - total * f.row_means.array())).matrix();
  VectorXd beta = f.decomposition.solve(rest);
  beta.array() += (total - beta.sum()) / static_cast<double>(features);
  return list_of(beta);
}

}  // namespace onnxray
