// Ops of unrolled sequences.
#include "engine/builder.h"
#include "engine/ops/families.h"

namespace onnxray {
namespace {

// split(x; axis, sizes): pieces of x along an axis, one output each.
void infer_split(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(0)), "axis ", axis, " is out of range for shape ",
                to_string(c.dims(0)));
  Dims d = c.dims(0);
  std::int64_t left = d[static_cast<std::size_t>(axis)];
  const std::vector<std::int64_t> sizes = c.attrs.ints("sizes");
  ONNXRAY_CHECK(!sizes.empty(), "split into no pieces");
  for (const std::int64_t size : sizes) {
    ONNXRAY_CHECK(size >= 0 && size <= left, "sizes ", to_string(sizes), " do not fit axis ", axis, " of shape ",
                  to_string(c.dims(0)));
    left -= size;
    d[static_cast<std::size_t>(axis)] = size;
    c.output(c.dtype(0), d);
  }
  ONNXRAY_CHECK(left == 0, "sizes ", to_string(sizes), " leave ", left, " of axis ", axis, " of shape ",
                to_string(c.dims(0)));
}

void grad_split(GradCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0);
  const std::vector<std::int64_t> sizes = c.attrs.ints("sizes");
  Dims d = c.dims(0);
  const DType dtype = c.b.dtype(c.x(0));
  std::vector<ValueId> parts;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    d[static_cast<std::size_t>(axis)] = sizes[i];
    parts.push_back(c.dy(i) != kNoValue ? c.dy(i) : c.b.zeros(dtype, d));
  }
  c.set(0, parts.size() == 1 ? parts[0] : c.b.op("concat", parts, {{"axis", axis}}));
}

void rows_split(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  if (in.is_rows() && in.axis == c.attrs.integer("axis", 0)) return;
  for (RowMap& o : c.outputs) o = in;
}

}  // namespace

void register_sequence_ops(OpRegistry& r) {
  r.add({.name = "split",
         .infer = infer_split,
         .grad = grad_split,
         .rows = rows_split,
         .traits = {.linear = true, .moves = true}});
}

}  // namespace onnxray
