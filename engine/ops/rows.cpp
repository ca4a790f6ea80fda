// Ops on the rows of a batch. A value with row map (axis, inner) has extent rows * inner along `axis`, the row index
// outermost; attributes `axis` and `inner` say so here.
#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

std::int64_t rows_of(const InferCtx& c, std::size_t i) {
  const std::int64_t axis = c.attrs.integer("axis", 0), inner = c.attrs.integer("inner", 1);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(i)), "row axis ", axis, " of shape ",
                to_string(c.dims(i)));
  const std::int64_t extent = c.dims(i)[static_cast<std::size_t>(axis)];
  ONNXRAY_CHECK(inner > 0 && extent % inner == 0, "extent ", extent, " is no multiple of inner ", inner);
  return extent / inner;
}

Dims with_rows(const InferCtx& c, std::size_t i, std::int64_t rows) {
  Dims d = c.dims(i);
  d[static_cast<std::size_t>(c.attrs.integer("axis", 0))] = rows * c.attrs.integer("inner", 1);
  return d;
}

void expect_index(const InferCtx& c, std::size_t i) {
  ONNXRAY_CHECK(c.dtype(i) == DType::i64 && c.rank(i) == 1, "row index must be int64[R]");
}

Attrs axis_and_inner(const Attrs& a) {
  return {{"axis", a.integer("axis", 0)}, {"inner", a.integer("inner", 1)}, {"outer", a.integer("outer", 1)}};
}

}  // namespace

void register_row_ops(OpRegistry& r) {
  // y[j] = x[index[j]], row by row.
  r.add({.name = "gather_rows",
         .infer =
             [](InferCtx& c) {
               c.expect_inputs(2, 2);
               expect_index(c, 1);
               (void)rows_of(c, 0);
               c.output(c.dtype(0), with_rows(c, 0, c.dims(1)[0]));
             },
         .grad =
             [](GradCtx& c) {
               Attrs attrs = axis_and_inner(c.attrs);
               const std::int64_t extent = c.dims(0)[static_cast<std::size_t>(attrs.integer("axis", 0))];
               attrs.set("rows", extent / (attrs.integer("inner", 1) * attrs.integer("outer", 1)));
               c.set(0, c.b.op("scatter_rows", {c.dy(), c.x(1)}, std::move(attrs)));
             },
         .channels_last = channels_last_axis,
         .traits = {.linear = true, .moves = true}});
  // y[i] = sum of x[j] over index[j] = i, added in the order of j.
  r.add({.name = "scatter_rows",
         .infer =
             [](InferCtx& c) {
               c.expect_inputs(2, 2);
               expect_index(c, 1);
               ONNXRAY_CHECK(rows_of(c, 0) == c.dims(1)[0], "scatter_rows: one index per row");
               c.output(c.dtype(0), with_rows(c, 0, c.attrs.integer("rows", 0)));
             },
         .grad =
             [](GradCtx& c) {
               c.set(0, c.b.op("gather_rows", {c.dy(), c.x(1)}, axis_and_inner(c.attrs)));
             },
         .channels_last = channels_last_axis,
         .traits = {.linear = true}});
  // A row-constant value repeated `count` times along its row axis.
  r.add({.name = "repeat_rows",
         .infer =
             [](InferCtx& c) {
               c.expect_inputs(1, 1);
               c.output(c.dtype(0), with_rows(c, 0, rows_of(c, 0) * c.attrs.integer("count", 1)));
             },
         .grad =
             [](GradCtx& c) {
               const Dims d = c.dims(0);
               const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
               const Dims out = c.b.dims(c.dy());
               Dims split(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(axis));
               split.push_back(out[axis] / d[axis]);
               split.insert(split.end(), d.begin() + static_cast<std::ptrdiff_t>(axis), d.end());
               const ValueId s =
                   c.b.reduce("reduce_sum", c.b.reshape(c.dy(), split), {static_cast<std::int64_t>(axis)}, false);
               c.set(0, c.b.reshape(s, d));
             },
         .channels_last = channels_last_axis,
         .traits = {.linear = true, .moves = true}});
  // state[index[j]] += weight[j] * x[j] for j = 0, 1, ... in order: how methods fold rows into per-example results.
  // Inputs: state [E, ...] (updated in place), x [R, ...], weight float64 [R], index int64 [R].
  r.add({.name = "fold_rows",
         .infer =
             [](InferCtx& c) {
               c.expect_inputs(4, 4);
               expect_index(c, 3);
               ONNXRAY_CHECK(
                   c.dtype(2) == DType::f64 && c.dims(2) == c.dims(3) && c.rank(1) > 0 && c.dims(1)[0] == c.dims(3)[0],
                   "fold_rows: weight must be float64[R] and index int64[R] for x of R rows");
               Dims state = c.dims(0), x = c.dims(1);
               ONNXRAY_CHECK(!state.empty(), "fold_rows: the state has no rows");
               state[0] = x[0] = 0;
               ONNXRAY_CHECK(state == x, "fold_rows: state rows and x rows differ in shape");
               c.output(c.dtype(0), c.dims(0));
             },
         .traits = {.updates = true}});
}

}  // namespace onnxray
