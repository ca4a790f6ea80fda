// gather_elements, scatter_elements (one axis), gather_nd, scatter_nd (tuples of indices). Indices are int64; negative
// ones count from the end; one outside [-n, n) throws when run.
#include "engine/builder.h"
#include "engine/ops/layout.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

void check_reduction(const Attrs& attrs, const char* what) {
  const std::string r = attrs.text("reduction", "none");
  ONNXRAY_CHECK(r == "none" || r == "add" || r == "mul" || r == "max" || r == "min", what, ": unknown reduction '", r,
                "'");
}

void check_elements(const InferCtx& c, const char* what) {
  const Dims &x = c.dims(0), &index = c.dims(1);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  ONNXRAY_CHECK(c.dtype(1) == DType::i64, what, ": indices are ", name_of(c.dtype(1)), ", expected int64");
  ONNXRAY_CHECK(axis >= 0 && at(axis) < x.size() && index.size() == x.size(), what, ": shape ", to_string(x),
                " with indices ", to_string(index), " along axis ", axis);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ONNXRAY_CHECK(i == at(axis) || index[i] <= x[i], what, ": indices ", to_string(index), " exceed shape ",
                  to_string(x), " on axis ", i);
  }
}

// --- gather_elements(x, indices; axis): out[i][j] = x[indices[i][j]][j] for axis 0

void infer_gather_elements(InferCtx& c) {
  c.expect_inputs(2, 2);
  check_elements(c, "gather_elements");
  c.output(c.dtype(0), c.dims(1));
}

void grad_gather_elements(GradCtx& c) {
  const ValueId zero = c.b.zeros(c.b.dtype(c.dy()), c.dims(0));
  c.set(0, c.b.op("scatter_elements", {zero, c.x(1), c.dy()},
                  {{"axis", c.attrs.integer("axis", 0)}, {"reduction", std::string("add")}}));
}

void rows_elements(RowsCtx& c) {
  const RowMap out = rows_same_axis(c);
  if (!out.is_rows() || out.axis == c.attrs.integer("axis", 0)) return;
  // Indices that cover only part of the axis would leave gaps between the rows.
  for (const RowsCtx::Input& in : c.inputs) {
    if ((*in.dims)[at(out.axis)] != out.inner) return;
  }
  c.outputs[0] = out;
}

// --- scatter(data, indices, updates; reduction): the data with updates written or folded in, in their order. The
// gradients are the same for both forms; `select` gathers where `scatter` writes.

struct Form {
  const char* scatter;
  const char* gather;
  Attrs attrs;
};

void grad_scatter(GradCtx& c, const Form& f) {
  Builder& b = c.b;
  const ValueId index = c.x(1), updates = c.x(2), dy = c.dy();
  const auto gather = [&](ValueId v) { return b.op(f.gather, {v, index}, f.attrs); };
  const auto scatter = [&](ValueId data, ValueId u, const char* reduction) {
    Attrs attrs = f.attrs;
    attrs.set("reduction", std::string(reduction));
    return b.op(f.scatter, {data, index, u}, std::move(attrs));
  };
  const DType type = b.dtype(dy);
  const Dims dims = b.dims(dy);
  const std::string reduction = c.attrs.text("reduction", "none");
  if (reduction == "none") {
    if (c.wanted(0)) c.set(0, scatter(dy, b.zeros(type, b.dims(updates)), "none"));
    if (c.wanted(2)) c.set(2, gather(dy));
  } else if (reduction == "add") {
    c.set(0, dy);
    if (c.wanted(2)) c.set(2, gather(dy));
  } else if (reduction == "mul") {
    if (c.wanted(0)) c.set(0, b.mul(dy, scatter(b.expand(b.scalar_like(dy, 1), dims), updates, "mul")));
    if (c.wanted(2)) {
      // The product of the others. A zero is left out of the product and counted instead: with one more zero
      // elsewhere the derivative is zero.
      const ValueId zero = b.op("equal", {updates, b.scalar_like(updates, 0)});
      const ValueId safe = b.where(zero, b.scalar_like(updates, 1), updates);
      const ValueId own = b.cast(zero, type);
      const ValueId zeros = gather(scatter(b.zeros(type, dims), own, "add"));
      const ValueId others = b.div(gather(scatter(c.x(0), safe, "mul")), safe);
      const ValueId alone = b.op("equal", {zeros, own});
      c.set(2, b.mul(gather(dy), b.where(alone, others, b.scalar_like(dy, 0))));
    }
  } else {
    // Those that reach the extreme share the cotangent.
    const ValueId y = c.y(), y_at = gather(y);
    const ValueId data_wins = b.cast(b.op("equal", {c.x(0), y}), type);
    const ValueId update_wins = b.cast(b.op("equal", {updates, y_at}), type);
    const ValueId share = b.div(dy, scatter(data_wins, update_wins, "add"));
    if (c.wanted(0)) c.set(0, b.mul(share, data_wins));
    if (c.wanted(2)) c.set(2, b.mul(gather(share), update_wins));
  }
}

void infer_scatter_elements(InferCtx& c) {
  c.expect_inputs(3, 3);
  check_elements(c, "scatter_elements");
  c.expect_same_dtype(0, 2);
  ONNXRAY_CHECK(c.dims(1) == c.dims(2), "scatter_elements: indices ", to_string(c.dims(1)), " and updates ",
                to_string(c.dims(2)), " differ in shape");
  check_reduction(c.attrs, "scatter_elements");
  c.output(c.dtype(0), c.dims(0));
}

void grad_scatter_elements(GradCtx& c) {
  grad_scatter(c, {"scatter_elements", "gather_elements", {{"axis", c.attrs.integer("axis", 0)}}});
}

// --- gather_nd(x, indices; batch_dims): with b = batch_dims and k = the last extent of the indices,
// out[b.., j..] = x[b.., indices[b.., j.., 0..k), ..], shape indices[:-1] + x[b + k:]

struct NdShape {
  std::size_t batch, tuple;
};

NdShape check_nd(const InferCtx& c, const char* what) {
  const Dims &x = c.dims(0), &index = c.dims(1);
  const std::int64_t batch = c.attrs.integer("batch_dims", 0);
  ONNXRAY_CHECK(c.dtype(1) == DType::i64, what, ": indices are ", name_of(c.dtype(1)), ", expected int64");
  ONNXRAY_CHECK(!index.empty() && batch >= 0 && at(batch) < index.size() && at(batch) <= x.size(), what, ": shape ",
                to_string(x), " with indices ", to_string(index), " and batch_dims ", batch);
  const std::int64_t tuple = index.back();
  bool fits = tuple <= static_cast<std::int64_t>(x.size()) - batch;
  for (std::size_t i = 0; fits && i < at(batch); ++i) fits = x[i] == index[i];
  ONNXRAY_CHECK(fits, what, ": shape ", to_string(x), " with indices ", to_string(index), " and batch_dims ", batch);
  return {at(batch), at(tuple)};
}

Dims nd_dims(const InferCtx& c, const NdShape& s) {
  Dims out(c.dims(1).begin(), c.dims(1).end() - 1);
  out.insert(out.end(), c.dims(0).begin() + static_cast<std::ptrdiff_t>(s.batch + s.tuple), c.dims(0).end());
  (void)count_of(out);
  return out;
}

void infer_gather_nd(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.output(c.dtype(0), nd_dims(c, check_nd(c, "gather_nd")));
}

void grad_gather_nd(GradCtx& c) {
  const ValueId zero = c.b.zeros(c.b.dtype(c.dy()), c.dims(0));
  c.set(0, c.b.op("scatter_nd", {zero, c.x(1), c.dy()},
                  {{"batch_dims", c.attrs.integer("batch_dims", 0)}, {"reduction", std::string("add")}}));
}

void rows_gather_nd(RowsCtx& c) {
  const RowMap x = c.inputs[0].rows, index = c.inputs[1].rows;
  const std::int64_t batch = c.attrs.integer("batch_dims", 0), tuple = c.inputs[1].dims->back();
  const auto index_rank = static_cast<std::int64_t>(c.inputs[1].dims->size());
  if ((x.is_rows() && x.axis < batch) || (index.is_rows() && index.axis < batch)) {
    c.outputs[0] = rows_same_axis(c);
  } else if (x.is_none() && index.is_rows() && index.axis < index_rank - 1) {
    c.outputs[0] = index;
  } else if (x.is_rows() && index.is_none() && x.axis >= batch + tuple) {
    c.outputs[0] = RowMap::rows(x.axis - batch - tuple + index_rank - 1, x.inner);
  }
}

// --- scatter_nd(data, indices, updates; reduction, batch_dims): the tuples of gather_nd, written to.

void infer_scatter_nd(InferCtx& c) {
  c.expect_inputs(3, 3);
  const Dims expected = nd_dims(c, check_nd(c, "scatter_nd"));
  c.expect_same_dtype(0, 2);
  ONNXRAY_CHECK(c.dims(2) == expected, "scatter_nd: updates have shape ", to_string(c.dims(2)), ", expected ",
                to_string(expected));
  check_reduction(c.attrs, "scatter_nd");
  c.output(c.dtype(0), c.dims(0));
}

void grad_scatter_nd(GradCtx& c) {
  grad_scatter(c, {"scatter_nd", "gather_nd", {{"batch_dims", c.attrs.integer("batch_dims", 0)}}});
}

void rows_scatter_nd(RowsCtx& c) {
  const RowMap data = c.inputs[0].rows, index = c.inputs[1].rows, updates = c.inputs[2].rows;
  const std::int64_t batch = c.attrs.integer("batch_dims", 0), tuple = c.inputs[1].dims->back();
  const auto in_batch = [&](const RowMap& m) { return m.is_rows() && m.axis < batch; };
  if (in_batch(data) || in_batch(index) || in_batch(updates)) {
    c.outputs[0] = rows_same_axis(c);
    return;
  }
  if (!index.is_none() || data.is_mixed() || updates.is_mixed()) return;
  // Whole slices are written, each with its rows; the data may be constant (zeros to write into), or the updates.
  const std::int64_t shift = static_cast<std::int64_t>(c.inputs[1].dims->size()) - 1 - batch - tuple;
  const RowMap out = data.is_rows() ? data : RowMap::rows(updates.axis - shift, updates.inner);
  const RowMap moved = RowMap::rows(out.axis + shift, out.inner);
  if (out.axis < batch + tuple || (updates.is_rows() && updates != moved)) return;
  if (data.is_none()) c.expand[0] = out;
  if (updates.is_none()) c.expand[2] = moved;
  c.outputs[0] = out;
}

}  // namespace

void register_elements_ops(OpRegistry& r) {
  r.add({.name = "gather_elements",
         .infer = infer_gather_elements,
         .grad = grad_gather_elements,
         .rows = rows_elements,
         .traits = {.linear = true, .moves = true}});
  // Not marked linear or moving: what it is depends on the reduction.
  r.add({.name = "scatter_elements",
         .infer = infer_scatter_elements,
         .grad = grad_scatter_elements,
         .rows = rows_elements});
  r.add({.name = "gather_nd",
         .infer = infer_gather_nd,
         .grad = grad_gather_nd,
         .rows = rows_gather_nd,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "scatter_nd", .infer = infer_scatter_nd, .grad = grad_scatter_nd, .rows = rows_scatter_nd});
}

}  // namespace onnxray
