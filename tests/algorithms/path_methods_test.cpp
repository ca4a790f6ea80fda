// Guided, blurred and adaptively stepped integrated gradients against closed forms.
#include <gtest/gtest.h>

#include "algorithms/attribution/blur_integrated_gradients.h"
#include "algorithms/baselines.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::largest;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::wave;

// y = a x_0^2 + b x_1
Model parabola(double a, double b) {
  ModelBuilder m;
  m.input("x", {"N", 2}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("square", Tensor::from<double>({2, 1}, {a, 0}))
      .initializer("plain", Tensor::from<double>({2, 1}, {0, b}));
  m.node("Mul", {"x", "x"}, {"xx"});
  m.node("MatMul", {"xx", "square"}, {"p"});
  m.node("MatMul", {"x", "plain"}, {"q"});
  m.node("Add", {"p", "q"}, {"y"});
  return testing::model_of(m);
}

Model smooth() {
  ModelBuilder m;
  m.input("x", {"N", 6}, DType::f64).output("y", {"N", 2}, DType::f64);
  m.initializer("w", wave({6, 5}, 1)).initializer("v", wave({5, 2}, 2));
  m.node("MatMul", {"x", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"h"});
  m.node("MatMul", {"h", "v"}, {"y"});
  return testing::model_of(m);
}

std::vector<double> of(const Attribution& a) { return a.attributions.begin()->second.to_doubles(); }

// Four steps over an L1 distance of 2. x_0 has the smaller slope, 2 x_0 against 10, and goes first: half a unit at
// slope 0, half at slope 1, then x_1 half a unit at a time.
TEST(GuidedIntegratedGradients, MovesTheFeatureOfSmallerSlopeFirst) {
  GuidedIntegratedGradients g{.n_steps = 4, .fraction = 0.5, .max_dist = 1};
  const Request r{.inputs = {{"x", Tensor::from<double>({1, 2}, {1, 1})}}, .to = {scalar_of("y")}};
  const Attribution a = attribute(parabola(1, 10), g, r);
  EXPECT_LE(largest_difference(of(a), {0.5, 10}), 1e-14);
  EXPECT_NEAR(a.delta[0], -0.5, 1e-14);  // x_0^2 by a left sum of two
  // With 2 x_0 above 1/4 from the second step on, x_1 goes second and third.
  EXPECT_LE(largest_difference(of(attribute(parabola(1, 0.25), g, r)), {0.5, 0.25}), 1e-14);
  // Bound to a tenth of the way around the straight line, both features move in every step: x_0 leads by 0.1 to 0.35,
  // 0.6, 0.85 at slopes 0, 0.7, 1.2, and comes home at slope 1.7.
  g.max_dist = 0.1;
  EXPECT_LE(largest_difference(of(attribute(parabola(1, 10), g, r)), {0.25 * 0.7 + 0.25 * 1.2 + 0.15 * 1.7, 10}),
            1e-13);
}

TEST(GuidedIntegratedGradients, WithoutFreedomFollowsTheStraightLine) {
  const Model model = smooth();
  GuidedIntegratedGradients g{.n_steps = 20, .max_dist = 0};
  g.baselines.constant = 0.25;
  IntegratedGradients ig{.n_steps = 20, .method = "riemann_left"};
  ig.baselines.constant = 0.25;
  const Request r{.inputs = {{"x", wave({3, 6}, 5)}}, .to = {output(0), output(1) - output(0)}};
  const Attribution a = attribute(model, g, r), b = attribute(model, ig, r);
  EXPECT_LE(relative_distance(a.attributions.at("x"), b.attributions.at("x")), 1e-12);
  EXPECT_LE(largest_difference(a.delta, b.delta), 1e-12);
  EXPECT_EQ(a.values, b.values);
  // With it, the error falls with the steps, and features without a way to go get nothing.
  g.max_dist = 0.02;
  g.n_steps = 1000;
  Request still = r;
  still.inputs["x"].mutable_data<double>()[1] = 0.25;
  const Attribution c = attribute(model, g, still);
  EXPECT_LE(largest(c.delta), 5e-3);
  EXPECT_EQ(of(c)[1], 0);
  EXPECT_EQ(of(c)[7], 0);
  EXPECT_GT(relative_distance(c.attributions.at("x"), b.attributions.at("x")), 1e-3);
}

// A linear F takes w (x - blur(x)) whatever the path does in between.
TEST(BlurIntegratedGradients, OfALinearModelIsItsWeightTimesTheBlursChange) {
  ModelBuilder m;
  m.input("x", {"N", 2, 9, 7}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", wave({126, 1}, 4));
  testing::attr(m.node("Flatten", {"x"}, {"f"}), "axis", 1);
  m.node("MatMul", {"f", "w"}, {"y"});
  const Model model = testing::model_of(m);
  const Tensor x = wave({2, 2, 9, 7}, 1);
  const double sigma = 3;
  const Attribution a = attribute(model, BlurIntegratedGradients{.n_steps = 60, .max_sigma = sigma},
                                  {.inputs = {{"x", x}}, .to = {scalar_of("y")}});
  std::vector<double> want = x.to_doubles();
  const std::vector<double> far = gaussian_blur(x, sigma).to_doubles(), w = wave({126, 1}, 4).to_doubles();
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = (want[i] - far[i]) * w[i % 126];
  EXPECT_LE(largest_difference(of(a), want), 1e-6 * largest(want));
  EXPECT_LE(largest(a.delta), 1e-6);
  EXPECT_GT(largest(want), 0.1);
}

TEST(BlurIntegratedGradients, KnowsTheDerivativeOfTheBlur) {
  const double sigma = 1.7, h = 1e-5;
  const BlurMatrix at = blur_matrix(8, sigma, 6), up = blur_matrix(8, sigma + h, 6),
                   down = blur_matrix(8, sigma - h, 6);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(at.derivative[i], (up.weights[i] - down.weights[i]) / (2 * h), 1e-9) << i;
  }
  const BlurMatrix none = blur_matrix(8, 0, 6);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(none.weights[i], i % 9 == 0 ? 1 : 0);
}

// relu(x_0 - 0.3) + relu(0.9 - x_1) on the way from 0 to (1, 1): kinks at 0.3 and 0.9 of the path.
Model kinks() {
  ModelBuilder m;
  m.input("x", {"N", 2}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("sign", Tensor::from<double>({2}, {1, -1})).initializer("bias", Tensor::from<double>({2}, {-0.3, 0.9}));
  m.initializer("sum", Tensor::from<double>({2, 1}, {1, 1}));
  m.node("Mul", {"x", "sign"}, {"s"});
  m.node("Add", {"s", "bias"}, {"b"});
  m.node("Relu", {"b"}, {"h"});
  m.node("MatMul", {"h", "sum"}, {"y"});
  return testing::model_of(m);
}

TEST(AdaptiveIntegratedGradients, ReachesTheDeltaThatIsAskedFor) {
  const Request r{.inputs = {{"x", Tensor::from<double>({2, 2}, {1, 1, 0.2, 0.5})}}, .to = {scalar_of("y")}};
  for (const double delta : {1e-2, 1e-4, 1e-8}) {
    const Attribution a = attribute(kinks(), AdaptiveIntegratedGradients{.max_delta = delta}, r);
    EXPECT_LE(largest(a.delta), delta);
    // The second example meets no kink and needs no more than the first round.
    EXPECT_LE(largest_difference(of(a), {0.7, -0.9, 0, -0.5}), delta + 1e-12);
    EXPECT_TRUE(a.report.notices.empty());
    // Halving alone, so that some digits more cost some rounds more.
    EXPECT_LE(a.report.rows, 600) << delta;
    Request one = r;
    one.inputs["x"] = r.inputs.at("x").rows(0, 1);
    one.compute.chunk = 3;
    EXPECT_TRUE(attribute(kinks(), AdaptiveIntegratedGradients{.max_delta = delta}, one)
                    .attributions.at("x")
                    .same_bits(a.attributions.at("x").rows(0, 1)));
  }
  // As many fixed steps err by more.
  const Attribution fixed = attribute(kinks(), IntegratedGradients{.n_steps = 200}, r);
  EXPECT_GT(largest(fixed.delta), 1e-4);
}

TEST(AdaptiveIntegratedGradients, SaysWhenTheStepsDoNotSuffice) {
  const Request r{.inputs = {{"x", Tensor::from<double>({1, 2}, {1, 1})}}, .to = {scalar_of("y")}};
  const Attribution a = attribute(kinks(), AdaptiveIntegratedGradients{.max_delta = 1e-9, .max_steps = 40}, r);
  EXPECT_GT(largest(a.delta), 1e-9);
  EXPECT_LE(a.report.rows, 40 + 5 + 3);
  ASSERT_EQ(a.report.notices.size(), 1u);
  EXPECT_EQ(a.report.notices[0], "max_delta 1e-09 was not reached within max_steps 40 for 1 example");
}

TEST(AdaptiveIntegratedGradients, OfASmoothNetIsIntegratedGradients) {
  const Request r{.inputs = {{"x", wave({3, 6}, 5)}}, .to = {output(0), output(1)}, .from = {"h"}};
  const Attribution a = attribute(smooth(), AdaptiveIntegratedGradients{.max_delta = 1e-10}, r);
  const Attribution ig = attribute(smooth(), IntegratedGradients{.n_steps = 40}, r);
  EXPECT_LE(relative_distance(a.attributions.at("h"), ig.attributions.at("h")), 1e-9);
  EXPECT_LE(largest(a.delta), 1e-10);
}

}  // namespace
}  // namespace onnxray
