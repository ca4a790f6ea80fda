#include <gtest/gtest.h>

#include <random>

#include "engine/builder.h"
#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray {
namespace {

std::vector<Tensor> run(const Graph& g, std::span<const Tensor> inputs) {
  PlanRun r(Plan::compile(g, cpu_backend(), nullptr));
  for (std::size_t i = 0; i < inputs.size(); ++i) r.bind(i, inputs[i]);
  r.execute();
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < g.outputs().size(); ++i) out.push_back(r.output(i));
  return out;
}

int count(const Graph& g, std::string_view op) {
  int n = 0;
  for (const Node& node : g.nodes()) n += node.op->name == op;
  return n;
}

TEST(FuseElementwise, ScaleShiftAndActivation) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {2, 3, 4, 4}), s = g.add_input("s", DType::f32, {3, 1, 1});
  const ValueId y = b.op("leaky_relu", {b.add(b.mul(x, s), x)}, {{"alpha", 0.1}});
  g.set_outputs({y});
  const Graph f = fuse_elementwise(g);
  f.verify();
  ASSERT_EQ(f.nodes().size(), 1u);
  EXPECT_EQ(f.nodes()[0].attrs.text("program"), "mul 0 1; add 2 0; leaky_relu 3");
  EXPECT_EQ(f.nodes()[0].attrs.real("2.alpha", 0), 0.1);
}

TEST(FuseElementwise, LeavesWhatOthersRead) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {5}), a = b.op("exp", {x}), c = b.op("tanh", {a});
  g.set_outputs({a, c});  // a is asked for
  const Graph f = fuse_elementwise(g);
  EXPECT_EQ(f.to_text(), g.to_text());
}

TEST(FuseElementwise, KeepsSmallOperandsSmall) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {50, 7}), v = g.add_input("v", DType::f32, {7});
  // exp(v) is computed on 7 elements, not on 350.
  g.set_outputs({b.op("relu", {b.add(x, b.op("exp", {v}))})});
  const Graph f = fuse_elementwise(g);
  EXPECT_EQ(count(f, "exp"), 1);
  EXPECT_EQ(count(f, "map"), 1);
  EXPECT_EQ(f.nodes().size(), 2u);
}

TEST(FuseElementwise, PowersAndMasks) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {9}), m = g.add_input("m", DType::boolean, {9});
  const ValueId square = b.op("pow", {x, b.scalar_like(x, 2)});
  const ValueId positive = b.op("greater", {x, b.scalar_like(x, 0)});
  g.set_outputs({b.where(b.op("and", {positive, m}), square, x)});
  const Graph f = fuse_elementwise(g);
  ASSERT_EQ(f.nodes().size(), 1u);
  EXPECT_EQ(f.nodes()[0].attrs.text("program"), "square 0; greater 0 1; and 4 2; where 5 3 0");
}

// Random graphs give the same bits before and after in float64. In float32 a broadcast operand may meet another variant
// of a loop, in which the compiler fuses other multiplications and additions.
TEST(FuseElementwise, ChangesNoResult) {
  const std::vector<Dims> shapes = {{3, 40}, {3, 40}, {40}, {3, 1}, {}, {3, 40}};
  int fused = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const DType dtype = seed % 2 == 0 ? DType::f32 : DType::f64;
    Graph g;
    Builder b(g);
    std::vector<ValueId> values, masks;
    std::vector<Tensor> inputs;
    for (const Dims& d : shapes) {
      values.push_back(g.add_input("x" + std::to_string(values.size()), dtype, d));
      Tensor t(DType::f64, d);
      for (double& x : t.mutable_data<double>()) x = static_cast<double>(random() % 4001) / 1000 - 2;
      inputs.push_back(t.to(dtype));
    }
    const char* unary[] = {"relu", "tanh", "sigmoid", "gelu", "abs", "exp", "neg", "softplus", "mish", "erf"};
    const char* binary[] = {"add", "sub", "mul", "max", "min", "relu_grad", "gelu_grad", "tanh_grad"};
    for (int k = 0; k < 40; ++k) {
      const ValueId x = values[pick(values.size())], y = values[pick(values.size())], z = values[pick(values.size())];
      switch (random() % 6) {
        case 0: values.push_back(b.op(unary[pick(std::size(unary))], {x})); break;
        case 1: masks.push_back(b.op("greater", {x, y})); break;
        case 2: values.push_back(masks.empty() ? b.add(x, 0.5) : b.where(masks[pick(masks.size())], x, y)); break;
        case 3: values.push_back(b.op("max_grad", {x, y, z})); break;
        default: values.push_back(b.op(binary[pick(std::size(binary))], {x, y}));
      }
      // Nothing overflows.
      values.back() = b.op("clip", {values.back()}, {{"min", -3.}, {"max", 3.}});
    }
    std::vector<ValueId> outputs{values.back()};
    for (int k = 0; k < 3; ++k) outputs.push_back(values[pick(values.size())]);
    g.set_outputs(outputs);
    const Graph before = clean(g), after = fuse_elementwise(before);
    after.verify();
    fused += count(after, "map");
    const std::vector<Tensor> want = run(before, inputs), got = run(after, inputs);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const std::vector<double> w = want[i].to_doubles(), r = got[i].to_doubles();
      for (std::size_t k = 0; k < w.size(); ++k) {
        if (dtype == DType::f64) {
          ASSERT_EQ(r[k], w[k]) << "seed " << seed << " output " << i << "\n" << after.to_text();
        } else {
          ASSERT_NEAR(r[k], w[k], 2e-5) << "seed " << seed << " output " << i << "\n" << after.to_text();
        }
      }
    }
  }
  EXPECT_GT(fused, 300);
}

}  // namespace
}  // namespace onnxray
