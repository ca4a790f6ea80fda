// top_k(x; axis, k, largest, sorted) -> values, indices int64. Equal elements keep their order; NaN counts as largest.
// The result is always sorted.
#include "engine/builder.h"
#include "engine/ops/layout.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

void infer_top_k(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::int64_t axis = c.attrs.integer("axis", 0), k = c.attrs.integer("k", 1);
  Dims out = c.dims(0);
  ONNXRAY_CHECK(axis >= 0 && at(axis) < out.size(), "top_k: axis ", axis, " of shape ", to_string(out));
  ONNXRAY_CHECK(k >= 0 && k <= out[at(axis)], "top_k: k is ", k, ", the axis has extent ", out[at(axis)]);
  out[at(axis)] = k;
  c.output(c.dtype(0), out);
  c.output(DType::i64, std::move(out));
}

void grad_top_k(GradCtx& c) {
  if (c.dy() == kNoValue) return;
  const ValueId zero = c.b.zeros(c.b.dtype(c.dy()), c.dims(0));
  c.set(0, c.b.op("scatter_elements", {zero, c.y(1), c.dy()},
                  {{"axis", c.attrs.integer("axis", 0)}, {"reduction", std::string("add")}}));
}

void rows_top_k(RowsCtx& c) {
  if (!c.inputs[0].rows.is_rows() || c.inputs[0].rows.axis == c.attrs.integer("axis", 0)) return;
  for (RowMap& o : c.outputs) o = c.inputs[0].rows;
}

}  // namespace

void register_select_ops(OpRegistry& r) {
  r.add({.name = "top_k", .infer = infer_top_k, .grad = grad_top_k, .rows = rows_top_k, .traits = {.moves = true}});
}

}  // namespace onnxray
