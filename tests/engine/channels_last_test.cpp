#include "tests/engine/residual_net.h"

namespace onnxray::testing {
namespace {

TEST(ChannelsLast, KeepsResultsAndTransposesOnlyAtTheBorders) {
  const Graph g = residual_net(DType::f32);
  const Graph after = simplify(channels_last(g, nullptr), nullptr);
  int convolutions = 0;
  for (const Node& node : after.nodes()) {
    if (node.op->name == "conv" || node.op->name == "conv_input_grad" || node.op->name == "max_pool") {
      EXPECT_EQ(node.attrs.integer("channels_last", 0), 1) << after.to_text();
      ++convolutions;
    }
  }
  EXPECT_GT(convolutions, 10);
  // The image on the way in, its gradient on the way out.
  EXPECT_LE(count_ops(after, "transpose"), 2) << after.to_text();
  expect_same(g, after, 1e-4);
  const Graph fused = channels_last(fuse_epilogues(g), nullptr);
  expect_same(g, fused, 1e-4);
}

TEST(ChannelsLast, LeavesGraphsWithoutConvolutionsAndFloat64Alone) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {1, 2, 4, 4});
  g.set_outputs({b.op("relu", {x})});
  EXPECT_EQ(channels_last(g, nullptr).to_text(), g.to_text());
  const Graph wide = residual_net(DType::f64);
  EXPECT_EQ(channels_last(wide, nullptr).to_text(), wide.to_text());
}

}  // namespace
}  // namespace onnxray::testing
