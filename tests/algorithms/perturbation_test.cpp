// Ablation, permutation and LIME against their definitions: what is replaced is written out by hand and the model is
// evaluated on it, so that row making, gathering through feature ids, sharing of coalitions and folding are all
// checked.
#include <gtest/gtest.h>

#include "algorithms/linear_fit.h"
#include "algorithms/random.h"
#include "tests/algorithms/game.h"

namespace onnxray {
namespace {

using namespace testing::game;
using testing::in_source;
using testing::largest_difference;
using testing::thrown_by;

TEST(FeatureAblation, ReplacesAGroupAcrossValues) {
  const Attribution a =
      attribute(net(), FeatureAblation{.baselines = constant_baseline(), .feature_mask = groups()}, request());
  const auto whole = worth({1, 1, 1, 1});
  EXPECT_LE(largest_difference(a.values, whole), 0);
  expect_scores(
      a, [&](std::size_t e, std::size_t f) { return whole[e] - worth(all_but(f))[e]; }, 1e-15);
  EXPECT_EQ(a.report.rows, kExamples * 5);
  EXPECT_TRUE(a.report.notices.empty());
}

// Distances in the input space, weights and the fit, all by their formulas; the fit by least squares on 4 + 1 unknowns.
TEST(Lime, FitsTheWeightedLinearModel) {
  constexpr std::int64_t kSamples = 40;
  for (const std::string& mode : {std::string("cosine"), std::string("euclidean")}) {
    const Lime lime{.n_samples = kSamples,
                    .interpretable_model = "linear",
                    .distance_mode = mode,
                    .kernel_width = mode == "cosine" ? 0.3 : 1.5,
                    .baselines = constant_baseline(),
                    .feature_mask = groups()};
    const Attribution a = attribute(net(), lime, request(5));
    std::vector<double> members;
    std::vector<std::vector<double>> y;
    for (std::int64_t s = 0; s < kSamples; ++s) {
      RandomStream random(5, 0, s);
      std::vector<double> keep;
      for (std::size_t f = 0; f < kFeatures; ++f) keep.push_back(random.uniform() < 0.5 ? 1 : 0);
      members.insert(members.end(), keep.begin(), keep.end());
      y.push_back(worth(keep));
    }
    std::vector<std::vector<double>> beta;
    for (std::size_t e = 0; e < kExamples; ++e) {
      std::vector<double> weight, of_example;
      for (std::size_t s = 0; s < kSamples; ++s) {
        double xx = 0, xs = 0, ss = 0, dd = 0;
        for (const auto& [name, groups_of] : {std::pair("x", &kMembersOfX), std::pair("z", &kMembersOfZ)}) {
          const auto v = inputs().at(name).to_doubles();
          for (std::size_t f = 0; f < kFeatures; ++f) {
            for (const std::size_t k : (*groups_of)[f]) {
              const double x = v[e * v.size() / kExamples + k],
                           sample = members[s * kFeatures + f] != 0 ? x : kBaseline;
              xx += x * x, xs += x * sample, ss += sample * sample, dd += (x - sample) * (x - sample);
            }
          }
        }
        const double d = mode == "cosine" ? 1 - xs / std::sqrt(xx * ss) : std::sqrt(dd);
        weight.push_back(std::exp(-d * d / (2 * lime.kernel_width * lime.kernel_width)));
        of_example.push_back(y[s][e]);
      }
      beta.push_back(
          fit_least_squares({.samples = kSamples, .features = kFeatures, .x = members, .weight = weight}, of_example));
    }
    expect_scores(
        a, [&](std::size_t e, std::size_t f) { return beta[e][f]; }, 1e-12);
    EXPECT_LE(a.report.rows, kExamples * 16);
  }
}

TEST(Lime, SparseModelsShrink) {
  const auto size_of_fit = [&](const std::string& kind, double alpha) {
    const Attribution a =
        attribute(net(), Lime{.n_samples = 60, .interpretable_model = kind, .alpha = alpha}, request());
    double s = 0;
    for (const double v : a.attributions.at("x").to_doubles()) s += std::abs(v);
    return s;
  };
  const double plain = size_of_fit("linear", 0);
  EXPECT_LT(size_of_fit("lasso", 0.01), plain);
  EXPECT_EQ(size_of_fit("lasso", 10), 0);
  EXPECT_LT(size_of_fit("ridge", 5), plain);
  EXPECT_NEAR(size_of_fit("lasso", 0), plain, 1e-12);
}

TEST(Lime, SaysWhenNoSampleHasAWeight) {
  const Lime lime{.distance_mode = "euclidean", .kernel_width = 1e-6, .baselines = constant_baseline()};
  const auto e = thrown_by([&] { (void)attribute(net(), lime, request()); });
  EXPECT_NE(e.text.find("no sample has a weight"), std::string::npos) << e.text;
}

// Two examples have a single permutation without fixed points.
TEST(FeaturePermutation, OfTwoExamplesExchangesThem) {
  Request r = request();
  for (auto& [name, t] : r.inputs) t = t.rows(0, 2);
  const Attribution a = attribute(net(), FeaturePermutation{.n_samples = 3, .feature_mask = groups()}, r);
  std::vector<std::vector<double>> want(2, std::vector<double>(kFeatures));
  for (std::size_t f = 0; f < kFeatures; ++f) {
    NamedTensors changed;
    for (const auto& [name, members] : {std::pair("x", &kMembersOfX), std::pair("z", &kMembersOfZ)}) {
      std::vector<double> v = r.inputs.at(name).to_doubles();
      for (const std::size_t k : (*members)[f]) std::swap(v[k], v[v.size() / 2 + k]);
      changed[name] = Tensor::from<double>(r.inputs.at(name).dims(), v);
    }
    const auto y = evaluate(net(), changed, {"y"}).values.at("y").to_doubles();
    for (std::size_t e = 0; e < 2; ++e) want[e][f] = a.values[e] - y[2 * e + 1];
  }
  const auto x = a.attributions.at("x").to_doubles(), z = a.attributions.at("z").to_doubles();
  for (std::size_t e = 0; e < 2; ++e) {
    for (std::size_t f = 0; f < kFeatures; ++f) {
      for (const std::size_t k : kMembersOfX[f]) EXPECT_NEAR(x[e * 6 + k], want[e][f], 1e-15);
      for (const std::size_t k : kMembersOfZ[f]) EXPECT_NEAR(z[e * 2 + k], want[e][f], 1e-15);
    }
  }
}

TEST(Perturbation, TokenIdsAreReplacedByTheBaselinesId) {
  const Model model = load(in_source("tests/golden/captum/embedding.onnx"));
  const Tensor ids = Tensor::from<std::int64_t>({2, 4}, {1, 5, 9, 2, 0, 3, 3, 7});
  Baselines pad;
  pad.constant = 4;
  const Request r{.inputs = {{"ids", ids}}, .to = {output(1)}, .compute = {.precision = Precision::kFloat64}};
  const auto score = [&](const Tensor& t) {
    const Tensor y = evaluate(model, {{"ids", t}}, {}, {.precision = Precision::kFloat64}).values.begin()->second;
    const std::int64_t classes = y.size() / 2;
    return std::vector<double>{y.to_doubles()[1], y.to_doubles()[static_cast<std::size_t>(classes + 1)]};
  };
  const Attribution a = attribute(model, FeatureAblation{.baselines = pad}, r);
  const auto got = a.attributions.at("ids").to_doubles(), whole = score(ids);
  for (std::size_t k = 0; k < 4; ++k) {
    std::vector<std::int64_t> changed = ids.to_ints();
    changed[k] = changed[4 + k] = 4;
    const auto without = score(Tensor::from<std::int64_t>({2, 4}, changed));
    for (std::size_t e = 0; e < 2; ++e) EXPECT_NEAR(got[4 * e + k], whole[e] - without[e], 1e-13);
  }
  const Attribution exact = attribute(model, ShapleyValues{.baselines = pad}, r);
  EXPECT_LE(testing::largest(exact.delta), 1e-12);
  const auto e = thrown_by([&] { (void)attribute(model, SobolAttribution{.baselines = pad}, r); });
  EXPECT_NE(e.text.find("'ids' is int64"), std::string::npos) << e.text;
}

// Numbers of Captum (tests/attr/test_feature_ablation.py, test_shapley.py, layer/test_layer_ablation.py).
TEST(Perturbation, CaptumsNumbers) {
  const Model model = load(in_source("tests/golden/captum/multilayer.onnx"));
  const Tensor one = Tensor::from<double>({1, 3}, {20, 50, 30});
  FeatureMask pair{.kind = FeatureMask::Kind::kTensors};
  pair.tensors["x"] = Tensor::from<std::int64_t>({3}, {0, 0, 1});
  Request r{.inputs = {{"x", one}}, .to = {output(0)}};
  const auto run = [&](const auto& method) {
    return attribute(model, method, r).attributions.begin()->second.to_doubles();
  };
  EXPECT_LE(largest_difference(run(FeatureAblation{}), {80, 200, 120}), 1e-4);
  Baselines four;
  four.constant = 4;
  EXPECT_LE(largest_difference(run(FeatureAblation{.baselines = four, .feature_mask = pair}), {248, 248, 104}), 1e-4);
  EXPECT_LE(largest_difference(run(ShapleyValues{}), {76.66666, 196.66666, 116.66666}), 1e-4);
  EXPECT_LE(largest_difference(run(ShapleyValues{.feature_mask = pair}), {275, 275, 115}), 1e-4);
  EXPECT_LE(largest_difference(run(KernelShap{.n_samples = 500}), {76.66666, 196.66666, 116.66666}), 1e-4);
  r.from = {"linear0"};
  pair.tensors = {{"linear0", Tensor::from<std::int64_t>({3}, {0, 0, 1})}};
  EXPECT_LE(largest_difference(run(FeatureAblation{.feature_mask = pair}), {280, 280, 120}), 1e-4);
  // A mask per example.
  r = {.inputs = {{"x", Tensor::from<double>({2, 3}, {2, 10, 3, 20, 50, 30})}}, .to = {output(0)}};
  pair.tensors = {{"x", Tensor::from<std::int64_t>({2, 3}, {0, 0, 1, 1, 1, 0})}};
  EXPECT_LE(largest_difference(run(FeatureAblation{.feature_mask = pair}), {41, 41, 12, 280, 280, 120}), 1e-4);
  // v(s) = relu(s - 10) + 3 s + constant of the sum s: (v(12) + v(15) - v(3)) / 2 = 39.5, (v(3) + v(15) - v(12)) / 2
  // = 10.5.
  EXPECT_LE(largest_difference(run(ShapleyValues{.feature_mask = pair}), {39.5, 39.5, 10.5, 275, 275, 115}), 1e-4);
}

}  // namespace
}  // namespace onnxray
