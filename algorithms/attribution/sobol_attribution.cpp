#include "algorithms/attribution/sobol_attribution.h"

#include <algorithm>
#include <numeric>

#include "algorithms/coalitions.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Coalition 0 is x itself; 1 + j (F + 1) is design A_j, 1 + j (F + 1) + 1 + f the same with coordinate f of B_j.
class Designs final : public CoalitionSet {
 public:
  Designs(std::int64_t features, std::int64_t n, std::uint64_t seed) : CoalitionSet(features), n_(n) {
    for (auto* points : {&a_, &b_}) {
      points->resize(static_cast<std::size_t>(n * features));
      std::vector<std::int64_t> stratum(static_cast<std::size_t>(n));
      for (std::int64_t f = 0; f < features; ++f) {
        RandomStream random(seed, points == &a_ ? 0 : 1, f);
        std::iota(stratum.begin(), stratum.end(), 0);
        random.shuffle(std::span(stratum));
        for (std::int64_t j = 0; j < n; ++j) {
          (*points)[static_cast<std::size_t>(j * features + f)] =
              (static_cast<double>(stratum[static_cast<std::size_t>(j)]) + random.uniform()) / static_cast<double>(n);
        }
      }
    }
  }
  [[nodiscard]] std::int64_t size() const override { return 1 + n_ * (features() + 1); }
  void write(std::int64_t u, std::span<double> present) const override {
    if (u == 0) return std::fill(present.begin(), present.end(), 1.0);
    const std::int64_t j = (u - 1) / (features() + 1), changed = (u - 1) % (features() + 1) - 1;
    const auto first = static_cast<std::ptrdiff_t>(j * features());
    std::copy(a_.begin() + first, a_.begin() + first + static_cast<std::ptrdiff_t>(features()), present.begin());
    if (changed >= 0) present[static_cast<std::size_t>(changed)] = b_[static_cast<std::size_t>(first + changed)];
  }
  [[nodiscard]] std::int64_t full() const override { return 0; }

 private:
  std::int64_t n_;
  std::vector<double> a_, b_;  // [n, features]
};

std::vector<double> total_indices(const Game& game) {
  const std::int64_t players = game.players(), n = (game.set.size() - 1) / (players + 1);
  std::vector<double> scores;
  for (std::int64_t k = 0; k < game.scalars; ++k) {
    const auto a = [&](std::int64_t j) { return game.v(1 + j * (players + 1), k); };
    double mean = 0, variance = 0;
    for (std::int64_t j = 0; j < n; ++j) mean += a(j) / static_cast<double>(n);
    for (std::int64_t j = 0; j < n; ++j) variance += (a(j) - mean) * (a(j) - mean) / static_cast<double>(n - 1);
    for (std::int64_t f = 0; f < players; ++f) {
      double sum = 0;
      for (std::int64_t j = 0; j < n; ++j) {
        const double change = a(j) - game.v(1 + j * (players + 1) + 1 + f, k);
        sum += change * change;
      }
      scores.push_back(variance > 0 ? sum / (2 * static_cast<double>(n) * variance) : 0);
    }
  }
  return scores;
}

}  // namespace

Attribution run_method(const Model& model, const SobolAttribution& options, const Request& request) {
  return play_games(
      model, request,
      {.phase = "sobol-attribution",
       .feature_mask = options.feature_mask,
       .baselines = options.baselines,
       .blends = true,
       .set = [&](std::int64_t f) { return std::make_unique<Designs>(f, options.n_samples, request.compute.seed); },
       .scores = total_indices});
}

}  // namespace onnxray
