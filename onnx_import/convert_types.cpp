#include "onnx_import/convert_types.h"

#include "onnx_import/tensor_proto.h"

namespace onnxray::onnx_import {

DType dtype_for(std::int64_t code) {
  const int small = code >= 0 && code < 1000 ? static_cast<int>(code) : -1;
  const std::optional<DType> t = dtype_of_code(small);
  if (!t)
    fail_unsupported("element type ", small >= 0 ? name_of_code(small) : std::to_string(code), " is not supported");
  return *t;
}

DType compute_dtype(DType t) {
  switch (t) {
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16: return DType::i32;
    case DType::u32:
    case DType::u64: return DType::i64;
    default: return t;
  }
}

ValueId widened(ConvertCtx& c, std::size_t i) { return c.b.cast(c.in(i), compute_dtype(c.dtype(i))); }

}  // namespace onnxray::onnx_import
