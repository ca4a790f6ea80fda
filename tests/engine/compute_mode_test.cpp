#include <gtest/gtest.h>

#include "engine/model.h"
#include "tests/engine/passes_util.h"

namespace onnxray::testing {
namespace {

// Two products of the forward part, one of the backward part, one in float64.
Graph products() {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {2, 3}), dy = g.add_input("seed y", DType::f32, {2, 4});
  const ValueId w = g.add_input("w", DType::f32, {3, 4}), z = g.add_input("z", DType::f64, {3, 3});
  const ValueId y = b.op("relu", {b.matmul(x, w)});
  const ValueId dx = b.matmul(b.op("relu_grad", {dy, y}), w, false, true);
  g.set_outputs({b.matmul(y, w, false, true), dx, b.matmul(z, z)});
  return g;
}

std::vector<std::string> modes(const Graph& g) {
  std::vector<std::string> all;
  for (const Node& n : g.nodes()) {
    if (n.op->name == "matmul") all.push_back(n.attrs.text("mode", "exact"));
  }
  return all;
}

TEST(ComputeMode, MarksTheBackwardPart) {
  using List = std::vector<std::string>;
  const Graph g = products();
  EXPECT_EQ(modes(set_compute_mode(g, ComputeMode::kBalanced, {"seed y"})), (List{"exact", "tf32", "exact", "exact"}));
  EXPECT_EQ(modes(set_compute_mode(g, ComputeMode::kBalanced, {})), (List{"exact", "exact", "exact", "exact"}));
  EXPECT_EQ(modes(set_compute_mode(g, ComputeMode::kFast, {"seed y"})), (List{"tf32", "tf32", "tf32", "exact"}));
  EXPECT_EQ(modes(set_compute_mode(g, ComputeMode::kBf16, {"seed y"})), (List{"bf16", "bf16", "bf16", "exact"}));
  expect_same(g, set_compute_mode(g, ComputeMode::kFast, {"seed y"}), 0);
}

TEST(ComputeMode, LoweringMarksNothingForTheHost) {
  EXPECT_EQ(modes(lower_for(cpu_backend(), products(), evaluator_of(cpu_backend()), {"seed y"})),
            (std::vector<std::string>{"exact", "exact", "exact", "exact"}));
  Backend fast = cpu_backend();
  fast.mode = ComputeMode::kFast;
  EXPECT_EQ(modes(lower_for(fast, products(), evaluator_of(cpu_backend()), {"seed y"})),
            (std::vector<std::string>{"tf32", "tf32", "tf32", "exact"}));
}

}  // namespace
}  // namespace onnxray::testing
