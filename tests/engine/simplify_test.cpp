#include "tests/engine/passes_util.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

TEST(Simplify, RemovesWhatDoesNothing) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 3, 4});
  ValueId v = b.add(b.mul(x, 1.0), 0.0);
  v = b.neg(b.neg(v));
  v = b.op("transpose", {b.op("transpose", {v}, {{"perm", Ints{1, 2, 0}}})}, {{"perm", Ints{2, 0, 1}}});
  v = b.op("reshape", {b.op("reshape", {v}, {{"shape", Ints{6, 4}}})}, {{"shape", Ints{2, 12}}});
  v = b.op("slice", {v}, {{"starts", Ints{0, 0}}, {"sizes", Ints{2, 12}}, {"steps", Ints{1, 1}}});
  v = b.op("pad", {v}, {{"begins", Ints{0, 0}}, {"ends", Ints{0, 0}}, {"value", 0.0}});
  v = b.op("exp", {v});
  g.set_outputs({v});
  const Graph after = simplify(g, nullptr);
  EXPECT_EQ(after.nodes().size(), 2U) << after.to_text();  // one reshape, one exp
  expect_same(g, after, 0);
}

TEST(Simplify, MakesMatrixTransposesFlags) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 3, 4}), y = g.add_input("y", DType::f64, {2, 5, 4});
  g.set_outputs({b.matmul(x, b.transpose(y, {0, 2, 1}))});
  const Graph after = simplify(g, nullptr);
  EXPECT_EQ(after.nodes().size(), 1U) << after.to_text();
  expect_same(g, after, 0);
}

// Overlapping windows, so that one element wins several.
TEST(Simplify, MasksBeforeAPoolSendsBack) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 3, 7, 6}), dy = g.add_input("dy", DType::f64, {2, 3, 4, 3});
  const ValueId other = g.add_input("other", DType::f64, {2, 3, 7, 6});
  Attrs pool = window(2, 1);
  pool.set("kernel", Ints{3, 3});
  const ValueId r = b.op("relu", {b.sub(x, 0.25)});
  const ValueId argmax = b.add_node(op("max_pool"), {r}, pool, "pool")[1];
  pool.set("input_spatial", Ints{7, 6});
  const auto send_back = [&] { return b.op("max_pool_grad", {dy, argmax}, pool); };
  g.set_outputs({b.op("relu_grad", {send_back(), r}), b.op("relu_grad", {send_back(), other})});
  const Graph after = simplify(g, nullptr);
  expect_same(g, after, 0);
  ASSERT_EQ(after.producer(after.outputs()[0])->op->name, "max_pool_grad") << after.to_text();
  EXPECT_EQ(after.producer(after.outputs()[1])->op->name, "relu_grad") << "another mask stays where it is";
}

TEST(Simplify, KeepsWhatDoesSomething) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {3});
  const ValueId zeros = b.constant(Tensor::zeros(DType::f64, {2, 1}));
  const ValueId broadcast = b.add(x, zeros);  // adds nothing, but makes [2, 3]
  const ValueId reversed = b.op("slice", {x}, {{"starts", Ints{2}}, {"sizes", Ints{3}}, {"steps", Ints{-1}}});
  const ValueId less = b.sub(b.constant(Tensor::zeros(DType::f64, {3})), x);  // 0 - x is not x
  g.set_outputs({broadcast, reversed, less});
  const Graph after = simplify(g, nullptr);
  EXPECT_EQ(after.nodes().size(), 3U) << after.to_text();
  expect_same(g, after, 0);
}

}  // namespace
}  // namespace onnxray::testing
