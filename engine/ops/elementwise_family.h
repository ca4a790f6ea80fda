// What the files of the elementwise family share.
#pragma once
#include "engine/op.h"

namespace onnxray {

void register_unary_ops(OpRegistry& r);  // exp, log, roots, trigonometric and hyperbolic functions
void register_map_op(OpRegistry& r);     // fused chains (map_program.h)
// The dtype of numpy's name; throws for any other text.
[[nodiscard]] DType dtype_named(std::string_view name);

}  // namespace onnxray
