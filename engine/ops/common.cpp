// Rules that many ops share.
#include <algorithm>

#include "engine/autodiff.h"
#include "engine/builder.h"

namespace onnxray {

void infer_unary(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.output(c.dtype(0), c.dims(0));
}

void infer_unary_float(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  c.output(c.dtype(0), c.dims(0));
}

void infer_binary(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.expect_same_dtype(0, 1);
  c.output(c.dtype(0), broadcast(c.dims(0), c.dims(1)));
}

void infer_compare(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.expect_same_dtype(0, 1);
  c.output(DType::boolean, broadcast(c.dims(0), c.dims(1)));
}

RowMap rows_broadcast(RowsCtx& c, std::size_t result_rank) {
  RowMap out = RowMap::none();
  for (const RowsCtx::Input& in : c.inputs) {
    if (in.dims == nullptr || in.rows.is_none()) continue;
    if (in.rows.is_mixed()) return RowMap::mixed();
    const auto shift = static_cast<std::int64_t>(result_rank - in.dims->size());
    const RowMap aligned = RowMap::rows(in.rows.axis + shift, in.rows.inner, in.rows.outer);
    if (out.is_none()) {
      out = aligned;
    } else if (out.axis != aligned.axis || out.outer != aligned.outer) {
      return RowMap::mixed();
    } else {
      out.inner = std::max(out.inner, aligned.inner);
    }
  }
  if (out.is_none()) return out;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const RowsCtx::Input& in = c.inputs[i];
    if (in.dims == nullptr) continue;
    const std::int64_t axis = out.axis - static_cast<std::int64_t>(result_rank - in.dims->size());
    if (in.rows.is_rows()) {
      // [N] against [N * inner] does not broadcast once N > 1.
      if (in.rows.inner != out.inner) return RowMap::mixed();
      continue;
    }
    if (axis < 0 || (*in.dims)[static_cast<std::size_t>(axis)] == 1) {
      // A constant of extent 1 broadcasts over the rows, unless it has to meet inner > 1 windows: 1 does as well.
      continue;
    }
    if ((*in.dims)[static_cast<std::size_t>(axis)] != out.inner || out.outer != 1) return RowMap::mixed();
    c.expand[i] = RowMap::rows(axis, out.inner);
  }
  return out;
}

void rows_elementwise(RowsCtx& c) {
  const RowMap out = rows_broadcast(c, c.output_dims[0]->size());
  for (RowMap& o : c.outputs) o = out;
}

void rows_unary_any_axis(RowsCtx& c) {
  for (RowMap& o : c.outputs) o = c.inputs[0].rows;
}

// Every wanted input is passed through a reshape to its own shape: a value of its own, so that one input's cotangent
// does not flow on into another that was computed from it.
void grad_through_expansion(GradCtx& c) {
  Builder& b = c.b;
  std::vector<ValueId> inputs, wrt;
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    ValueId v = c.node.inputs[i] == kNoValue ? kNoValue : c.x(i);
    if (v != kNoValue && c.wanted(i)) {
      v = b.op("reshape", {v}, {{"shape", Dims(b.dims(v))}});
      wrt.push_back(v);
      positions.push_back(i);
    }
    inputs.push_back(v);
  }
  const std::vector<ValueId> outputs = c.node.op->expand(b, c.node, inputs);
  GradientRequest request{.wrt = wrt};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (c.dy(i) != kNoValue) request.seeds.push_back({outputs[i], c.dy(i)});
  }
  const std::vector<ValueId> d = gradient(b, request);
  for (std::size_t i = 0; i < d.size(); ++i) c.set(positions[i], d[i]);
}

}  // namespace onnxray
