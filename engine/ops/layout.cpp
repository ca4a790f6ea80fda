// Ops that relabel or rearrange: reshape, transpose, expand, concat. Cutting and padding: layout_cut.cpp.
#include <algorithm>

#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/ops/layout.h"
#include "engine/passes/channels_last.h"
#include "engine/passes/window.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// --- reshape{shape[, keeps]}: `keeps` names for each output axis the input axis that it is, or -1. It only guides the
// row rule where extents of 1 leave a choice.

void infer_reshape(InferCtx& c) {
  c.expect_inputs(1, 1);
  Dims shape = c.attrs.ints("shape");
  ONNXRAY_CHECK(count_of(shape) == count_of(c.dims(0)), "reshape: shape ", to_string(c.dims(0)), " cannot become ",
                to_string(shape));
  const std::vector<std::int64_t> keeps = c.attrs.ints("keeps");
  ONNXRAY_CHECK(keeps.empty() || keeps.size() == shape.size(), "reshape: 'keeps' has ", keeps.size(),
                " entries for rank ", shape.size());
  c.output(c.dtype(0), std::move(shape));
}

// Rows on `axis` are memory [before, B, one row's rest]. The output keeps them apart on axis k when the extents before
// k multiply to the same `before` (then they are the outermost part of k), or when those and an outer part of k do; its
// extent there becomes B * out[k].
void rows_reshape(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  if (!in.is_rows()) return;
  const Dims& out = *c.output_dims[0];
  const std::int64_t before = product(*c.inputs[0].dims, 0, at(in.axis)) * in.outer;
  const std::vector<std::int64_t> keeps = c.attrs.ints("keeps");
  std::int64_t best = -1, best_score = -1, best_outer = 1, head = 1;
  for (std::size_t k = 0; k < out.size(); ++k) {
    const auto axis = static_cast<std::int64_t>(k);
    if (head == before) {
      // Features stay apart from rows: [S, N, C] becomes [S N, C], not [S, N C].
      const bool into_last = best >= 0 && k + 1 == out.size() && k > 0 &&
                             in.axis + 1 != static_cast<std::int64_t>(c.inputs[0].dims->size()) && out[k] != 1;
      const std::int64_t score = into_last ? 0
                                           : 1 + (k < keeps.size() && keeps[k] == in.axis ? 4 : 0) +
                                                 (out[k] == 1 ? 2 : 0) + (axis == in.axis ? 1 : 0);
      if (score > best_score) best = axis, best_score = score, best_outer = 1;
    } else if (best < 0 && head > 0 && before > 0 && before % head == 0 && out[k] % (before / head) == 0) {
      best = axis, best_score = 0, best_outer = before / head;
    }
    head *= out[k];
  }
  if (best < 0) return;
  Dims shape = out;
  shape[at(best)] *= c.count;
  c.attrs.set("shape", std::move(shape));
  c.outputs[0] = RowMap::rows(best, out[at(best)] / best_outer, best_outer);
}

// --- transpose{perm}

void infer_transpose(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::vector<std::int64_t> perm = c.attrs.ints("perm");
  const Dims& in = c.dims(0);
  std::vector<char> seen(in.size(), 0);
  ONNXRAY_CHECK(perm.size() == in.size(), "transpose: perm ", to_string(perm), " for shape ", to_string(in));
  Dims out;
  for (const std::int64_t p : perm) {
    ONNXRAY_CHECK(p >= 0 && at(p) < in.size() && seen[at(p)] == 0, "transpose: perm ", to_string(perm),
                  " is no permutation of ", in.size(), " axes");
    seen[at(p)] = 1;
    out.push_back(in[at(p)]);
  }
  c.output(c.dtype(0), std::move(out));
}

void grad_transpose(GradCtx& c) {
  const std::vector<std::int64_t> perm = c.attrs.ints("perm");
  std::vector<std::int64_t> inverse(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i) inverse[at(perm[i])] = static_cast<std::int64_t>(i);
  c.set(0, c.b.transpose(c.dy(), inverse));
}

void rows_transpose(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  if (!in.is_rows()) return;
  const std::vector<std::int64_t> perm = c.attrs.ints("perm");
  const auto axis = std::find(perm.begin(), perm.end(), in.axis) - perm.begin();
  c.outputs[0] = RowMap::rows(axis, in.inner, in.outer);
}

// --- expand{shape}: numpy broadcasting to exactly `shape`.

void infer_expand(InferCtx& c) {
  c.expect_inputs(1, 1);
  Dims shape = c.attrs.ints("shape");
  (void)count_of(shape);
  const Dims& in = c.dims(0);
  bool fits = in.size() <= shape.size();
  for (std::size_t i = 0; fits && i < in.size(); ++i) {
    fits = in[i] == 1 || in[i] == shape[i + shape.size() - in.size()];
  }
  ONNXRAY_CHECK(fits, "expand: shape ", to_string(in), " does not broadcast to ", to_string(shape));
  c.output(c.dtype(0), std::move(shape));
}

void rows_expand(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  if (!in.is_rows()) return;
  Dims shape = *c.output_dims[0];
  const std::int64_t axis = in.axis + static_cast<std::int64_t>(shape.size() - c.inputs[0].dims->size());
  // One row's extent 1 repeated m times would have to become row 0 m times, row 1 m times, ...
  if (shape[at(axis)] != in.inner) return;
  shape[at(axis)] *= c.count;
  c.attrs.set("shape", std::move(shape));
  c.outputs[0] = RowMap::rows(axis, in.inner);
}

// --- concat{axis}

void infer_concat(InferCtx& c) {
  ONNXRAY_CHECK(c.count() > 0, "concat: no inputs");
  c.expect_inputs(c.count(), c.count());
  const std::int64_t axis = c.attrs.integer("axis", 0);
  Dims out = c.dims(0);
  ONNXRAY_CHECK(axis >= 0 && at(axis) < out.size(), "concat: axis ", axis, " of shape ", to_string(out));
  for (std::size_t i = 1; i < c.count(); ++i) {
    c.expect_same_dtype(0, i);
    const Dims& d = c.dims(i);
    bool same = d.size() == out.size();
    for (std::size_t k = 0; same && k < d.size(); ++k) same = k == at(axis) || d[k] == out[k];
    ONNXRAY_CHECK(same, "concat: input ", i, " has shape ", to_string(d), ", input 0 has ", to_string(c.dims(0)),
                  "; all axes but ", axis, " must agree");
    out[at(axis)] += d[at(axis)];
  }
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

void grad_concat(GradCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    const std::int64_t end = begin + c.dims(i)[at(axis)];
    if (c.wanted(i)) c.set(i, c.b.slice(c.dy(), axis, begin, end));
    begin = end;
  }
}

void rows_concat(RowsCtx& c) {
  const RowMap out = rows_same_axis(c);
  if (!out.is_rows() || out.axis == c.attrs.integer("axis", 0)) return;
  c.outputs[0] = out;
}

}  // namespace

RowMap rows_same_axis(RowsCtx& c) {
  RowMap out = RowMap::none();
  for (const RowsCtx::Input& in : c.inputs) {
    if (in.dims == nullptr || in.rows.is_none()) continue;
    if (in.rows.is_mixed() || (out.is_rows() && out != in.rows)) return RowMap::mixed();
    out = in.rows;
  }
  if (!out.is_rows()) return out;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const RowsCtx::Input& in = c.inputs[i];
    if (in.dims == nullptr || in.rows.is_rows()) continue;
    if (at(out.axis) >= in.dims->size() || (*in.dims)[at(out.axis)] != out.inner) return RowMap::mixed();
    c.expand[i] = out;
  }
  return out;
}

void register_layout_ops(OpRegistry& r) {
  r.add({.name = "reshape",
         .infer = infer_reshape,
         .grad = [](GradCtx& c) { c.set(0, c.b.reshape(c.dy(), c.dims(0))); },
         .rows = rows_reshape,
         .traits = {.view = true, .linear = true, .moves = true, .outer_rows = true}});
  r.add({.name = "transpose",
         .infer = infer_transpose,
         .grad = grad_transpose,
         .rows = rows_transpose,
         .channels_last = channels_last_transpose,
         .window = window_transpose,
         .traits = {.linear = true, .moves = true, .outer_rows = true}});
  // Autodiff sums the cotangent back to the input's shape.
  r.add({.name = "expand",
         .infer = infer_expand,
         .grad = [](GradCtx& c) { c.set(0, c.dy()); },
         .rows = rows_expand,
         .channels_last = channels_last_lists,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "concat",
         .infer = infer_concat,
         .grad = grad_concat,
         .rows = rows_concat,
         .channels_last = channels_last_axis,
         .window = window_concat,
         .traits = {.linear = true, .moves = true}});
  register_cut_ops(r);
}

}  // namespace onnxray
