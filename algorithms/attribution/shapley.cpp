#include "algorithms/attribution/shapley.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include "algorithms/coalitions.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

constexpr std::int64_t kMostExact = 20;

// Orders, and their prefixes: the coalition of the first n features of an order. Prefixes that are equal as sets have
// one number: 0 the full one, 1 the empty one.
class Prefixes final : public CoalitionSet {
 public:
  Prefixes(std::int64_t features, const ShapleyValueSampling& options, std::uint64_t seed) : CoalitionSet(features) {
    const auto n = static_cast<std::size_t>(features);
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::int64_t> numbers;
    places_ = {{0, features}, {0, 0}};
    std::vector<std::int64_t> order(n);
    for (std::int64_t s = 0; s < options.n_samples; ++s) {
      if (options.antithetic && s % 2 == 1) {
        std::reverse(order.begin(), order.end());
      } else {
        std::iota(order.begin(), order.end(), 0);
        RandomStream(seed, 0, s).shuffle(std::span(order));
      }
      orders_.push_back(order);
      auto& steps = steps_.emplace_back(std::vector<std::int64_t>{1});
      std::pair<std::uint64_t, std::uint64_t> key{0, 0};
      for (std::int64_t i = 1; i < features; ++i) {
        add_to(key, order[static_cast<std::size_t>(i - 1)]);
        const auto [it, fresh] = numbers.try_emplace(key, size());
        if (fresh) places_.push_back({s, i});
        steps.push_back(it->second);
      }
      steps.push_back(0);
    }
  }

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(places_.size()); }
  void write(std::int64_t u, std::span<double> present) const override {
    const auto& [order, length] = places_[static_cast<std::size_t>(u)];
    std::fill(present.begin(), present.end(), 0.0);
    const auto& features = orders_[static_cast<std::size_t>(order)];
    for (std::int64_t i = 0; i < length; ++i)
      present[static_cast<std::size_t>(features[static_cast<std::size_t>(i)])] = 1;
  }
  [[nodiscard]] std::int64_t full() const override { return 0; }
  [[nodiscard]] std::int64_t none() const override { return 1; }

  [[nodiscard]] const std::vector<std::vector<std::int64_t>>& orders() const { return orders_; }
  // steps()[s][i]: the number of the coalition of the first i features of order s.
  [[nodiscard]] const std::vector<std::vector<std::int64_t>>& steps() const { return steps_; }

 private:
  // A key of 128 bits: the set itself for up to 128 features, beyond that the exclusive or of fixed random words, one
  // for each member, which two sets share with probability 2^-128.
  void add_to(std::pair<std::uint64_t, std::uint64_t>& key, std::int64_t feature) const {
    if (features() <= 128) {
      (feature < 64 ? key.first : key.second) |= std::uint64_t{1} << (feature % 64);
      return;
    }
    const Philox::Block b = Philox{}(1, static_cast<std::uint64_t>(feature));
    key.first ^= (std::uint64_t{b[0]} << 32) | b[1];
    key.second ^= (std::uint64_t{b[2]} << 32) | b[3];
  }

  std::vector<std::vector<std::int64_t>> orders_, steps_;
  std::vector<std::pair<std::int64_t, std::int64_t>> places_;  // order and length of each coalition
};

}  // namespace

std::vector<double> shapley_values(std::int64_t features, const std::function<double(std::int64_t)>& worth) {
  const auto n = static_cast<std::size_t>(features);
  // |S|! (F - |S| - 1)! / F! = 1 / (F * binomial(F - 1, |S|))
  std::vector<double> weight(n);
  double binomial = 1;
  for (std::size_t s = 0; s < n; ++s) {
    weight[s] = 1 / (static_cast<double>(n) * binomial);
    binomial = binomial * static_cast<double>(n - 1 - s) / static_cast<double>(s + 1);
  }
  std::vector<double> phi(n, 0);
  for (std::int64_t set = 0; set < std::int64_t{1} << features; ++set) {
    const double v = worth(set);
    const auto members = static_cast<std::size_t>(std::popcount(static_cast<std::uint64_t>(set)));
    for (std::size_t f = 0; f < n; ++f) {
      if (((set >> f) & 1) == 0) phi[f] += weight[members] * (worth(set | (std::int64_t{1} << f)) - v);
    }
  }
  return phi;
}

Attribution run_method(const Model& model, const ShapleyValues& options, const Request& request) {
  return play_games(model, request,
                    {.phase = "shapley-values",
                     .feature_mask = options.feature_mask,
                     .baselines = options.baselines,
                     .complete = true,
                     .set =
                         [](std::int64_t features) {
                           ONNXRAY_CHECK(features <= kMostExact, "shapley-values needs 2^features evaluations: got ",
                                         features, " features, expected at most ", kMostExact,
                                         "; group them (--feature-mask grid:4) or use shapley-value-sampling");
                           return std::make_unique<EverySubset>(features);
                         },
                     .scores =
                         [](const Game& game) {
                           std::vector<double> scores;
                           for (std::int64_t k = 0; k < game.scalars; ++k) {
                             const auto phi =
                                 shapley_values(game.players(), [&](std::int64_t set) { return game.v(set, k); });
                             scores.insert(scores.end(), phi.begin(), phi.end());
                           }
                           return scores;
                         }});
}

Attribution run_method(const Model& model, const ShapleyValueSampling& options, const Request& request) {
  return play_games(
      model, request,
      {.phase = "shapley-value-sampling",
       .feature_mask = options.feature_mask,
       .baselines = options.baselines,
       .complete = true,
       .set = [&](std::int64_t f) { return std::make_unique<Prefixes>(f, options, request.compute.seed); },
       .scores =
           [](const Game& game) {
             const auto& set = static_cast<const Prefixes&>(game.set);
             const auto players = static_cast<std::size_t>(game.players());
             std::vector<double> scores(players * static_cast<std::size_t>(game.scalars), 0);
             for (std::int64_t k = 0; k < game.scalars; ++k) {
               double* phi = scores.data() + static_cast<std::size_t>(k) * players;
               for (std::size_t s = 0; s < set.orders().size(); ++s) {
                 const auto& steps = set.steps()[s];
                 for (std::size_t i = 0; i < players; ++i) {
                   phi[set.orders()[s][i]] += game.v(steps[i + 1], k) - game.v(steps[i], k);
                 }
               }
               for (std::size_t f = 0; f < players; ++f) phi[f] /= static_cast<double>(set.orders().size());
             }
             return scores;
           }});
}

}  // namespace onnxray
