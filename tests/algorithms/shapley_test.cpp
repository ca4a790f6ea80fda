// Shapley values: exact, sampled and by regression, against the mean over all orders.
#include <gtest/gtest.h>

#include "algorithms/random.h"
#include "tests/algorithms/game.h"

namespace onnxray {
namespace {

using namespace testing::game;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;

// Shapley values of example e by all orders.
std::vector<double> by_orders(std::size_t e) {
  std::vector<std::size_t> order = {0, 1, 2, 3};
  std::vector<double> phi(kFeatures, 0);
  do {
    std::vector<double> keep(kFeatures, 0);
    double before = worth(keep)[e];
    for (const std::size_t f : order) {
      keep[f] = 1;
      const double after = worth(keep)[e];
      phi[f] += (after - before) / 24;
      before = after;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return phi;
}
TEST(ShapleyValues, AreTheMeanOverAllOrders) {
  const Attribution a =
      attribute(net(), ShapleyValues{.baselines = constant_baseline(), .feature_mask = groups()}, request());
  std::vector<std::vector<double>> phi;
  for (std::size_t e = 0; e < kExamples; ++e) phi.push_back(by_orders(e));
  expect_scores(
      a, [&](std::size_t e, std::size_t f) { return phi[e][f]; }, 1e-14);
  EXPECT_LE(largest_difference(a.baseline_values, worth({0, 0, 0, 0})), 0);
  EXPECT_LE(testing::largest(a.delta), 1e-15);
  EXPECT_EQ(a.report.rows, kExamples * 16);
}

TEST(ShapleyValues, RefusesMoreFeaturesThanItCanEnumerate) {
  ModelBuilder m;
  m.input("x", {"N", 21}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({21, 1}, 1));
  m.node("MatMul", {"x", "w"}, {"y"});
  const Model model = testing::model_of(m);
  const auto e = thrown_by([&] { (void)attribute(model, ShapleyValues{}, {.inputs = {{"x", wave({1, 21}, 2)}}}); });
  EXPECT_NE(e.text.find("got 21 features, expected at most 20"), std::string::npos) << e.text;
}

TEST(ShapleyValues, GloveGame) {
  // Players 0 and 1 hold left gloves, 2 a right one: a pair is worth 1.
  const auto phi = shapley_values(3, [](std::int64_t s) { return (s & 4) != 0 && (s & 3) != 0 ? 1.0 : 0.0; });
  EXPECT_LE(largest_difference(phi, {1.0 / 6, 1.0 / 6, 4.0 / 6}), 1e-15);
}

// The sampled orders, drawn here again, give the same means; shared coalitions are not evaluated twice.
TEST(ShapleyValueSampling, IsTheMeanOverItsOrders) {
  constexpr std::int64_t kOrders = 7;
  const Attribution a = attribute(
      net(), ShapleyValueSampling{.n_samples = kOrders, .baselines = constant_baseline(), .feature_mask = groups()},
      request(11));
  std::vector<std::vector<double>> phi(kExamples, std::vector<double>(kFeatures, 0));
  std::vector<std::int64_t> order;
  for (std::int64_t s = 0; s < kOrders; ++s) {
    if (s % 2 == 1) {
      std::reverse(order.begin(), order.end());
    } else {
      order = {0, 1, 2, 3};
      RandomStream(11, 0, s).shuffle(std::span(order));
    }
    std::vector<double> keep(kFeatures, 0), before = worth(keep);
    for (const std::int64_t f : order) {
      keep[static_cast<std::size_t>(f)] = 1;
      const auto after = worth(keep);
      for (std::size_t e = 0; e < kExamples; ++e) {
        phi[e][static_cast<std::size_t>(f)] += (after[e] - before[e]) / kOrders;
      }
      before = after;
    }
  }
  expect_scores(
      a, [&](std::size_t e, std::size_t f) { return phi[e][f]; }, 1e-14);
  EXPECT_LE(testing::largest(a.delta), 1e-14);
  EXPECT_LT(a.report.rows, kExamples * 16);
}

TEST(ShapleyValueSampling, ApproachesTheExactValues) {
  for (const bool antithetic : {false, true}) {
    const Attribution a = attribute(
        net(),
        ShapleyValueSampling{
            .n_samples = 4000, .antithetic = antithetic, .baselines = constant_baseline(), .feature_mask = groups()},
        request(3));
    std::vector<std::vector<double>> phi;
    for (std::size_t e = 0; e < kExamples; ++e) phi.push_back(by_orders(e));
    // Contributions lie within [-1, 1], so four standard errors are at most 4 / sqrt(4000); they are far smaller here.
    expect_scores(
        a, [&](std::size_t e, std::size_t f) { return phi[e][f]; }, 0.01);
    EXPECT_EQ(a.report.rows, kExamples * 16);  // all there are
  }
}

TEST(KernelShap, WithEnoughSamplesIsExact) {
  const ShapleyValues exact{.baselines = constant_baseline(), .feature_mask = groups()};
  const KernelShap all{.n_samples = 16, .baselines = constant_baseline(), .feature_mask = groups()};
  const Attribution want = attribute(net(), exact, request()), got = attribute(net(), all, request());
  for (const auto& [name, t] : want.attributions) EXPECT_TRUE(got.attributions.at(name).same_bits(t));
}

// Where every weight p(k) / binomial(F, k) is met by its share of the samples the regression has the Shapley values as
// its solution; 15 samples cannot, thousands do.
TEST(KernelShap, SampledApproachesTheExactValues) {
  ModelBuilder m;
  m.input("x", {"N", 12}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({12, 6}, 1)).initializer("v", wave({6, 1}, 3));
  m.node("MatMul", {"x", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"h"});
  m.node("MatMul", {"h", "v"}, {"y"});
  const Model model = testing::model_of(m);
  const Request r{.inputs = {{"x", wave({2, 12}, 5)}}};
  const Tensor want = attribute(model, ShapleyValues{}, r).attributions.at("x");
  double errors[2] = {0, 0};
  for (const bool paired : {false, true}) {
    const Attribution a = attribute(model, KernelShap{.n_samples = 2000, .paired = paired}, r);
    EXPECT_LE(testing::largest(a.delta), 1e-13);
    errors[paired ? 1 : 0] = testing::relative_distance(a.attributions.at("x"), want);
  }
  EXPECT_LE(errors[0], 0.05);
  EXPECT_LE(errors[1], 0.02);
  EXPECT_LE(errors[1], errors[0]);
}

// An additive game is its own regression: any samples that span it give it back.
TEST(KernelShap, AdditiveGamesAreRecovered) {
  ModelBuilder m;
  m.input("x", {"N", 8}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({8, 1}, 1));
  m.node("MatMul", {"x", "w"}, {"y"});
  const Model model = testing::model_of(m);
  const Tensor x = wave({2, 8}, 5);
  const Attribution a = attribute(model, KernelShap{.n_samples = 40}, {.inputs = {{"x", x}}});
  std::vector<double> want = x.to_doubles();
  const auto w = wave({8, 1}, 1).to_doubles();
  for (std::size_t i = 0; i < want.size(); ++i) want[i] *= w[i % 8];
  EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), want), 1e-13);
}

TEST(KernelShap, OneFeatureTakesAll) {
  for (const std::int64_t n : {2, 25}) {
    const Attribution a = attribute(net(), KernelShap{.n_samples = n, .feature_mask = grid_mask(1)},
                                    {.inputs = inputs(), .to = {output(0)}, .from = {"z"}});
    for (std::size_t e = 0; e < kExamples; ++e) {
      for (const double v :
           a.attributions.at("z").rows(static_cast<std::int64_t>(e), static_cast<std::int64_t>(e) + 1).to_doubles()) {
        EXPECT_NEAR(v, a.values[e] - a.baseline_values[e], 1e-15);
      }
    }
  }
}

}  // namespace
}  // namespace onnxray
