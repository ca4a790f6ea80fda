// Paths cut behind the affine readers of a value give what a path on the value itself gives.
#include "algorithms/affine_prefix.h"

#include <gtest/gtest.h>

#include "algorithms/quadrature.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::wave;

constexpr std::int64_t kExamples = 3;
constexpr int kSteps = 6;

// A head on "r", and a model that leads from "x" to it.
struct Net {
  std::function<void(ModelBuilder&)> head;
  Dims row;  // of r and x
};

Model whole(const Net& net) {
  ModelBuilder m;
  std::vector<testing::BuilderDim> dims{"N"};
  for (const std::int64_t d : net.row) dims.emplace_back(d);
  m.input("x", dims, DType::f64).output("y", {"N", 3}, DType::f64);
  m.node("Tanh", {"x"}, {"r"});
  net.head(m);
  return testing::model_of(m);
}

Model head_alone(const Net& net) {
  ModelBuilder m;
  std::vector<testing::BuilderDim> dims{"N"};
  for (const std::int64_t d : net.row) dims.emplace_back(d);
  m.input("r", dims, DType::f64).output("y", {"N", 3}, DType::f64);
  net.head(m);
  return testing::model_of(m);
}

// Two convolutions with biases, one of stride 2, and the sum of their activations.
Net two_branches() {
  return {[](ModelBuilder& m) {
            m.initializer("w", wave({9, 40, 3, 3}, 1, 0.2)).initializer("b", wave({9}, 2));
            m.initializer("s", wave({9, 40, 1, 1}, 3, 0.3)).initializer("f", wave({9, 3}, 4));
            auto& conv = m.node("Conv", {"r", "w", "b"}, {"c"});
            attr(conv, "pads", std::vector<std::int64_t>{1, 1, 1, 1});
            attr(conv, "strides", std::vector<std::int64_t>{2, 2});
            attr(m.node("Conv", {"r", "s"}, {"d"}), "strides", std::vector<std::int64_t>{2, 2});
            m.node("Tanh", {"c"}, {"e"});
            m.node("Add", {"d", "e"}, {"g"});
            m.node("Sigmoid", {"g"}, {"h"});
            m.node("GlobalAveragePool", {"h"}, {"p"});
            m.node("Flatten", {"p"}, {"q"});
            m.node("MatMul", {"q", "f"}, {"y"});
          },
          {40, 6, 5}};
}

// The identity beside a convolution: r stays varied itself.
Net residual() {
  return {[](ModelBuilder& m) {
            m.initializer("w", wave({8, 8, 3, 3}, 1)).initializer("f", wave({8, 3}, 4));
            attr(m.node("Conv", {"r", "w"}, {"c"}), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
            m.node("Tanh", {"c"}, {"e"});
            m.node("Add", {"r", "e"}, {"g"});
            m.node("Sigmoid", {"g"}, {"h"});
            m.node("GlobalAveragePool", {"h"}, {"p"});
            m.node("Flatten", {"p"}, {"q"});
            m.node("MatMul", {"q", "f"}, {"y"});
          },
          {8, 4, 5}};
}

// Projections with biases, one through a scaling and a transpose.
Net attention() {
  return {[](ModelBuilder& m) {
            for (const char* name : {"q", "k", "v"}) {
              m.initializer(std::string("w") + name, wave({40, 40}, name[0], 0.2));
              m.initializer(std::string("b") + name, wave({40}, name[0] + 0.5));
            }
            m.initializer("two", Tensor::from<double>({}, {2.0})).initializer("f", wave({40, 3}, 4));
            m.node("Mul", {"r", "two"}, {"r2"});
            for (const char* name : {"q", "k", "v"}) {
              const std::string n = name;
              m.node("MatMul", {n == "q" ? "r2" : "r", "w" + n}, {"p" + n});
              m.node("Add", {"p" + n, "b" + n}, {n});
            }
            attr(m.node("Transpose", {"k"}, {"kt"}), "perm", std::vector<std::int64_t>{0, 2, 1});
            m.node("MatMul", {"q", "kt"}, {"scores"});
            m.node("Softmax", {"scores"}, {"a"});
            m.node("MatMul", {"a", "v"}, {"o"});
            m.node("Add", {"o", "r"}, {"g"});
            auto& mean = m.node("ReduceMean", {"g"}, {"h"});
            attr(mean, "axes", std::vector<std::int64_t>{1});
            attr(mean, "keepdims", 0);
            m.node("MatMul", {"h", "f"}, {"z"});
            m.node("Tanh", {"z"}, {"y"});
          },
          {4, 40}};
}

// The path by hand: gradients of the head alone at every point.
Tensor by_hand(const Net& net, const Tensor& r, double baseline) {
  const Model model = head_alone(net);
  const Quadrature q = quadrature("gausslegendre", kSteps);
  Tensor sum = Tensor::zeros(DType::f64, r.dims());
  const auto s = sum.mutable_data<double>();
  const auto x = r.data<double>();
  for (std::size_t step = 0; step < q.alphas.size(); ++step) {
    Tensor point(DType::f64, r.dims());
    const auto p = point.mutable_data<double>();
    for (std::size_t k = 0; k < p.size(); ++k) p[k] = baseline + q.alphas[step] * (x[k] - baseline);
    const Tensor g = gradient(model, {.inputs = {{"r", point}}, .of = {output(1)}, .wrt = {"r"}}).gradients.at("r");
    const std::vector<double> d = g.to_doubles();
    for (std::size_t k = 0; k < d.size(); ++k) s[k] += q.weights[step] * d[k] * (x[k] - baseline);
  }
  return sum;
}

// `varied`: the values that vary behind the prefix; stays: r is the first of them.
void check(const Net& net, std::size_t varied, bool stays) {
  const Model model = whole(net);
  Dims dims = net.row;
  dims.insert(dims.begin(), kExamples);
  const Request request{.inputs = {{"x", wave(dims, 7)}}, .to = {output(1)}, .from = {"r"}};
  const Session session(model, request, true);
  const AffinePrefix prefix(session, 50);
  ASSERT_EQ(prefix.session().vary().size(), varied);
  EXPECT_EQ(prefix.session().vary()[0].name == "r", stays);
  IntegratedGradients ig{.n_steps = kSteps};
  ig.baselines.constant = 0.25;
  const Tensor r = evaluate(model, request.inputs, {"r"}).values.at("r");
  const Tensor want = by_hand(net, r, 0.25);
  for (const std::int64_t chunk : {0, 4}) {
    Request r2 = request;
    r2.compute.chunk = chunk;
    EXPECT_LE(relative_distance(attribute(model, ig, r2).attributions.at("r"), want), 1e-13);
  }
}

TEST(AffinePrefix, CutsBehindEveryBranch) { check(two_branches(), 2, false); }
TEST(AffinePrefix, KeepsTheValueForItsOtherReaders) { check(residual(), 2, true); }
TEST(AffinePrefix, CutsBehindProjections) { check(attention(), 4, true); }

TEST(AffinePrefix, LeavesAValueThatIsAskedForItself) {
  const Model model = whole(residual());
  Scalar r = scalar_of("r");
  r.terms[0].index = {{3, 1, 2}};
  const Request request{.inputs = {{"x", wave({kExamples, 8, 4, 5}, 7)}}, .to = {r, output(0)}, .from = {"r"}};
  const Attribution a = attribute(model, IntegratedGradients{.n_steps = kSteps}, request);
  const Tensor values = evaluate(model, request.inputs, {"r"}).values.at("r");
  for (std::int64_t e = 0; e < kExamples; ++e) {
    const std::vector<double> got = a.attributions.at("r").rows(2 * e, 2 * e + 1).to_doubles();
    const std::vector<double> is = values.rows(e, e + 1).to_doubles();
    for (std::size_t k = 0; k < got.size(); ++k) EXPECT_NEAR(got[k], k == 3 * 20 + 1 * 5 + 2 ? is[k] : 0, 1e-14);
  }
}

}  // namespace
}  // namespace onnxray
