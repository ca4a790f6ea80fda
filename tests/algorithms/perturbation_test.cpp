// Perturbation methods against their definitions: what is replaced is written out by hand and the model is evaluated on
// it, so that row making, gathering through feature ids, sharing of coalitions and folding are all checked.
#include <gtest/gtest.h>

#include "algorithms/linear_fit.h"
#include "algorithms/random_stream.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::in_source;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;

// y = sigmoid(tanh(x W + z Z) V): nothing is additive. x [N, 2, 3], z [N, 2].
const Model& net() {
  static const Model model = [] {
    ModelBuilder m;
    m.input("x", {"N", 2, 3}, DType::f64).input("z", {"N", 2}, DType::f64).output("y", {"N", 2}, DType::f64);
    m.initializer("w", wave({6, 5}, 1)).initializer("u", wave({2, 5}, 2)).initializer("v", wave({5, 2}, 3));
    m.node("Flatten", {"x"}, {"flat"});
    m.node("MatMul", {"flat", "w"}, {"a"});
    m.node("MatMul", {"z", "u"}, {"b"});
    m.node("Add", {"a", "b"}, {"s"});
    m.node("Tanh", {"s"}, {"h"});
    m.node("MatMul", {"h", "v"}, {"o"});
    m.node("Sigmoid", {"o"}, {"y"});
    return testing::model_of(m);
  }();
  return model;
}

constexpr std::int64_t kExamples = 3;
const NamedTensors& inputs() {
  static const NamedTensors t{{"x", wave({kExamples, 2, 3}, 7, 2)}, {"z", wave({kExamples, 2}, 8, 2)}};
  return t;
}
Request request(std::uint64_t seed = 0) {
  Request r{.inputs = inputs(), .to = {output(1)}, .from = {"x", "z"}};
  r.compute.seed = seed;
  return r;
}
constexpr double kBaseline = 0.25;
Baselines constant_baseline() {
  Baselines b;
  b.constant = kBaseline;
  return b;
}
// x's six elements in three features, z's two in the second of them and one more: feature 1 spans both values.
FeatureMask groups() {
  FeatureMask m{.kind = FeatureMask::Kind::kTensors};
  m.tensors["x"] = Tensor::from<std::int64_t>({2, 3}, {0, 0, 1, 2, 1, 2});
  m.tensors["z"] = Tensor::from<std::int64_t>({2}, {1, 3});
  return m;
}
constexpr std::size_t kFeatures = 4;
const std::vector<std::vector<std::size_t>> kMembersOfX = {{0, 1}, {2, 4}, {3, 5}, {}};
const std::vector<std::vector<std::size_t>> kMembersOfZ = {{}, {0}, {}, {1}};

// The explained scalar of every example whose features hold `keep` of their contents, the rest baseline.
std::vector<double> worth(const std::vector<double>& keep) {
  NamedTensors changed;
  for (const auto& [name, members] : {std::pair("x", &kMembersOfX), std::pair("z", &kMembersOfZ)}) {
    std::vector<double> v = inputs().at(name).to_doubles();
    const std::size_t row = v.size() / kExamples;
    for (std::size_t e = 0; e < kExamples; ++e) {
      for (std::size_t f = 0; f < kFeatures; ++f) {
        for (const std::size_t k : (*members)[f]) {
          double& at = v[e * row + k];
          at = keep[f] * at + (1 - keep[f]) * kBaseline;
        }
      }
    }
    changed[name] = Tensor::from<double>(inputs().at(name).dims(), v);
  }
  const auto y = evaluate(net(), changed, {"y"}).values.at("y").to_doubles();
  std::vector<double> out;
  for (std::size_t e = 0; e < kExamples; ++e) out.push_back(y[2 * e + 1]);
  return out;
}

// Every element has its feature's score: score(e, f).
template <class Score>
void expect_scores(const Attribution& a, Score score, double tolerance) {
  const auto x = a.attributions.at("x").to_doubles(), z = a.attributions.at("z").to_doubles();
  for (std::size_t e = 0; e < kExamples; ++e) {
    for (std::size_t f = 0; f < kFeatures; ++f) {
      const double want = score(e, f);
      for (const std::size_t k : kMembersOfX[f]) EXPECT_NEAR(x[e * 6 + k], want, tolerance) << e << " x feature " << f;
      for (const std::size_t k : kMembersOfZ[f]) EXPECT_NEAR(z[e * 2 + k], want, tolerance) << e << " z feature " << f;
    }
  }
}

std::vector<double> all_but(std::size_t f) {
  std::vector<double> keep(kFeatures, 1);
  keep[f] = 0;
  return keep;
}

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

// y = 3 x0 - x1 + 2 x2: blended by uniform amounts, every feature's share of the variance is (c (x - b))^2.
TEST(SobolAttribution, LinearModelHasItsShares) {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", Tensor::from<double>({4, 1}, {3, -1, 2, 0}));
  m.node("MatMul", {"x", "w"}, {"y"});
  const Model model = testing::model_of(m);
  const Tensor x = Tensor::from<double>({1, 4}, {1, 2, 0.5, 3});
  const Attribution a =
      attribute(model, SobolAttribution{.n_samples = 4000, .baselines = constant_baseline(), .feature_mask = {}},
                {.inputs = {{"x", x}}});
  const double c[] = {3 * 0.75, -1.75, 2 * 0.25};
  const double all = c[0] * c[0] + c[1] * c[1] + c[2] * c[2];
  const auto got = a.attributions.at("x").to_doubles();
  // Jansen's estimator has a relative standard error below sqrt(7 / 5 / n) for differences of uniforms: 2 %.
  for (std::size_t f = 0; f < 3; ++f) EXPECT_NEAR(got[f], c[f] * c[f] / all, 0.06 * c[f] * c[f] / all);
  EXPECT_EQ(got[3], 0);
  EXPECT_EQ(a.report.rows, 4000 * 5 + 1);
}

// A product of blends g_f = 1 + c_f (u_f - 1/2) has ST_f = (1 + d_f) ... in closed form: with d = c^2 / 12,
// Var = prod(1 + d) - 1 and ST_f = d_f prod over g != f of (1 + d_g) / Var.
TEST(SobolAttribution, ProductHasItsTotalIndices) {
  ModelBuilder m;
  m.input("x", {"N", 3}, DType::f64).output("y", {"N"}, DType::f64);
  testing::attr(m.node("ReduceProd", {"x"}, {"y"}), "axes", std::vector<std::int64_t>{1});
  testing::attr(*m.graph().mutable_node(0), "keepdims", 0);
  const Model model = testing::model_of(m);
  const double c[] = {1.5, 0.6, 1.0};
  Tensor x(DType::f64, {1, 3}), low(DType::f64, {1, 3});
  for (std::size_t f = 0; f < 3; ++f) {
    x.mutable_data<double>()[f] = 1 + c[f] / 2;
    low.mutable_data<double>()[f] = 1 - c[f] / 2;
  }
  SobolAttribution sobol{.n_samples = 8000, .feature_mask = {}};
  sobol.baselines.kind = Baselines::Kind::kTensors;
  sobol.baselines.tensors["x"] = low;
  const auto got = attribute(model, sobol, {.inputs = {{"x", x}}}).attributions.at("x").to_doubles();
  double product = 1;
  for (const double v : c) product *= 1 + v * v / 12;
  for (std::size_t f = 0; f < 3; ++f) {
    const double d = c[f] * c[f] / 12;
    EXPECT_NEAR(got[f], d * product / (1 + d) / (product - 1), 0.05);
  }
}

// trace(K H L H) / (n - 1)^2 with all four matrices written out.
TEST(Hsic, IsTheTraceOfItsMatrices) {
  constexpr std::size_t n = 9, features = 3;
  std::vector<double> m, y = wave({n}, 4).to_doubles();
  for (const double v : wave({n, features}, 6).to_doubles()) m.push_back(v > 0 ? 1 : 0);
  std::vector<double> distances;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) distances.push_back(std::abs(y[i] - y[j]));
  }
  std::sort(distances.begin(), distances.end());
  const double width = distances[distances.size() / 2];
  using Square = std::vector<std::vector<double>>;
  const auto square = [&](const std::function<double(std::size_t, std::size_t)>& f) {
    Square s(n, std::vector<double>(n));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) s[i][j] = f(i, j);
    }
    return s;
  };
  const auto times = [&](const Square& a, const Square& b) {
    return square([&](std::size_t i, std::size_t j) {
      double s = 0;
      for (std::size_t k = 0; k < n; ++k) s += a[i][k] * b[k][j];
      return s;
    });
  };
  const Square h = square([](std::size_t i, std::size_t j) { return (i == j ? 1.0 : 0.0) - 1.0 / n; });
  const Square l = square(
      [&](std::size_t i, std::size_t j) { return std::exp(-(y[i] - y[j]) * (y[i] - y[j]) / (2 * width * width)); });
  const auto got = hsic(m, y);
  for (std::size_t f = 0; f < features; ++f) {
    const Square k = square([&](std::size_t i, std::size_t j) {
      const double d = m[i * features + f] - m[j * features + f];
      return 0.5 - d * d;
    });
    const Square product = times(times(times(k, h), l), h);
    double trace = 0;
    for (std::size_t i = 0; i < n; ++i) trace += product[i][i];
    EXPECT_NEAR(got[f], trace / ((n - 1) * (n - 1)), 1e-14);
  }
  EXPECT_EQ(hsic(m, std::vector<double>(n, 2.5)), std::vector<double>(features, 0));
}

TEST(HsicAttribution, RanksWhatMatters) {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", Tensor::from<double>({4, 1}, {3, -1, 0, 0.3}));
  m.node("MatMul", {"x", "w"}, {"y"});
  const auto a = attribute(testing::model_of(m), HsicAttribution{.n_samples = 400},
                           {.inputs = {{"x", Tensor::from<double>({1, 4}, {1, 1, 1, 1})}}})
                     .attributions.at("x")
                     .to_doubles();
  EXPECT_GT(a[0], 5 * a[1]);
  EXPECT_GT(a[1], 2 * a[3]);
  EXPECT_GT(a[3], a[2]);
}

// Masks magnified pixel by pixel, F of every masked picture, their weighted mean.
TEST(Rise, IsTheWeightedMeanOfItsMasks) {
  constexpr std::int64_t kH = 7, kW = 5, kGrid = 3, kMasks = 12;
  ModelBuilder m;
  m.input("x", {"N", 2, kH, kW}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({2 * kH * kW, 1}, 1));
  m.node("Flatten", {"x"}, {"flat"});
  m.node("MatMul", {"flat", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"y"});
  const Model model = testing::model_of(m);
  const Tensor x = wave({2, 2, kH, kW}, 9);
  const Rise rise{.n_samples = kMasks, .grid = kGrid, .probability = 0.4, .baselines = constant_baseline()};
  Request r{.inputs = {{"x", x}}};
  r.compute.seed = 77;
  const Attribution a = attribute(model, rise, r);
  std::vector<double> want(static_cast<std::size_t>(x.size()), 0);
  for (std::int64_t s = 0; s < kMasks; ++s) {
    RandomStream random(77, 0, s);
    const std::int64_t cell_h = 3, cell_w = 2;  // ceil(7 / 3), ceil(5 / 3)
    const std::int64_t oy = random.below(cell_h), ox = random.below(cell_w);
    double cells[kGrid][kGrid];
    for (auto& line : cells) {
      for (double& c : line) c = random.uniform() < 0.4 ? 1 : 0;
    }
    // Bilinear magnification of 3 x 3 to 12 x 8, half-pixel centres, borders continued.
    const auto along = [](std::int64_t p, std::int64_t size, std::int64_t& low, std::int64_t& high) {
      const double at =
          std::clamp((static_cast<double>(p) + 0.5) * kGrid / static_cast<double>(size) - 0.5, 0.0, kGrid - 1.0);
      low = static_cast<std::int64_t>(at);
      high = std::min<std::int64_t>(low + 1, kGrid - 1);
      return at - static_cast<double>(low);
    };
    std::vector<double> mask;
    for (std::int64_t y = 0; y < kH; ++y) {
      for (std::int64_t k = 0; k < kW; ++k) {
        std::int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;
        const double v = along(y + oy, (kGrid + 1) * cell_h, y0, y1), u = along(k + ox, (kGrid + 1) * cell_w, x0, x1);
        mask.push_back((1 - v) * ((1 - u) * cells[y0][x0] + u * cells[y0][x1]) +
                       v * ((1 - u) * cells[y1][x0] + u * cells[y1][x1]));
      }
    }
    std::vector<double> masked = x.to_doubles();
    for (std::size_t i = 0; i < masked.size(); ++i) {
      const double keep = mask[i % mask.size()];
      masked[i] = keep * masked[i] + (1 - keep) * kBaseline;
    }
    const auto f = evaluate(model, {{"x", Tensor::from<double>(x.dims(), masked)}}, {"y"}).values.at("y").to_doubles();
    for (std::size_t i = 0; i < want.size(); ++i) {
      want[i] += f[i / (want.size() / 2)] * mask[i % mask.size()] / (kMasks * 0.4);
    }
  }
  EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), want), 1e-13);
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
