#include "tests/engine/passes_util.h"

namespace onnxray::testing {
namespace {

ValueId batch_norm(Builder& b, ValueId x, std::int64_t channels, unsigned seed) {
  const auto draw = [&](unsigned k) { return random_floats(DType::f64, {channels}, seed + k); };
  Tensor var = draw(3);
  for (double& v : var.mutable_data<double>()) v = v * v + 0.1;
  return b.op("batch_norm",
              {x, b.constant(draw(0)), b.constant(draw(1)), b.constant(draw(2)), b.constant(std::move(var))},
              {{"epsilon", 1e-3}});
}

ValueId weight(Builder& b, Dims dims, unsigned seed) {
  return b.constant(random_floats(DType::f64, std::move(dims), seed));
}

TEST(FoldBatchNorm, IntoConvolutionsAndMatrixProducts) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 4, 5, 6});
  Attrs grouped = window(1, 1);
  grouped.set("group", std::int64_t{2});
  ValueId v = batch_norm(b, b.op("conv", {x, weight(b, {6, 2, 3, 3}, 1), weight(b, {6}, 2)}, grouped), 6, 3);
  grouped.set("input_spatial", std::vector<std::int64_t>{5, 6});
  v = batch_norm(b, b.op("conv_input_grad", {v, weight(b, {6, 5, 3, 3}, 11)}, grouped), 10, 12);
  v = b.reshape(v, {2, 300});
  const ValueId product =
      b.op("matmul", {v, weight(b, {7, 300}, 21), weight(b, {7}, 22)}, {{"trans_b", std::int64_t{1}}});
  g.set_outputs({batch_norm(b, product, 7, 23)});
  const Graph after = fold_batch_norm(g, nullptr);
  EXPECT_EQ(count_ops(after, "batch_norm"), 0);
  EXPECT_EQ(count_ops(after, "mul"), 0) << after.to_text();
  expect_same(g, after, 1e-12);
}

TEST(FoldBatchNorm, BecomesMultiplyAddWhereItCannotFold) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 4, 5, 6});
  const ValueId conv = b.op("conv", {x, weight(b, {3, 4, 3, 3}, 1)}, window(1, 1));
  const ValueId y = batch_norm(b, conv, 3, 2);
  g.set_outputs({conv, y, batch_norm(b, x, 4, 9)});  // the convolution's own output is asked for
  const Graph after = fold_batch_norm(g, nullptr);
  EXPECT_EQ(count_ops(after, "batch_norm"), 0);
  EXPECT_EQ(count_ops(after, "mul"), 2);
  expect_same(g, after, 1e-12);
}

TEST(FoldBatchNorm, LeavesUnknownStatisticsAlone) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 2, 3}), m = g.add_input("m", DType::f64, {2});
  const ValueId one = b.constant(Tensor::full(DType::f64, {2}, 1));
  g.set_outputs({b.op("batch_norm", {x, one, one, m, one}, {{"epsilon", 1e-5}})});
  EXPECT_EQ(count_ops(fold_batch_norm(g, nullptr), "batch_norm"), 1);
}

}  // namespace
}  // namespace onnxray::testing
