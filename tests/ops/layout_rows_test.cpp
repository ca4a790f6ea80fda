// Where the rows of a batch go in the chains that nets are made of: one-row graphs whose row maps batch_rows must find.
// That values agree is checked by the conformance loop; here it is that a batch is possible at all.
#include <gtest/gtest.h>

#include "engine/builder.h"
#include "engine/passes/passes.h"

namespace onnxray {
namespace {

using Ints = std::vector<std::int64_t>;

struct Chain {
  Graph g;
  Builder b{g};
  ValueId input(Dims dims, std::int64_t axis, DType dtype = DType::f32) {
    const std::int64_t inner = dims[static_cast<std::size_t>(axis)];
    return g.add_input("x", dtype, std::move(dims), RowMap::rows(axis, inner));
  }
  ValueId constant(Dims dims) { return b.constant(Tensor::zeros(DType::f32, std::move(dims))); }
  // The row map and dims of v for five rows; mixed when there is none.
  std::pair<RowMap, Dims> batched(ValueId v) {
    g.set_outputs({v});
    const Batched r = batch_rows(g, 5);
    if (!r.graph) return {RowMap::mixed(), {}};
    const Value& out = r.graph->value(r.graph->outputs()[0]);
    return {out.rows, out.dims};
  }
};

void expect_rows(const std::pair<RowMap, Dims>& got, RowMap rows, const Dims& dims) {
  EXPECT_EQ(got.second, dims);
  EXPECT_TRUE(got.first == rows) << "axis " << got.first.axis << " inner " << got.first.inner;
}

TEST(LayoutRows, AttentionHeadsSplitAndMerge) {
  Chain c;
  const ValueId x = c.input({1, 7, 12}, 0);
  const ValueId heads = c.b.transpose(c.b.reshape(x, {1, 7, 3, 4}), {0, 2, 1, 3});
  expect_rows(c.batched(heads), RowMap::rows(0), {5, 3, 7, 4});
  expect_rows(c.batched(c.b.reshape(heads, {3, 7, 4})), RowMap::rows(0, 3), {15, 7, 4});
  expect_rows(c.batched(c.b.reshape(c.b.transpose(heads, {0, 2, 1, 3}), {1, 7, 12})), RowMap::rows(0), {5, 7, 12});
}

TEST(LayoutRows, SwinWindows) {
  Chain c;
  const ValueId x = c.input({1, 4, 6, 3}, 0);
  const ValueId cut = c.b.transpose(c.b.reshape(x, {1, 2, 2, 3, 2, 3}), {0, 1, 3, 2, 4, 5});
  const ValueId windows = c.b.reshape(cut, {6, 4, 3});
  expect_rows(c.batched(windows), RowMap::rows(0, 6), {30, 4, 3});
  const ValueId back = c.b.reshape(windows, {1, 2, 3, 2, 2, 3});
  expect_rows(c.batched(back), RowMap::rows(0), {5, 2, 3, 2, 2, 3});
}

TEST(LayoutRows, StepsFirst) {
  Chain c;
  const ValueId x = c.input({7, 1, 4}, 1);
  expect_rows(c.batched(c.b.reshape(x, {7, 1, 2, 2})), RowMap::rows(1), {7, 5, 2, 2});
  expect_rows(c.batched(c.b.transpose(x, {1, 0, 2})), RowMap::rows(0), {5, 7, 4});
  expect_rows(c.batched(c.b.slice(x, 0, 6, 7)), RowMap::rows(1), {1, 5, 4});
  // Flattened, the row index stands inside the axis: 7 steps outside it, 4 features inside.
  expect_rows(c.batched(c.b.reshape(x, {28})), RowMap::rows(0, 4, 7), {140});
}

TEST(LayoutRows, UnsqueezeKeepsTheAxisThatTheConverterNames) {
  Chain c;
  const ValueId x = c.input({1, 4}, 0);
  expect_rows(c.batched(c.b.op("reshape", {x}, {{"shape", Ints{1, 1, 4}}, {"keeps", Ints{-1, 0, 1}}})), RowMap::rows(1),
              {1, 5, 4});
  expect_rows(c.batched(c.b.reshape(x, {1, 1, 4})), RowMap::rows(0), {5, 1, 4});
}

TEST(LayoutRows, ClassTokenIsRepeated) {
  Chain c;
  const ValueId x = c.input({1, 9, 4}, 0);
  const ValueId token = c.b.expand(c.constant({1, 1, 4}), {1, 1, 4});
  expect_rows(c.batched(c.b.op("concat", {token, x}, {{"axis", std::int64_t{1}}})), RowMap::rows(0), {5, 10, 4});
  EXPECT_TRUE(
      c.batched(c.b.op("concat", {token, c.b.slice(x, 1, 0, 1)}, {{"axis", std::int64_t{0}}})).first.is_mixed());
}

TEST(LayoutRows, EmbeddingLookup) {
  Chain c;
  const ValueId ids = c.input({1, 6}, 0, DType::i64);
  const ValueId words = c.b.op("gather", {c.constant({11, 4}), ids}, {{"axis", std::int64_t{0}}});
  expect_rows(c.batched(words), RowMap::rows(0), {5, 6, 4});
  const ValueId pick = c.b.constant(Tensor::scalar(std::int64_t{2}));
  expect_rows(c.batched(c.b.op("gather", {words, pick}, {{"axis", std::int64_t{1}}})), RowMap::rows(0), {5, 4});
  const ValueId last = c.b.constant(Tensor::ints(Ints{-1}));
  EXPECT_TRUE(c.batched(c.b.op("gather", {words, last}, {{"axis", std::int64_t{0}}})).first.is_mixed());
}

TEST(LayoutRows, RowAxisIsNotCut) {
  Chain c;
  const ValueId x = c.input({6, 4}, 0);
  EXPECT_TRUE(c.batched(c.b.slice(x, 0, 1, 6)).first.is_mixed());
  EXPECT_TRUE(c.batched(c.b.slice(x, 0, 0, 6, 2)).first.is_mixed());
  expect_rows(c.batched(c.b.slice(x, 1, 1, 4)), RowMap::rows(0, 6), {30, 3});
  const auto pad = [&](Ints begins) {
    return c.batched(c.b.op("pad", {x}, {{"begins", begins}, {"ends", Ints{0, 0}}, {"value", 0.0}}));
  };
  EXPECT_TRUE(pad({1, 0}).first.is_mixed());
  expect_rows(pad({0, 1}), RowMap::rows(0, 6), {30, 5});
  EXPECT_TRUE(c.batched(c.b.op("top_k", {x}, {{"axis", std::int64_t{0}}, {"k", std::int64_t{2}}})).first.is_mixed());
}

}  // namespace
}  // namespace onnxray
