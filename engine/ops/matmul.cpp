// matmul(a, b[, bias]): [..., M, K] x [..., K, N] -> [..., M, N], batch axes broadcast by numpy's rule; trans_a and
// trans_b swap the last two axes of an operand; bias [N] is added to every row. relu=1, `sum_input` and mask_output are
// epilogues as in conv.cpp.
#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/ops/packed_mask.h"

namespace onnxray {
namespace {

void infer_matmul(InferCtx& c) {
  c.expect_inputs(2, 4);
  c.expect_same_dtype(0, 1);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "matmul of booleans");
  ONNXRAY_CHECK(c.rank(0) >= 2 && c.rank(1) >= 2, "matmul of ", to_string(c.dims(0)), " and ", to_string(c.dims(1)),
                ": both need rank 2 at least");
  const bool ta = c.attrs.integer("trans_a", 0) != 0, tb = c.attrs.integer("trans_b", 0) != 0;
  Dims a = c.dims(0), b = c.dims(1);
  const std::int64_t m = a[a.size() - (ta ? 1 : 2)], ka = a[a.size() - (ta ? 2 : 1)];
  const std::int64_t n = b[b.size() - (tb ? 2 : 1)], kb = b[b.size() - (tb ? 1 : 2)];
  ONNXRAY_CHECK(ka == kb, "matmul of ", to_string(a), ta ? " transposed" : "", " and ", to_string(b),
                tb ? " transposed" : "", ": inner extents ", ka, " and ", kb, " differ");
  a.resize(a.size() - 2);
  b.resize(b.size() - 2);
  Dims out = broadcast(a, b);
  out.push_back(m);
  out.push_back(n);
  if (c.has(2)) {
    c.expect_same_dtype(0, 2);
    ONNXRAY_CHECK(c.dims(2) == Dims{n}, "bias has shape ", to_string(c.dims(2)), ", expected [", n, "]");
  }
  if (c.attrs.has("sum_input")) {
    ONNXRAY_CHECK(c.attrs.integer("sum_input", 0) == 3 && c.has(3) && c.dims(3) == out && c.dtype(3) == c.dtype(0),
                  "sum_input is no input of the result's shape");
  }
  c.output(c.dtype(0), out);
  infer_mask_output(c);
}

ValueId flat(Builder& b, ValueId v) {
  const Dims& d = b.dims(v);
  return b.reshape(v, {product(d, 0, d.size() - 1), d.back()});
}

void grad_matmul(GradCtx& c) {
  const bool ta = c.attrs.integer("trans_a", 0) != 0, tb = c.attrs.integer("trans_b", 0) != 0;
  Builder& b = c.b;
  ValueId dy = c.dy();
  if (c.attrs.integer("relu", 0) != 0) {
    const ValueId positive = b.op("greater", {c.y(), b.scalar_like(dy, 0)});
    dy = b.where(positive, dy, b.scalar_like(dy, 0));
  }
  if (c.wanted(3)) c.set(3, dy);
  if (c.wanted(0)) {
    const ValueId w = c.x(1);
    c.set(0, ta ? b.matmul(w, dy, tb, true) : b.matmul(dy, w, false, !tb));
  }
  if (c.wanted(1)) {
    const ValueId x = c.x(0);
    if (!ta && c.dims(1).size() == 2 && b.rank(x) > 2) {
      // One weight for all batches: the sum over batches is part of one product.
      const ValueId fx = flat(b, x), fdy = flat(b, dy);
      c.set(1, tb ? b.matmul(fdy, fx, true, false) : b.matmul(fx, fdy, true, false));
    } else {
      c.set(1, tb ? b.matmul(dy, x, true, ta) : b.matmul(x, dy, !ta, false));
    }
  }
  if (c.wanted(2)) c.set(2, dy);  // summed to [N] on the edge
}

// Rows on batch axes align as in broadcasting; on the M axis of a (or the N axis of b) they pass through as long as the
// other operand carries none; on the summed axis they mix.
void rows_matmul(RowsCtx& c) {
  const auto rank = static_cast<std::int64_t>(c.output_dims[0]->size());
  const bool trans[2] = {c.attrs.integer("trans_a", 0) != 0, c.attrs.integer("trans_b", 0) != 0};
  RowMap out = RowMap::none();
  RowMap seen[2];
  for (std::size_t i = 0; i < 2; ++i) {
    const RowMap rows = c.inputs[i].rows;
    if (rows.is_none()) continue;
    if (rows.is_mixed()) return;
    const auto own = static_cast<std::int64_t>(c.inputs[i].dims->size());
    std::int64_t axis = rows.axis + rank - own;
    if (rows.axis >= own - 2) {
      const bool second_last = rows.axis == own - 2;
      // The kept axis is M of a, N of b; it lands on rank - 2 or rank - 1 of the output.
      const bool kept = i == 0 ? second_last != trans[0] : second_last == trans[1];
      if (!kept) return;
      axis = i == 0 ? rank - 2 : rank - 1;
    }
    seen[i] = RowMap::rows(axis, rows.inner, rows.outer);
    if (out.is_none()) out = seen[i];
    else if (!(out == seen[i])) return;
  }
  if (out.axis < rank - 2) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (seen[i].is_rows()) continue;
      const std::int64_t axis = out.axis - rank + static_cast<std::int64_t>(c.inputs[i].dims->size());
      if (axis < 0 || (*c.inputs[i].dims)[static_cast<std::size_t>(axis)] == 1) continue;
      if ((*c.inputs[i].dims)[static_cast<std::size_t>(axis)] != out.inner || out.outer != 1) return;
      c.expand[i] = RowMap::rows(axis, out.inner);
    }
  } else if (seen[0].is_rows() && seen[1].is_rows()) {
    return;
  }
  if (c.inputs.size() > 2 && c.inputs[2].dims != nullptr) {
    if (!c.inputs[2].rows.is_none()) return;
    if (out.axis == rank - 1 && out.outer != 1) return;
    if (out.axis == rank - 1) c.expand[2] = RowMap::rows(0, out.inner);
  }
  if (c.inputs.size() > 3 && c.inputs[3].dims != nullptr && c.inputs[3].rows != out) return;
  c.outputs[0] = out;
  if (c.outputs.size() > 1) c.outputs[1] = out.axis == rank - 1 ? RowMap::mixed() : out;
}

}  // namespace

void register_matmul_ops(OpRegistry& r) {
  r.add({.name = "matmul",
         .infer = infer_matmul,
         .grad = grad_matmul,
         .rows = rows_matmul,
         .traits = {.linear = true, .outer_rows = true}});
}

}  // namespace onnxray
