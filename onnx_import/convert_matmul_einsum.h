#pragma once
#include <string>
#include <vector>

#include "engine/builder.h"

namespace onnxray::onnx_import {

// numpy.einsum's equation language (ellipsis, repeated indices, implicit output) over transposes, reductions and
// matmul.
[[nodiscard]] ValueId einsum_value(Builder& b, const std::string& equation, const std::vector<ValueId>& inputs);

}  // namespace onnxray::onnx_import
