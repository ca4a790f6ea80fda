#include "algorithms/attribution/kernel_shap.h"

#include <algorithm>
#include <numeric>

#include "algorithms/attribution/shapley.h"
#include "algorithms/coalitions.h"
#include "algorithms/linear_fit.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Sampled coalitions, how often each was drawn, and the regression on them.
class Regression final : public CoalitionSet {
 public:
  Regression(std::int64_t features, const KernelShap& options, std::uint64_t seed)
      : CoalitionSet(features), list_(features) {
    const auto n = static_cast<std::size_t>(features);
    none_ = list_.add(std::vector<std::uint8_t>(n, 0));
    std::vector<double> cumulative;  // of p(k), not normalised
    for (std::int64_t k = 1; k < features; ++k) {
      const double p = 1 / (static_cast<double>(k) * static_cast<double>(features - k));
      cumulative.push_back(p + (cumulative.empty() ? 0 : cumulative.back()));
    }
    std::vector<std::uint8_t> present(n);
    std::vector<std::int64_t> order(n);
    for (std::int64_t s = 0; s < options.n_samples - 2 && features > 1; ++s) {
      if (options.paired && s % 2 == 1) {
        for (std::uint8_t& p : present) p ^= 1;
      } else {
        RandomStream random(seed, 0, s);
        const double u = random.uniform() * cumulative.back();
        const auto size =
            std::min<std::ptrdiff_t>(std::upper_bound(cumulative.begin(), cumulative.end(), u) - cumulative.begin(),
                                     features - 2) +
            1;
        std::iota(order.begin(), order.end(), 0);
        std::fill(present.begin(), present.end(), std::uint8_t{0});
        for (std::ptrdiff_t i = 0; i < size; ++i) {
          std::swap(order[static_cast<std::size_t>(i)],
                    order[static_cast<std::size_t>(i + random.below(features - i))]);
          present[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = 1;
        }
      }
      const auto number = static_cast<std::size_t>(list_.add(present));
      if (number >= drawn_.size()) drawn_.resize(number + 1, 0);
      drawn_[number] += 1;
    }
    drawn_.resize(static_cast<std::size_t>(list_.size()), 0);
    members_.resize(drawn_.size() * n);
    for (std::size_t u = 0; u < drawn_.size(); ++u) {
      list_.write(static_cast<std::int64_t>(u), std::span(members_).subspan(u * n, n));
    }
    fit_ = std::make_unique<SumConstrainedFit>(
        LinearSamples{.samples = list_.size(), .features = features, .x = members_, .weight = drawn_});
  }

  [[nodiscard]] std::int64_t size() const override { return list_.size(); }
  void write(std::int64_t u, std::span<double> present) const override { list_.write(u, present); }
  [[nodiscard]] std::int64_t full() const override { return list_.full(); }
  [[nodiscard]] std::int64_t none() const override { return none_; }
  [[nodiscard]] const SumConstrainedFit& fit() const { return *fit_; }

 private:
  CoalitionList list_;
  std::int64_t none_ = -1;
  std::vector<double> drawn_, members_;
  std::unique_ptr<SumConstrainedFit> fit_;
};

std::vector<double> scores_of(const Game& game) {
  std::vector<double> scores;
  const auto* sampled = dynamic_cast<const Regression*>(&game.set);
  for (std::int64_t k = 0; k < game.scalars; ++k) {
    std::vector<double> phi;
    if (sampled == nullptr) {
      phi = shapley_values(game.players(), [&](std::int64_t set) { return game.v(set, k); });
    } else {
      const double none = game.v(game.set.none(), k);
      std::vector<double> y;
      for (std::int64_t u = 0; u < game.set.size(); ++u) y.push_back(game.v(u, k) - none);
      phi = sampled->fit().solve(y, game.v(game.set.full(), k) - none);
    }
    scores.insert(scores.end(), phi.begin(), phi.end());
  }
  return scores;
}

}  // namespace

Attribution run_method(const Model& model, const KernelShap& options, const Request& request) {
  return play_games(model, request,
                    {.phase = "kernel-shap",
                     .feature_mask = options.feature_mask,
                     .baselines = options.baselines,
                     .complete = true,
                     .set = [&](std::int64_t features) -> std::unique_ptr<CoalitionSet> {
                       if (features < 20 && options.n_samples >= std::int64_t{1} << features) {
                         return std::make_unique<EverySubset>(features);
                       }
                       return std::make_unique<Regression>(features, options, request.compute.seed);
                     },
                     .scores = scores_of});
}

}  // namespace onnxray
