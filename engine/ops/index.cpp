// gather along one axis and its gradient index_add. Elementwise and n-d forms: index_elements.cpp; top_k:
// index_select.cpp. Indices are int64; a negative one counts from the end; one outside [-n, n) throws when run.
#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/ops/layout.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// --- gather(x, indices; axis): out = x[:axis] + indices + x[axis + 1:]

void infer_gather(InferCtx& c) {
  c.expect_inputs(2, 2);
  const Dims& x = c.dims(0);
  const Dims& index = c.dims(1);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  ONNXRAY_CHECK(axis >= 0 && at(axis) < x.size(), "gather: axis ", axis, " of shape ", to_string(x));
  ONNXRAY_CHECK(c.dtype(1) == DType::i64, "gather: indices are ", name_of(c.dtype(1)), ", expected int64");
  Dims out(x.begin(), x.begin() + axis);
  out.insert(out.end(), index.begin(), index.end());
  out.insert(out.end(), x.begin() + axis + 1, x.end());
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

void grad_gather(GradCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0);
  c.set(0, c.b.op("index_add", {c.dy(), c.x(1)}, {{"axis", axis}, {"extent", c.dims(0)[at(axis)]}}));
}

void rows_gather(RowsCtx& c) {
  const RowMap x = c.inputs[0].rows, index = c.inputs[1].rows;
  const std::int64_t axis = c.attrs.integer("axis", 0);
  const auto index_rank = static_cast<std::int64_t>(c.inputs[1].dims->size());
  if (x.is_none() && index.is_rows()) {
    c.outputs[0] = RowMap::rows(axis + index.axis, index.inner);
  } else if (x.is_rows() && index.is_none() && x.axis != axis) {
    c.outputs[0] = RowMap::rows(x.axis < axis ? x.axis : x.axis - 1 + index_rank, x.inner);
  }
}

// --- index_add(dy, indices; axis, extent): out[:, indices[j], :] += dy[:, j, :], in the order of j

void infer_index_add(InferCtx& c) {
  c.expect_inputs(2, 2);
  const Dims& dy = c.dims(0);
  const Dims& index = c.dims(1);
  const std::int64_t axis = c.attrs.integer("axis", 0), extent = c.attrs.integer("extent", 0);
  ONNXRAY_CHECK(c.dtype(1) == DType::i64, "index_add: indices are ", name_of(c.dtype(1)), ", expected int64");
  bool fits = axis >= 0 && extent >= 0 && at(axis) + index.size() <= dy.size();
  for (std::size_t i = 0; fits && i < index.size(); ++i) fits = dy[at(axis) + i] == index[i];
  ONNXRAY_CHECK(fits, "index_add: shape ", to_string(dy), " with indices ", to_string(index), " at axis ", axis,
                " of extent ", extent);
  Dims out(dy.begin(), dy.begin() + axis);
  out.push_back(extent);
  out.insert(out.end(), dy.begin() + axis + static_cast<std::ptrdiff_t>(index.size()), dy.end());
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

void rows_index_add(RowsCtx& c) {
  const RowMap dy = c.inputs[0].rows, index = c.inputs[1].rows;
  const std::int64_t axis = c.attrs.integer("axis", 0);
  const auto index_rank = static_cast<std::int64_t>(c.inputs[1].dims->size());
  if (!dy.is_rows() || !index.is_none()) return;
  if (dy.axis < axis) {
    c.outputs[0] = dy;
  } else if (dy.axis >= axis + index_rank) {
    c.outputs[0] = RowMap::rows(dy.axis - index_rank + 1, dy.inner);
  }
}

}  // namespace

void register_index_ops(OpRegistry& r) {
  r.add({.name = "gather",
         .infer = infer_gather,
         .grad = grad_gather,
         .rows = rows_gather,
         .channels_last = channels_last_axis,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "index_add",
         .infer = infer_index_add,
         .grad =
             [](GradCtx& c) {
               c.set(0, c.b.op("gather", {c.dy(), c.x(1)}, {{"axis", c.attrs.integer("axis", 0)}}));
             },
         .rows = rows_index_add,
         .channels_last = channels_last_axis,
         .traits = {.linear = true}});
  register_elements_ops(r);
  register_select_ops(r);
  register_resample_ops(r);
}

}  // namespace onnxray
