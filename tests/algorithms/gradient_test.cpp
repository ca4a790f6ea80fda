// Plain derivatives against central differences in float64.
#include "algorithms/gradient.h"

#include <gtest/gtest.h>

#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;

constexpr std::int64_t kExamples = 3;

// h = tanh(a W + c), s = sigmoid(h * flat(b)), y = s V, cube [2, 3] = reshape(y^3), total = sum(y)
const Model& smooth() {
  static const Model model = [] {
    ModelBuilder m;
    m.input("a", {"N", 3}, DType::f64).input("b", {"N", 2, 2}, DType::f64).input("k", {"N", 2}, DType::i64);
    m.output("y", {"N", 6}, DType::f64).output("cube", {"N", 2, 3}, DType::f64).output("total", {"N"}, DType::f64);
    m.output("which", {"N", 1}, DType::i64);
    m.initializer("W", wave({3, 4}, 1)).initializer("c", wave({4}, 2)).initializer("V", wave({4, 6}, 3));
    m.initializer("three", Tensor::scalar<double>(3));
    m.initializer("shape", Tensor::from<std::int64_t>({3}, {-1, 2, 3}));
    m.initializer("one", Tensor::from<std::int64_t>({1}, {1}));
    m.node("Gemm", {"a", "W", "c"}, {"g"}, "gemm");
    m.node("Tanh", {"g"}, {"h"});
    m.node("Flatten", {"b"}, {"flat"});
    m.node("Mul", {"h", "flat"}, {"product"});
    m.node("Sigmoid", {"product"}, {"s"});
    m.node("MatMul", {"s", "V"}, {"y"});
    m.node("Pow", {"y", "three"}, {"power"});
    m.node("Reshape", {"power", "shape"}, {"cube"});
    attr(m.node("ReduceSum", {"y", "one"}, {"total"}), "keepdims", 0);
    attr(m.node("ArgMax", {"y"}, {"which"}), "axis", 1);
    m.node("Identity", {"k"}, {"unused"});
    return testing::model_of(m);
  }();
  return model;
}

NamedTensors inputs() {
  return {{"a", wave({kExamples, 3}, 10)},
          {"b", wave({kExamples, 2, 2}, 20)},
          {"k", Tensor::zeros(DType::i64, {kExamples, 2})}};
}

// d value[e, j] / d input[e, i] by central differences: [E * size, row of input].
std::vector<double> differences(const std::string& value, const std::string& input) {
  NamedTensors in = inputs();
  const double h = 1e-6;
  const auto size = in.at(input).size() / kExamples;
  std::vector<std::vector<double>> columns;  // one per input element, all examples moved together
  std::size_t outputs = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    std::vector<double> ends[2];
    for (const int side : {0, 1}) {
      NamedTensors moved = in;
      std::vector<double> x = in.at(input).to_doubles();
      for (std::int64_t e = 0; e < kExamples; ++e) x[static_cast<std::size_t>(e * size + i)] += side == 0 ? h : -h;
      moved[input] = Tensor::from<double>(in.at(input).dims(), std::span<const double>(x));
      ends[side] = evaluate(smooth(), moved, {value}).values.at(value).to_doubles();
    }
    outputs = ends[0].size() / kExamples;
    for (std::size_t j = 0; j < ends[0].size(); ++j) ends[0][j] = (ends[0][j] - ends[1][j]) / (2 * h);
    columns.push_back(ends[0]);
  }
  std::vector<double> out;
  for (std::size_t row = 0; row < outputs * kExamples; ++row) {
    for (const auto& c : columns) out.push_back(c[row]);
  }
  return out;
}

TEST(Gradient, OfOneElementPerExample) {
  const Gradients g = gradient(smooth(), {.inputs = inputs(), .of = {scalar_of("y", {2})}, .wrt = {}});
  ASSERT_EQ(g.gradients.size(), 2u);  // every float input
  for (const char* name : {"a", "b"}) {
    const Tensor& t = g.gradients.at(name);
    EXPECT_EQ(t.dims(), inputs().at(name).dims());
    EXPECT_EQ(t.dtype(), DType::f64);
    const std::vector<double> all = differences("y", name);
    const std::size_t size = static_cast<std::size_t>(t.size() / kExamples);
    std::vector<double> want;
    for (std::size_t e = 0; e < kExamples; ++e) {
      for (std::size_t i = 0; i < size; ++i) want.push_back(all[(e * 6 + 2) * size + i]);
    }
    EXPECT_LE(largest_difference(t.to_doubles(), want), 1e-8) << name;
  }
  const auto y = evaluate(smooth(), inputs(), {"y"}).values.at("y").to_doubles();
  EXPECT_LE(largest_difference(g.values, {y[2], y[8], y[14]}), 1e-15);
  EXPECT_EQ(g.report.rows, kExamples);
  EXPECT_TRUE(g.report.batched);
}

TEST(Gradient, FollowsADifferentIndexPerExampleAndNegativeIndices) {
  Scalar s = scalar_of("y");
  s.terms[0].index = {{0}, {5}, {-2}};
  const auto g = gradient(smooth(), {.inputs = inputs(), .of = {s}, .wrt = {"a"}}).gradients.at("a").to_doubles();
  const auto all = differences("y", "a");
  std::vector<double> want;
  for (const std::size_t row : {0, 6 + 5, 12 + 4}) want.insert(want.end(), &all[row * 3], &all[row * 3] + 3);
  EXPECT_LE(largest_difference(g, want), 1e-8);
}

TEST(Gradient, WithRespectToAnInnerValue) {
  // dy_j / dh_i = s_i (1 - s_i) flat_i V_ij
  const auto values = evaluate(smooth(), inputs(), {"h", "flat", "s"}).values;
  const auto f = values.at("flat").to_doubles(), s = values.at("s").to_doubles(), v = wave({4, 6}, 3).to_doubles();
  const Gradients g = jacobian(smooth(), inputs(), "y", {"h"});
  std::vector<double> want;
  for (std::size_t e = 0; e < kExamples; ++e) {
    for (std::size_t j = 0; j < 6; ++j) {
      for (std::size_t i = 0; i < 4; ++i) {
        want.push_back(s[e * 4 + i] * (1 - s[e * 4 + i]) * f[e * 4 + i] * v[i * 6 + j]);
      }
    }
  }
  EXPECT_EQ(g.gradients.at("h").dims(), (Dims{kExamples * 6, 4}));
  EXPECT_LE(largest_difference(g.gradients.at("h").to_doubles(), want), 1e-14);
}

// Nothing of b reaches h.
TEST(Gradient, IsZeroWhereNothingDependsOnIt) {
  const auto g = gradient(smooth(), {.inputs = inputs(), .of = {scalar_of("h", {1})}, .wrt = {"b", "a"}}).gradients;
  EXPECT_EQ(g.at("b").dims(), (Dims{kExamples, 2, 2}));
  EXPECT_EQ(testing::largest(g.at("b").to_doubles()), 0);
  EXPECT_GT(testing::largest(g.at("a").to_doubles()), 0);
}

TEST(Gradient, HasADeclaredPrecision) {
  const auto want = gradient(smooth(), {.inputs = inputs(), .of = {scalar_of("y", {1})}, .wrt = {"a"}});
  const auto got = gradient(
      smooth(),
      {.inputs = inputs(), .of = {scalar_of("y", {1})}, .wrt = {"a"}, .compute = {.precision = Precision::kFloat32}});
  EXPECT_EQ(got.gradients.at("a").dtype(), DType::f32);
  EXPECT_EQ(got.report.precision, Precision::kFloat32);
  EXPECT_LE(testing::relative_distance(got.gradients.at("a"), want.gradients.at("a")), 1e-5);
  EXPECT_FALSE(got.gradients.at("a").to(DType::f64).same_bits(want.gradients.at("a")));
}

TEST(Jacobian, HasOneRowPerElement) {
  for (const char* of : {"y", "cube", "total"}) {
    for (const char* wrt : {"a", "b"}) {
      const Gradients g = jacobian(smooth(), inputs(), of, {wrt});
      EXPECT_LE(largest_difference(g.gradients.at(wrt).to_doubles(), differences(of, wrt)), 1e-8) << of << " " << wrt;
      // One forward pass per example serves all rows.
      EXPECT_EQ(g.report.rows, kExamples) << of;
      EXPECT_EQ(g.values.size(), g.gradients.at(wrt).dims()[0]);
    }
  }
  const Gradients g = jacobian(smooth(), inputs(), "cube", {"b"});
  EXPECT_EQ(g.gradients.at("b").dims(), (Dims{kExamples * 6, 2, 2}));
}

TEST(Jacobian, IsTheSameForAnyChunk) {
  const Gradients all = jacobian(smooth(), inputs(), "cube", {"a", "b"});
  for (const std::int64_t chunk : {1, 2}) {
    const Gradients g = jacobian(smooth(), inputs(), "cube", {"a", "b"}, {.chunk = chunk});
    EXPECT_TRUE(g.gradients.at("a").same_bits(all.gradients.at("a"))) << chunk;
    EXPECT_TRUE(g.gradients.at("b").same_bits(all.gradients.at("b"))) << chunk;
    EXPECT_EQ(g.report.chunk, chunk);
  }
}

TEST(VectorJacobian, SumsOverSeveralValues) {
  const Tensor u = wave({kExamples, 6}, 30), v = wave({kExamples, 2, 3}, 40);
  const Gradients g = vector_jacobian(smooth(), inputs(), {{"y", u}, {"cube", v}}, {"a"});
  const auto jy = differences("y", "a"), jc = differences("cube", "a"), du = u.to_doubles(), dv = v.to_doubles();
  std::vector<double> want(kExamples * 3, 0);
  for (std::size_t row = 0; row < kExamples * 6; ++row) {
    for (std::size_t i = 0; i < 3; ++i) want[row / 6 * 3 + i] += du[row] * jy[row * 3 + i] + dv[row] * jc[row * 3 + i];
  }
  EXPECT_LE(largest_difference(g.gradients.at("a").to_doubles(), want), 1e-7);
  // One cotangent for all examples.
  const Gradients shared = vector_jacobian(smooth(), inputs(), {{"y", u.rows(0, 1).reshaped({6})}}, {"a"});
  std::vector<double> same(kExamples * 3, 0);
  for (std::size_t row = 0; row < kExamples * 6; ++row) {
    for (std::size_t i = 0; i < 3; ++i) same[row / 6 * 3 + i] += du[row % 6] * jy[row * 3 + i];
  }
  EXPECT_LE(largest_difference(shared.gradients.at("a").to_doubles(), same), 1e-7);
}

TEST(Gradient, SaysWhatCannotBeDifferentiated) {
  const auto text = [](const char* of, const char* wrt) {
    return thrown_by([&] { (void)gradient(smooth(), {.inputs = inputs(), .of = {scalar_of(of, {0})}, .wrt = {wrt}}); })
        .text;
  };
  EXPECT_NE(text("which", "a").find("'which' is int64"), std::string::npos) << text("which", "a");
  EXPECT_NE(text("y", "k").find("'k' is int64"), std::string::npos) << text("y", "k");
  EXPECT_NE(text("y", "c").find("'c'"), std::string::npos) << text("y", "c");
  EXPECT_NE(text("nothing", "a").find("'nothing'"), std::string::npos) << text("nothing", "a");
  EXPECT_NE(thrown_by([] { (void)jacobian(smooth(), inputs(), "nothing"); }).text.find("'nothing'"), std::string::npos);
}

}  // namespace
}  // namespace onnxray
