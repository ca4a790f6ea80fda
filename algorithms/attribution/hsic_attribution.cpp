#include "algorithms/attribution/hsic_attribution.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "algorithms/coalitions.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Every feature is present in half of the masks.
class HalfOfTheMasks final : public DrawnCoalitions {
 public:
  HalfOfTheMasks(std::int64_t features, std::int64_t samples, std::uint64_t seed) : DrawnCoalitions(features) {
    std::vector<std::uint8_t> masks(static_cast<std::size_t>(samples * features));
    std::vector<std::int64_t> order(static_cast<std::size_t>(samples));
    for (std::int64_t f = 0; f < features; ++f) {
      std::iota(order.begin(), order.end(), 0);
      RandomStream(seed, 0, f).shuffle(std::span(order));
      for (std::int64_t s = 0; s < samples; ++s) {
        masks[static_cast<std::size_t>(s * features + f)] = 2 * order[static_cast<std::size_t>(s)] < samples ? 0 : 1;
      }
    }
    for (std::int64_t s = 0; s < samples; ++s) {
      draw(std::span(masks).subspan(static_cast<std::size_t>(s * features), static_cast<std::size_t>(features)));
    }
  }
};

// Median of |y_i - y_j| over the pairs that differ; 0 if none does.
double median_distance(std::span<const double> y) {
  std::vector<double> distances;
  for (std::size_t i = 0; i < y.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (y[i] != y[j]) distances.push_back(std::abs(y[i] - y[j]));
    }
  }
  if (distances.empty()) return 0;
  const auto middle = distances.begin() + static_cast<std::ptrdiff_t>(distances.size() / 2);
  std::nth_element(distances.begin(), middle, distances.end());
  return *middle;
}

}  // namespace

std::vector<double> hsic(std::span<const double> present, std::span<const double> y) {
  const auto n = static_cast<Eigen::Index>(y.size());
  const auto features = static_cast<Eigen::Index>(present.size() / y.size());
  const double width = median_distance(y);
  if (width == 0) return std::vector<double>(static_cast<std::size_t>(features), 0);
  Eigen::MatrixXd l(n, n);
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index i = 0; i < n; ++i) {
      const double d = (y[static_cast<std::size_t>(i)] - y[static_cast<std::size_t>(j)]) / width;
      l(i, j) = std::exp(-0.5 * d * d);
    }
  }
  // K_f = z z^T / 2 with z = 2 m - 1, so trace(K H L H) = (H z)^T L (H z) / 2.
  using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::MatrixXd z = 2 * Eigen::Map<const Rows>(present.data(), n, features);
  z = (z.rowwise() - z.colwise().mean()).eval();
  const Eigen::VectorXd trace = 0.5 * z.cwiseProduct(l * z).colwise().sum().transpose();
  std::vector<double> out;
  for (Eigen::Index f = 0; f < features; ++f) {
    out.push_back(std::max(0.0, trace[f]) / (static_cast<double>(n - 1) * static_cast<double>(n - 1)));
  }
  return out;
}

Attribution run_method(const Model& model, const HsicAttribution& options, const Request& request) {
  return play_games(
      model, request,
      {.phase = "hsic-attribution",
       .feature_mask = options.feature_mask,
       .baselines = options.baselines,
       .set =
           [&](std::int64_t f) { return std::make_unique<HalfOfTheMasks>(f, options.n_samples, request.compute.seed); },
       .scores =
           [](const Game& game) {
             const auto& set = static_cast<const HalfOfTheMasks&>(game.set);
             std::vector<double> scores;
             for (std::int64_t k = 0; k < game.scalars; ++k) {
               std::vector<double> y;
               for (const std::int64_t u : set.numbers()) y.push_back(game.v(u, k));
               const std::vector<double> each = hsic(set.members(), y);
               scores.insert(scores.end(), each.begin(), each.end());
             }
             return scores;
           }});
}

}  // namespace onnxray
