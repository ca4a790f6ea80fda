// Methods that see the model as a cooperative game: the players are an example's features, a coalition is the example
// with the features outside it replaced by the baseline, its worth v(S) is the scalar that is explained. Which
// coalitions are needed is known beforehand; each is evaluated once, rows are made inside the plan, and what is left of
// a method is arithmetic on their worths.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/features.h"

namespace onnxray {

// Different coalitions of features 0..F-1.
class CoalitionSet {
 public:
  explicit CoalitionSet(std::int64_t features) : features_(features) {}
  virtual ~CoalitionSet() = default;
  [[nodiscard]] std::int64_t features() const { return features_; }
  [[nodiscard]] virtual std::int64_t size() const = 0;
  // How present each feature is in coalition u: 1 its actual contents, 0 the baseline, between them a blend.
  virtual void write(std::int64_t u, std::span<double> present) const = 0;
  // Which coalition holds every feature, and which none (-1: not in the set).
  [[nodiscard]] virtual std::int64_t full() const = 0;
  [[nodiscard]] virtual std::int64_t none() const { return -1; }

 private:
  std::int64_t features_;
};

// A set given coalition by coalition. The full one is number 0; equal coalitions get one number.
class CoalitionList final : public CoalitionSet {
 public:
  explicit CoalitionList(std::int64_t features);
  // present: 0 or 1 for every feature. Returns the coalition's number.
  std::int64_t add(std::span<const std::uint8_t> present);
  [[nodiscard]] std::int64_t size() const override { return count_; }
  void write(std::int64_t u, std::span<double> present) const override;
  [[nodiscard]] std::int64_t full() const override { return 0; }
  [[nodiscard]] std::int64_t none() const override { return none_; }

 private:
  std::size_t words_;
  std::int64_t count_ = 0, none_ = -1;
  std::vector<std::uint64_t> bits_;
  std::unordered_multimap<std::uint64_t, std::int64_t> numbers_;  // by hash of the bits
};

// Draws of coalitions, with repetitions: equal ones share a number. The full coalition, for the example's own value, is
// number 0.
class DrawnCoalitions : public CoalitionSet {
 public:
  [[nodiscard]] std::int64_t size() const override { return list_.size(); }
  void write(std::int64_t u, std::span<double> present) const override { list_.write(u, present); }
  [[nodiscard]] std::int64_t full() const override { return list_.full(); }
  [[nodiscard]] const std::vector<std::int64_t>& numbers() const { return numbers_; }  // of every draw
  [[nodiscard]] const std::vector<double>& members() const { return members_; }        // [draws, features]

 protected:
  explicit DrawnCoalitions(std::int64_t features) : CoalitionSet(features), list_(features) {}
  // present: 0 or 1 for every feature.
  void draw(std::span<const std::uint8_t> present) {
    numbers_.push_back(list_.add(present));
    members_.insert(members_.end(), present.begin(), present.end());
  }

 private:
  CoalitionList list_;
  std::vector<std::int64_t> numbers_;
  std::vector<double> members_;
};

// All of them: coalition u is the bit set u.
class EverySubset final : public CoalitionSet {
 public:
  using CoalitionSet::CoalitionSet;
  [[nodiscard]] std::int64_t size() const override { return std::int64_t{1} << features(); }
  void write(std::int64_t u, std::span<double> present) const override {
    for (std::size_t f = 0; f < present.size(); ++f) present[f] = static_cast<double>((u >> f) & 1);
  }
  [[nodiscard]] std::int64_t full() const override { return size() - 1; }
  [[nodiscard]] std::int64_t none() const override { return 0; }
};

// One example's game, played out.
struct Game {
  const Session& session;
  const Features& features;
  const std::vector<Tensor>& baselines;  // per varied value, [1 or examples, row dims...]
  std::int64_t example = 0;
  std::int64_t scalars = 1;
  const CoalitionSet& set;
  std::span<const double> worths;  // [set.size(), scalars]

  [[nodiscard]] std::int64_t players() const { return set.features(); }
  // v(S) of coalition u for scalar k.
  [[nodiscard]] double v(std::int64_t u, std::int64_t k) const {
    return worths[static_cast<std::size_t>(u * scalars + k)];
  }
};

struct CoalitionMethod {
  std::string phase;
  const FeatureMask& feature_mask;
  const Baselines& baselines;
  bool blends = false;    // some coalitions hold a feature in part
  bool complete = false;  // the scores of the features sum to v(all) - v(none): fills delta
  // Coalition 0 is the full one, coalition 1 + f all but feature f: local features may be recomputed incrementally.
  bool one_missing = false;
  // The coalitions of that many features; called once for each number of features that occurs.
  std::function<std::unique_ptr<CoalitionSet>(std::int64_t features)> set;
  // [scalars, players]: the score of every feature.
  std::function<std::vector<double>(const Game&)> scores;
  // If set, what replaces a feature of `example` in coalition u is that of another example.
  std::function<std::int64_t(std::int64_t example, std::int64_t u)> partner = {};
};

// Attributions: every element gets its feature's score. delta counts each feature once.
[[nodiscard]] Attribution play_games(const Model& model, const Request& request, const CoalitionMethod& method);

}  // namespace onnxray
