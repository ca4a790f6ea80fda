// Class activation maps against their equations written as loops, over layers as images, sequences and tokens.
#include <gtest/gtest.h>

#include "algorithms/interpolate.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::in_source;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;

// Two convolutions, a mean over positions and a product: logits [N, 3] of a layer "a" [N, 5, 4, 6].
Model small_net() {
  ModelBuilder m;
  m.input("x", {"N", 2, 8, 12}, DType::f64).output("y", {"N", 3}, DType::f64);
  m.initializer("w1", wave({4, 2, 3, 3}, 1, 0.5)).initializer("w2", wave({5, 4, 3, 3}, 2, 0.5));
  m.initializer("w3", wave({5, 3}, 3)).initializer("b", wave({5}, 4, 0.3));
  attr(m.node("Conv", {"x", "w1"}, {"c1"}), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
  m.node("Tanh", {"c1"}, {"t"});
  auto& conv = m.node("Conv", {"t", "w2", "b"}, {"c2"});
  attr(conv, "pads", std::vector<std::int64_t>{1, 1, 1, 1});
  attr(conv, "strides", std::vector<std::int64_t>{2, 2});
  m.node("Relu", {"c2"}, {"a"});
  m.node("Mul", {"a", "a"}, {"a2"});
  m.node("GlobalAveragePool", {"a2"}, {"p"});
  m.node("Flatten", {"p"}, {"f"});
  m.node("MatMul", {"f", "w3"}, {"y"});
  return testing::model_of(m);
}

struct Layer {
  std::int64_t channels, positions;
  std::vector<double> a, g;  // [channels, positions] of one example
  double score;
  [[nodiscard]] double at(std::int64_t c, std::int64_t p) const {
    return a[static_cast<std::size_t>(c * positions + p)];
  }
  [[nodiscard]] double grad(std::int64_t c, std::int64_t p) const {
    return g[static_cast<std::size_t>(c * positions + p)];
  }
};

// A layer [N, C, ...] and the gradient at it, by the plain gradient API.
std::vector<Layer> layer_of(const Model& model, const NamedTensors& inputs, const std::string& name, const Scalar& to) {
  const Tensor a = evaluate(model, inputs, {name}).values.at(name).to(DType::f64);
  const Gradients g = gradient(model, {.inputs = inputs, .of = {to}, .wrt = {name}});
  std::vector<Layer> out;
  for (std::int64_t e = 0; e < a.dims()[0]; ++e) {
    out.push_back({.channels = a.dims()[1],
                   .positions = a.size() / a.dims()[0] / a.dims()[1],
                   .a = a.rows(e, e + 1).to_doubles(),
                   .g = g.gradients.at(name).rows(e, e + 1).to_doubles(),
                   .score = g.values[static_cast<std::size_t>(e)]});
  }
  return out;
}

using WeightFn = std::function<double(const Layer&, std::int64_t c, std::int64_t p)>;

std::vector<double> map_by(const std::vector<Layer>& layers, const WeightFn& weight, bool relu) {
  std::vector<double> out;
  for (const Layer& l : layers) {
    for (std::int64_t p = 0; p < l.positions; ++p) {
      double sum = 0;
      for (std::int64_t c = 0; c < l.channels; ++c) sum += weight(l, c, p) * l.at(c, p);
      out.push_back(relu ? std::max(0.0, sum) : sum);
    }
  }
  return out;
}

double sum_over(const Layer& l, const std::function<double(std::int64_t)>& f) {
  double s = 0;
  for (std::int64_t p = 0; p < l.positions; ++p) s += f(p);
  return s;
}

double mean_gradient(const Layer& l, std::int64_t c, std::int64_t) {
  return sum_over(l, [&](std::int64_t p) { return l.grad(c, p); }) / static_cast<double>(l.positions);
}

class Cam : public ::testing::Test {
 protected:
  const Model model = small_net();
  const NamedTensors inputs = {{"x", wave({3, 2, 8, 12}, 7)}};
  const Scalar to = output(1) - output(2);
  const Request request{.inputs = inputs, .to = {to}, .from = {"a"}};
  const std::vector<Layer> layers = layer_of(model, inputs, "a", to);

  template <class Options>
  void expect_map(const Options& options, const WeightFn& weight, bool relu, double tolerance = 1e-12) {
    const Attribution got = attribute(model, options, request);
    const Tensor& map = got.attributions.at("a");
    EXPECT_EQ(map.dims(), (Dims{3, 1, 4, 6}));
    const std::vector<double> want = map_by(layers, weight, relu);
    EXPECT_LE(largest_difference(map.to_doubles(), want), tolerance * testing::largest(want));
    EXPECT_GT(testing::largest(want), 1e-3);
    for (std::size_t e = 0; e < 3; ++e) EXPECT_NEAR(got.values[e], layers[e].score, 1e-12);
    EXPECT_TRUE(got.report.notices.empty());
  }
};

TEST_F(Cam, GradCam) {
  expect_map(GradCam{}, mean_gradient, false);
  expect_map(GradCam{.relu_attributions = true}, mean_gradient, true);
  // One map for each channel.
  const Tensor each = attribute(model, GradCam{.attr_dim_summation = false}, request).attributions.at("a");
  ASSERT_EQ(each.dims(), (Dims{3, 5, 4, 6}));
  const std::vector<double> v = each.to_doubles();
  for (std::size_t e = 0; e < 3; ++e) {
    for (std::int64_t c = 0; c < 5; ++c) {
      for (std::int64_t p = 0; p < 24; ++p) {
        EXPECT_NEAR(v[(e * 5 + static_cast<std::size_t>(c)) * 24 + static_cast<std::size_t>(p)],
                    mean_gradient(layers[e], c, p) * layers[e].at(c, p), 1e-13);
      }
    }
  }
}

TEST_F(Cam, GradCamPlusPlus) {
  const WeightFn weight = [](const Layer& l, std::int64_t c, std::int64_t) {
    const double total = sum_over(l, [&](std::int64_t q) { return l.at(c, q); });
    return sum_over(l, [&](std::int64_t p) {
      const double g = l.grad(c, p), below = 2 * g * g + total * g * g * g;
      return below == 0 ? 0 : g * g / below * std::max(0.0, g);
    });
  };
  expect_map(GradCamPlusPlus{}, weight, true, 1e-10);
  expect_map(GradCamPlusPlus{.relu_attributions = false}, weight, false, 1e-10);
}

TEST_F(Cam, HiResLayerAndXGrad) {
  expect_map(
      HiResCam{}, [](const Layer& l, std::int64_t c, std::int64_t p) { return l.grad(c, p); }, false);
  expect_map(
      LayerCam{}, [](const Layer& l, std::int64_t c, std::int64_t p) { return std::max(0.0, l.grad(c, p)); }, true);
  expect_map(
      XGradCam{},
      [](const Layer& l, std::int64_t c, std::int64_t) {
        const double total = sum_over(l, [&](std::int64_t q) { return l.at(c, q); });
        return total == 0 ? 0 : sum_over(l, [&](std::int64_t p) { return l.grad(c, p) * l.at(c, p); }) / total;
      },
      false);
}

TEST_F(Cam, EigenCamIsTheFirstPrincipalDirection) {
  const Tensor map = attribute(model, EigenCam{}, request).attributions.at("a");
  ASSERT_EQ(map.dims(), (Dims{3, 1, 4, 6}));
  for (std::int64_t e = 0; e < 3; ++e) {
    // Power iteration on A^T A, from the all-ones vector: A is not negative, so neither is v_1.
    const Layer& l = layers[static_cast<std::size_t>(e)];
    std::vector<double> v(5, 1), y(24);
    for (int step = 0; step < 20000; ++step) {
      for (std::int64_t p = 0; p < 24; ++p) {
        y[static_cast<std::size_t>(p)] = 0;
        for (std::int64_t c = 0; c < 5; ++c)
          y[static_cast<std::size_t>(p)] += l.at(c, p) * v[static_cast<std::size_t>(c)];
      }
      double norm = 0;
      for (std::int64_t c = 0; c < 5; ++c) {
        double s = 0;
        for (std::int64_t p = 0; p < 24; ++p) s += l.at(c, p) * y[static_cast<std::size_t>(p)];
        v[static_cast<std::size_t>(c)] = s;
        norm += s * s;
      }
      for (double& x : v) x /= std::sqrt(norm);
    }
    std::vector<double> want;
    for (std::int64_t p = 0; p < 24; ++p) {
      double s = 0;
      for (std::int64_t c = 0; c < 5; ++c) s += l.at(c, p) * v[static_cast<std::size_t>(c)];
      want.push_back(s);
    }
    EXPECT_LE(largest_difference(map.rows(e, e + 1).to_doubles(), want), 1e-9 * testing::largest(want));
  }
}

TEST_F(Cam, AblationCamLeavesChannelsOut) {
  // The head by hand: y = mean(a^2) w3, so channel c counts mean(a_c^2) (w3[c, 1] - w3[c, 2]).
  const std::vector<double> w3 = wave({5, 3}, 3).to_doubles();
  expect_map(
      AblationCam{},
      [&](const Layer& l, std::int64_t c, std::int64_t) {
        const double squares = sum_over(l, [&](std::int64_t p) { return l.at(c, p) * l.at(c, p); }) / 24;
        const auto k = static_cast<std::size_t>(c * 3);
        return squares * (w3[k + 1] - w3[k + 2]) / l.score;
      },
      true, 1e-11);
}

TEST_F(Cam, ScoreCamMasksTheInput) {
  const Tensor a = evaluate(model, inputs, {"a"}).values.at("a");
  std::vector<std::vector<double>> weights;
  for (std::int64_t e = 0; e < 3; ++e) {
    std::vector<double> scores;
    const Tensor layer = a.rows(e, e + 1), x = inputs.at("x").rows(e, e + 1);
    for (std::int64_t c = 0; c < 5; ++c) {
      const std::vector<double> all = layer.to_doubles();
      std::vector<double> channel(all.begin() + c * 24, all.begin() + (c + 1) * 24);
      const auto [lo, hi] = std::minmax_element(channel.begin(), channel.end());
      const double low = *lo, range = *hi - *lo;
      for (double& v : channel) v = (v - low) / range;
      const Tensor mask =
          interpolate(Tensor::from<double>({1, 1, 4, 6}, std::span<const double>(channel)), {8, 12}, "bilinear");
      Tensor masked = Tensor::zeros(DType::f64, x.dims());
      for (std::size_t i = 0; i < 2 * 96; ++i) {
        masked.mutable_data<double>()[i] = x.data<double>()[i] * mask.data<double>()[i % 96];
      }
      const std::vector<double> y = evaluate(model, {{"x", masked}}).values.at("y").to_doubles();
      scores.push_back(std::exp(y[1] - y[2]));
    }
    double sum = 0;
    for (const double s : scores) sum += s;
    for (double& s : scores) s /= sum;
    weights.push_back(scores);
  }
  expect_map(
      ScoreCam{},
      [&](const Layer& l, std::int64_t c, std::int64_t) {
        return weights[static_cast<std::size_t>(&l - layers.data())][static_cast<std::size_t>(c)];
      },
      true, 1e-11);
}

TEST_F(Cam, LayersByNameSeveralAndInEveryLayout) {
  // The last value with positions, and a notice that names it.
  Request any = request;
  any.from.clear();
  const Attribution found = attribute(model, GradCam{}, any);
  EXPECT_EQ(found.attributions.at("a2").dims(), (Dims{3, 1, 4, 6}));
  ASSERT_EQ(found.report.notices.size(), 1u);
  EXPECT_NE(found.report.notices[0].find("the map is of 'a2'"), std::string::npos) << found.report.notices[0];
  Request two = request;
  two.from = {"t", "a"};
  const Attribution both = attribute(model, GradCam{}, two);
  EXPECT_EQ(both.attributions.at("t").dims(), (Dims{3, 1, 8, 12}));
  EXPECT_TRUE(both.attributions.at("a").same_bits(attribute(model, GradCam{}, request).attributions.at("a")));
  const Attribution ablated = attribute(model, AblationCam{}, two);
  EXPECT_TRUE(ablated.attributions.at("a").same_bits(attribute(model, AblationCam{}, request).attributions.at("a")));
  EXPECT_EQ(ablated.report.rows, 3 * (1 + 4) + 3 * (1 + 5));
  // Captum's dense layer: gradient times activation, summed.
  Request dense = request;
  dense.from = {"f"};
  const std::vector<double> got = attribute(model, GradCam{}, dense).attributions.at("f").to_doubles();
  EXPECT_LE(
      largest_difference(got, map_by(
                                  layer_of(model, inputs, "f", to),
                                  [](const Layer& l, std::int64_t c, std::int64_t p) { return l.grad(c, p); }, false)),
      1e-13);
  const auto refused = [&](const auto& options, const Request& r, const std::string& text) {
    const auto e = thrown_by([&] { (void)attribute(model, options, r); });
    EXPECT_NE(e.text.find(text), std::string::npos) << e.text;
    EXPECT_EQ(e.kind, ErrorKind::kBadInput);
  };
  refused(ScoreCam{}, dense, "score-cam masks the input");
  refused(GradCam{.grid = {.layout = "nchw"}}, request, "layout is 'nchw'");
  refused(GradCam{.grid = {.token_grid = {{2, 2}}}}, two, "token grid");
  refused(GradCam{.grid = {.token_grid = {{2, 2}, {2, 2}, {2, 2}}}}, two, "3 token grids for 2 layers");
  Request unknown = request;
  unknown.from = {"nothing"};
  refused(GradCam{}, unknown, "no value of that name");
}

TEST(CamErrors, ZeroScoresAndModelsWithoutPositions) {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 2}, DType::f64);
  m.initializer("w", wave({4, 2}, 1));
  m.node("Relu", {"x"}, {"h"});
  m.node("MatMul", {"h", "w"}, {"y"});
  const Model model = testing::model_of(m);
  const Request request{.inputs = {{"x", Tensor::zeros(DType::f64, {1, 4})}}, .to = {output(0)}, .from = {"h"}};
  EXPECT_EQ(thrown_by([&] { (void)attribute(model, AblationCam{}, request); }).kind, ErrorKind::kNonFinite);
  Request none = request;
  none.from.clear();
  EXPECT_NE(thrown_by([&] { (void)attribute(model, GradCam{}, none); }).text.find("no value of the model is a map"),
            std::string::npos);
}

// Captum's LayerGradCam on its toy models (tests/attr/layer/test_grad_cam.py and captum.md 6.3).
TEST(CamCaptum, ToyModels) {
  const Model conv = load(in_source("tests/golden/captum/convnet_one_conv.onnx"));
  std::vector<double> ramp;
  for (int i = 1; i <= 16; ++i) ramp.push_back(i);
  const std::string input = conv.inputs().at(0).name;
  const Request request{.inputs = {{input, Tensor::from<double>({1, 1, 4, 4}, std::span<const double>(ramp))}},
                        .to = {output(0)},
                        .from = {"conv1"},
                        .compute = {.precision = Precision::kFloat64}};
  const Tensor map = attribute(conv, GradCam{}, request).attributions.at("conv1");
  EXPECT_EQ(map.dims(), (Dims{1, 1, 2, 2}));
  EXPECT_LE(largest_difference(map.to_doubles(), {14.5, 19, 32.5, 37}), 1e-9);
}

// Captum's GuidedGradCam on the same model and ramp.
TEST(CamCaptum, GuidedGradCam) {
  const Model conv = load(in_source("tests/golden/captum/convnet_one_conv.onnx"));
  std::vector<double> ramp;
  for (int i = 1; i <= 16; ++i) ramp.push_back(i);
  const std::string input = conv.inputs().at(0).name;
  Request request{.inputs = {{input, Tensor::from<double>({1, 1, 4, 4}, std::span<const double>(ramp))}},
                  .to = {output(0)},
                  .compute = {.precision = Precision::kFloat64}};
  const Attribution got = attribute(conv, GuidedGradCam{.layer = "relu1"}, request);
  EXPECT_LE(largest_difference(got.attributions.at(input).to_doubles(),
                               {4, 8, 26, 13, 8, 16, 52, 26, 65, 130, 148, 74, 32.5, 65, 74, 37}),
            1e-9);
  const auto refused = [&](const GuidedGradCam& options, const std::string& text) {
    const auto e = thrown_by([&] { (void)attribute(conv, options, request); });
    EXPECT_NE(e.text.find(text), std::string::npos) << e.text;
  };
  refused({.layer = "relu1", .interpolate_mode = "linear"}, "is for 1 spatial axes");
  refused({.layer = "fc1"}, "no input has positions like the layer");
  request.from = {"conv1"};
  refused({.layer = "relu1"}, "attributes to inputs");
}

}  // namespace
}  // namespace onnxray
