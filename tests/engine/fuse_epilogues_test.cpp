#include "tests/engine/residual_net.h"

namespace onnxray::testing {
namespace {

TEST(FuseEpilogues, TakesBiasResidualReluAndMask) {
  const Graph g = residual_net(DType::f64);
  const Graph after = fuse_epilogues(g);
  EXPECT_EQ(count_ops(after, "relu"), 0) << after.to_text();
  EXPECT_LT(count_ops(after, "relu_grad"), count_ops(g, "relu_grad"));
  EXPECT_LT(count_ops(after, "add"), count_ops(g, "add") - 1);
  expect_same(g, after, 1e-12);
  const Graph single = residual_net(DType::f32);
  expect_same(single, fuse_epilogues(single), 1e-4);
}

TEST(FuseEpilogues, KeepsValuesThatOthersRead) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {1, 2, 4, 4});
  const ValueId w = b.constant(random_floats(DType::f64, {2, 2, 1, 1}, 1));
  const ValueId conv = b.op("conv", {x, w}, window(1, 0));
  const ValueId twice = b.add(conv, conv);
  const ValueId shifted = b.op("conv", {x, w}, window(1, 0));
  const ValueId row = b.constant(random_floats(DType::f64, {4}, 2));  // per column, no bias
  g.set_outputs({conv, b.op("relu", {conv}), twice, b.add(shifted, row)});
  const Graph after = fuse_epilogues(g);
  EXPECT_EQ(count_ops(after, "relu"), 1) << after.to_text();
  EXPECT_EQ(count_ops(after, "add"), 2);
  expect_same(g, after, 0);
}

}  // namespace
}  // namespace onnxray::testing
