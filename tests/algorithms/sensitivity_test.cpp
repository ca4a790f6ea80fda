// Methods that sample masks and measure what the output owes to each: Sobol indices, HSIC, RISE.
#include <gtest/gtest.h>

#include "algorithms/random.h"
#include "tests/algorithms/game.h"

namespace onnxray {
namespace {

using namespace testing::game;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::wave;

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

}  // namespace
}  // namespace onnxray
