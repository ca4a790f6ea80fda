// What converters of arithmetic share with the other families.
#pragma once
#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

// The second operand `b` as the first one sees it: before opset 7, `axis` says where its dims lie in input 0's.
[[nodiscard]] ValueId legacy_operand(ConvertCtx& c, ValueId b);
// x held within [lo, hi]; infinite bounds vanish.
[[nodiscard]] ValueId clip(ConvertCtx& c, ValueId x, double lo, double hi);

}  // namespace onnxray::onnx_import
