#include "algorithms/attribution/feature_ablation.h"

#include <algorithm>
#include <numeric>

#include "algorithms/coalitions.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Coalition 0 holds every feature, 1 + s F + f all but feature f, for repetitions s.
class AllButOne final : public CoalitionSet {
 public:
  AllButOne(std::int64_t features, std::int64_t repetitions) : CoalitionSet(features), repetitions_(repetitions) {}
  [[nodiscard]] std::int64_t size() const override { return 1 + repetitions_ * features(); }
  void write(std::int64_t u, std::span<double> present) const override {
    std::fill(present.begin(), present.end(), 1.0);
    if (u > 0) present[static_cast<std::size_t>((u - 1) % features())] = 0;
  }
  [[nodiscard]] std::int64_t full() const override { return 0; }

 private:
  std::int64_t repetitions_;
};

// v(all) - v(all but f), mean over the repetitions.
std::vector<double> drops(const Game& game) {
  const std::int64_t players = game.players(), repetitions = (game.set.size() - 1) / players;
  std::vector<double> scores;
  for (std::int64_t k = 0; k < game.scalars; ++k) {
    for (std::int64_t f = 0; f < players; ++f) {
      double sum = 0;
      for (std::int64_t s = 0; s < repetitions; ++s) sum += game.v(0, k) - game.v(1 + s * players + f, k);
      scores.push_back(sum / static_cast<double>(repetitions));
    }
  }
  return scores;
}

// A permutation of n >= 2 examples in which none stays: uniform among those by rejection, 1 in e is accepted.
std::vector<std::int64_t> derangement(RandomStream random, std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  while (true) {
    random.shuffle(std::span(order));
    bool fixed = false;
    for (std::size_t i = 0; i < order.size(); ++i) fixed = fixed || order[i] == static_cast<std::int64_t>(i);
    if (!fixed) return order;
  }
}

}  // namespace

Attribution run_method(const Model& model, const FeatureAblation& options, const Request& request) {
  return play_games(model, request,
                    {.phase = "feature-ablation",
                     .feature_mask = options.feature_mask,
                     .baselines = options.baselines,
                     .one_missing = options.incremental,
                     .set = [](std::int64_t features) { return std::make_unique<AllButOne>(features, 1); },
                     .scores = drops});
}

Attribution run_method(const Model& model, const FeaturePermutation& options, const Request& request) {
  std::int64_t examples = 1;
  (void)specialisation_of(model, request, examples);
  ONNXRAY_CHECK(examples >= 2, "feature-permutation exchanges features between examples: got ", examples,
                " example, expected at least 2");
  // One permutation for each coalition u but the full one.
  const auto partner = [&](std::int64_t example, std::int64_t u) {
    if (u == 0) return example;
    return derangement(RandomStream(request.compute.seed, 0, u), examples)[static_cast<std::size_t>(example)];
  };
  return play_games(model, request,
                    {.phase = "feature-permutation",
                     .feature_mask = options.feature_mask,
                     .baselines = {},
                     .set = [&](std::int64_t f) { return std::make_unique<AllButOne>(f, options.n_samples); },
                     .scores = drops,
                     .partner = partner});
}

}  // namespace onnxray
