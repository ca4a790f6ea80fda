// How converters treat element types: which ONNX code is which dtype, and which integers are computed in.
#pragma once
#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

// The dtype of an ONNX element type code; unsupported types (strings, float8, 4-bit, ...) throw.
[[nodiscard]] DType dtype_for(std::int64_t code);

// int32 or int64 for the integers that kernels do not compute in (uint64 wraps), else the dtype itself.
[[nodiscard]] DType compute_dtype(DType t);
// Input i in its compute dtype.
[[nodiscard]] ValueId widened(ConvertCtx& c, std::size_t i);

}  // namespace onnxray::onnx_import
