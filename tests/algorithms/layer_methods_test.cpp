// Activation, gradient x activation, internal influence, conductance: Captum's numbers and the definitions.
#include <gtest/gtest.h>

#include <numeric>

#include "algorithms/quadrature.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::in_source;
using testing::largest;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::thrown_by;
using testing::wave;

const Model& multilayer() {
  static const Model model = load(in_source("tests/golden/captum/multilayer.onnx"));
  return model;
}

// Captum's BasicModel_MultiLayer: x -> linear0 (identity) -> linear1 [-10 + sum, 1 + sum (three times)] -> relu ->
// linear2.
Request asked(std::vector<double> x, const std::string& from, std::int64_t target = 0) {
  const std::string input = multilayer().inputs().at(0).name;
  Request r{.inputs = {{input, Tensor::from<double>({1, 3}, std::span<const double>(x))}}, .to = {output(target)}};
  r.from = {from};
  r.compute.precision = Precision::kFloat64;
  return r;
}

std::vector<double> of(const Attribution& a) { return a.attributions.begin()->second.to_doubles(); }

// A smooth net with two layers in a row: a = x W, h = tanh(a), y = sigmoid(h V).
Model smooth(bool residual = false) {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 3}, DType::f64);
  m.initializer("w", wave({4, 4}, 1)).initializer("v", wave({4, 3}, 2));
  m.node("MatMul", {"x", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"h"});
  if (residual) m.node("Add", {"h", "x"}, {"s"});
  m.node("MatMul", {residual ? "s" : "h", "v"}, {"z"});
  m.node("Sigmoid", {"z"}, {"y"});
  return testing::model_of(m);
}

Request smooth_request(std::vector<std::string> from) {
  return {.inputs = {{"x", wave({3, 4}, 5)}}, .to = {output(2)}, .from = std::move(from)};
}

TEST(Activation, HandsOutValuesWithAndWithoutAScalar) {
  const Model model = smooth();
  Request r = smooth_request({"a", "h", "x"});
  const NamedTensors want = evaluate(model, r.inputs, {"a", "h", "x"}).values;
  r.to.clear();
  const Attribution none = attribute(model, Activation{}, r);
  EXPECT_TRUE(none.values.empty());
  r.to = {output(0), output(1)};
  const Attribution two = attribute(model, Activation{}, r);
  EXPECT_EQ(two.values.size(), 6u);
  for (const auto& [name, t] : want) {
    EXPECT_TRUE(none.attributions.at(name).same_bits(t)) << name;
    for (std::int64_t row = 0; row < 6; ++row) {
      EXPECT_TRUE(two.attributions.at(name).rows(row, row + 1).same_bits(t.rows(row / 2, row / 2 + 1))) << name;
    }
  }
}

TEST(GradientXActivation, MultipliesEveryLayersGradientByItsValue) {
  const Model model = smooth();
  const Request r = smooth_request({"a", "h"});
  const Attribution product = attribute(model, GradientXActivation{}, r);
  const Attribution slope = attribute(model, GradientXActivation{.multiply_by_inputs = false}, r);
  const NamedTensors values = evaluate(model, r.inputs, {"a", "h"}).values;
  for (const char* name : {"a", "h"}) {
    std::vector<double> want = slope.attributions.at(name).to_doubles();
    const std::vector<double> v = values.at(name).to_doubles();
    for (std::size_t i = 0; i < want.size(); ++i) want[i] *= v[i];
    EXPECT_LE(largest_difference(product.attributions.at(name).to_doubles(), want), 1e-15) << name;
    EXPECT_GT(largest(want), 1e-3);
  }
}

// captum.md 6.3
TEST(InternalInfluence, GivesCaptumsNumbers) {
  const Attribution a = attribute(multilayer(), InternalInfluence{.n_steps = 10, .method = "riemann_middle"},
                                  asked({1, 2, 3}, "linear1"));
  EXPECT_LE(largest_difference(of(a), {0, 1, 1, 1}), 1e-12);
  EXPECT_TRUE(a.delta.empty());
}

TEST(Conductance, GivesCaptumsNumbers) {
  const Attribution layer =
      attribute(multilayer(), Conductance{.n_steps = 10, .method = "riemann_trapezoid"}, asked({1, 2, 3}, "linear1"));
  EXPECT_LE(largest_difference(of(layer), {0, 6, 6, 6}), 1e-12);
  // Captum says 77.9982, 194.996, 116.997 with delta -0.009: its sum leaves the ends of the path out. Without them
  // missing, the first unit of the hidden layer is on from alpha = 0.1: x (3 + 0.9).
  const Attribution first = attribute(multilayer(), Conductance{.n_steps = 500}, asked({20, 50, 30}, "linear0"));
  EXPECT_LE(largest_difference(of(first), {78, 195, 117}), 0.1);
  EXPECT_NEAR(first.delta[0], of(first)[0] + of(first)[1] + of(first)[2] - (first.values[0] - first.baseline_values[0]),
              1e-10);
}

// Captum: LayerConductance.attribute(..., n_steps = 8, method = "riemann_trapezoid"), whose nodes are i / 8. The first
// unit of the hidden layer is on from alpha = 0.1, so at the first node it is off: x (3 + 7 / 8).
TEST(Conductance, ByDifferencesGivesCaptumsNumbers) {
  const Conductance c{.n_steps = 8, .method = "riemann_left", .increments = "difference"};
  EXPECT_LE(largest_difference(of(attribute(multilayer(), c, asked({1, 2, 3}, "linear1"))), {0, 6, 6, 6}), 1e-12);
  const Attribution first = attribute(multilayer(), c, asked({20, 50, 30}, "linear0"));
  EXPECT_LE(largest_difference(of(first), {3.875 * 20, 3.875 * 50, 3.875 * 30}), 1e-11);
}

// sum_i dF/dy(x_i) (y(x_{i + 1}) - y(x_i)), made here from gradients and values at the points of the path, and the same
// with the gradient at the right ends; at every chunk size.
TEST(Conductance, ByDifferencesIsItsSum) {
  const Model model = smooth();
  constexpr std::int64_t kSteps = 5;
  const std::vector<double> x = wave({3, 4}, 5).to_doubles();
  const auto at = [&](std::int64_t step) {
    Request r = smooth_request({"h"});
    Tensor point = Tensor::zeros(DType::f64, {3, 4});
    const auto p = point.mutable_data<double>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      p[i] = 0.25 + (x[i] - 0.25) * static_cast<double>(step) / static_cast<double>(kSteps);
    }
    r.inputs = {{"x", point}};
    return std::pair{attribute(model, GradientXActivation{.multiply_by_inputs = false}, r).attributions.at("h"),
                     evaluate(model, r.inputs, {"h"}).values.at("h")};
  };
  std::vector<double> left(12, 0.0), right(12, 0.0);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const auto [g0, h0] = at(step);
    const auto [g1, h1] = at(step + 1);
    for (std::size_t i = 0; i < 12; ++i) {
      const double rise = h1.to_doubles()[i] - h0.to_doubles()[i];
      left[i] += g0.to_doubles()[i] * rise;
      right[i] += g1.to_doubles()[i] * rise;
    }
  }
  EXPECT_GT(largest_difference(left, right), 1e-3);
  for (const std::int64_t chunk : {0, 1, 4}) {
    for (const bool at_left : {true, false}) {
      Conductance c{
          .n_steps = kSteps, .method = at_left ? "riemann_left" : "riemann_right", .increments = "difference"};
      c.baselines.constant = 0.25;
      Request r = smooth_request({"h", "a"});
      r.compute.chunk = chunk;
      const Attribution a = attribute(model, c, r);
      EXPECT_LE(largest_difference(a.attributions.at("h").to_doubles(), at_left ? left : right), 1e-14);
      double worst = 0;  // of the two layers
      for (const auto& [name, t] : a.attributions) {
        const std::vector<double> v = t.to_doubles();
        for (std::size_t e = 0; e < 3; ++e) {
          const double sum = std::accumulate(v.begin() + 4 * e, v.begin() + 4 * (e + 1), 0.0);
          worst = std::max(worst, std::abs(sum - (a.values[e] - a.baseline_values[e])));
        }
      }
      EXPECT_NEAR(largest(a.delta), worst, 1e-14);
    }
  }
}

// One neuron: relu(sum(x) - 10), on from alpha = 0.1, so x_i * 0.9. Ten trapezoid nodes at i / 9 see it off at the
// first only, (8 + 1/2) / 9; Captum divides by 10 instead, 17, 42.5, 25.5.
TEST(Conductance, ThroughANeuronIsTheFlowToTheInputs) {
  const std::string input = multilayer().inputs().at(0).name;
  Conductance c{.n_steps = 10, .method = "riemann_trapezoid"};
  c.through = "relu:0";
  const Attribution trapezoid = attribute(multilayer(), c, asked({20, 50, 30}, input));
  const double share = 8.5 / 9;
  EXPECT_LE(largest_difference(of(trapezoid), {20 * share, 50 * share, 30 * share}), 1e-12);
  c.multiply_by_inputs = false;
  EXPECT_LE(largest_difference(of(attribute(multilayer(), c, asked({20, 50, 30}, input))), {share, share, share}),
            1e-12);
}

TEST(Conductance, OfTheInputIsIntegratedGradients) {
  const Model model = smooth(true);
  const Request r = smooth_request({"x"});
  for (const char* method : {"gausslegendre", "riemann_left", "riemann_trapezoid"}) {
    const Attribution a = attribute(model, Conductance{.n_steps = 7, .method = method}, r);
    const Attribution ig = attribute(model, IntegratedGradients{.n_steps = 7, .method = method}, r);
    EXPECT_LE(relative_distance(a.attributions.at("x"), ig.attributions.at("x")), 1e-12) << method;
    EXPECT_LE(largest_difference(a.delta, ig.delta), 1e-12) << method;
  }
}

// Every layer sums to F(x) - F(x'), with the rule's own accuracy: 20 Gauss-Legendre nodes are exact to rounding here.
TEST(Conductance, OfSeveralLayersInOneSweepIsCompleteInEach) {
  const Model model = smooth();
  Conductance c{.n_steps = 20};
  c.baselines.constant = 0.25;
  const Attribution all = attribute(model, c, smooth_request({"h", "z", "x", "a"}));
  ASSERT_EQ(all.delta.size(), 3u);
  EXPECT_LE(largest(all.delta), 1e-9);
  EXPECT_TRUE(all.report.notices.empty());
  EXPECT_EQ(all.report.rows, 3 * 22);
  for (const char* name : {"h", "z", "x", "a"}) {
    const Attribution one = attribute(model, c, smooth_request({name}));
    EXPECT_LE(relative_distance(all.attributions.at(name), one.attributions.at(name)), 1e-13) << name;
    EXPECT_LE(largest(one.delta), 1e-9) << name;
  }
  c.method = "riemann_left";
  const Attribution rough = attribute(model, c, smooth_request({"h"}));
  EXPECT_GT(largest(rough.delta), 1e-5);
  c.n_steps = 2000;
  EXPECT_LE(largest(attribute(model, c, smooth_request({"h"})).delta), largest(rough.delta) / 50);
}

// A layer's conductance is the sum over the inputs of what flows through each of its neurons.
TEST(Conductance, OfALayerIsTheSumOverItsNeuronsInputs) {
  const Model model = smooth();
  Request r = smooth_request({"h"});
  r.to.push_back(output(0) - output(1));
  Conductance c{.n_steps = 9};
  c.baselines.constant = -0.5;
  const std::vector<double> layer = attribute(model, c, r).attributions.at("h").to_doubles();
  r.from = {};
  for (std::size_t neuron = 0; neuron < 4; ++neuron) {
    c.through = "h:" + std::to_string(neuron);
    const std::vector<double> flow = attribute(model, c, r).attributions.at("x").to_doubles();
    ASSERT_EQ(flow.size(), 6 * 4u);
    for (std::size_t row = 0; row < 6; ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < 4; ++i) sum += flow[4 * row + i];
      EXPECT_NEAR(sum, layer[4 * row + neuron], 1e-13);
    }
  }
}

TEST(Conductance, ClaimsNothingWherePathsBypassTheLayer) {
  const Attribution a = attribute(smooth(true), Conductance{.n_steps = 5}, smooth_request({"h"}));
  EXPECT_TRUE(a.delta.empty());
  ASSERT_EQ(a.report.notices.size(), 1u);
  EXPECT_EQ(a.report.notices[0], "completeness is not claimed: 'x' reaches the scalar around 'h'");
  // Together with what bypasses it, it is a cut.
  const Attribution both = attribute(smooth(true), Conductance{.n_steps = 20}, smooth_request({"s"}));
  EXPECT_LE(largest(both.delta), 1e-9);
}

// What varies may be said: here one of two inputs, or an inner value.
TEST(Conductance, FollowsThePathOfWhatVaries) {
  ModelBuilder m;
  m.input("x", {"N", 3}, DType::f64).input("c", {"N", 3}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({3, 1}, 4));
  m.node("Mul", {"x", "c"}, {"p"});
  m.node("Tanh", {"p"}, {"h"});
  m.node("MatMul", {"h", "w"}, {"y"});
  const Model model = testing::model_of(m);
  Request r{.inputs = {{"x", wave({2, 3}, 1)}, {"c", wave({2, 3}, 9)}}, .to = {scalar_of("y")}, .from = {"h"}};
  r.vary = {"x"};
  const std::vector<double> h = evaluate(model, r.inputs, {"h"}).values.at("h").to_doubles();
  const std::vector<double> w = wave({3, 1}, 4).to_doubles();
  std::vector<double> want;
  for (std::size_t i = 0; i < h.size(); ++i) want.push_back(h[i] * w[i % 3]);  // linear behind h, which is 0 at x = 0
  const Attribution a = attribute(model, Conductance{.n_steps = 30}, r);
  EXPECT_LE(largest_difference(of(a), want), 1e-12);
  EXPECT_LE(largest(a.delta), 1e-12);
  r.vary = {"p"};
  EXPECT_LE(largest_difference(of(attribute(model, Conductance{.n_steps = 30}, r)), want), 1e-12);
}

}  // namespace
}  // namespace onnxray
