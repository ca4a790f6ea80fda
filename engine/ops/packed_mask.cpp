#include "engine/ops/packed_mask.h"

namespace onnxray {

void check_packed_mask(const InferCtx& c, std::size_t i, const Dims& of) {
  ONNXRAY_CHECK(can_pack_mask(of) && c.dtype(i) == DType::i32 && c.dims(i) == packed_mask_dims(of), "input ", i,
                " is no mask of ", to_string(of), ": got ", name_of(c.dtype(i)), to_string(c.dims(i)),
                ", expected int32 with the last axis, a multiple of ", kMaskBits, ", divided by ", kMaskBits);
}

void infer_mask_output(InferCtx& c) {
  if (!gives_mask_output(c.attrs)) return;
  const InferCtx::Output y = c.outputs.at(0);
  ONNXRAY_CHECK(is_float(y.dtype) && can_pack_mask(y.dims), "mask_output of ", name_of(y.dtype), to_string(y.dims),
                ", expected floats and a last axis that is a multiple of ", kMaskBits);
  c.output(DType::i32, packed_mask_dims(y.dims));
}

void rows_of_masks(RowsCtx& c) {
  const RowMap y = c.outputs[0];
  if (!y.is_rows()) return;
  const Dims& dims = *c.output_dims[0];
  // A mask does not broadcast: it and an array of its shape carry the rows.
  bool masks = c.outputs.size() > 1, alike = true, whole = false;
  for (const RowsCtx::Input& in : c.inputs) {
    if (in.dims == nullptr) continue;
    const bool mask = in.dtype == DType::i32;
    masks = masks || mask;
    alike = alike && (!mask || in.rows == y);
    whole = whole || (!mask && *in.dims == dims && in.rows == y);
  }
  const bool fits = y.axis + 1 < static_cast<std::int64_t>(dims.size()) && alike && whole;
  for (RowMap& o : c.outputs) o = masks && !fits ? RowMap::mixed() : y;
}

}  // namespace onnxray
