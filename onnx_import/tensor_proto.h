// TensorProto <-> Tensor, and the names of ONNX's element types.
#pragma once
#include <optional>
#include <string>

#include "engine/tensor.h"
#include "onnx_import/external_data.h"
#include "onnx_import/onnx.pb.h"

namespace onnxray::onnx_import {

// ONNX's element type codes.
[[nodiscard]] std::optional<DType> dtype_of_code(int code);
[[nodiscard]] int code_of_dtype(DType t);
// "FLOAT8E4M3FN", or "type 99".
[[nodiscard]] std::string name_of_code(int code);

// Why the tensor cannot be held ("a tensor of type STRING"); empty when it can.
[[nodiscard]] std::string unsupported_tensor(const wire::TensorProto& t);

// The tensor's contents; lengths are checked against the dims before anything is allocated. Large raw data is taken
// out of `t` instead of being copied.
[[nodiscard]] Tensor take_tensor(wire::TensorProto& t, ExternalFiles& files);

// As raw_data.
[[nodiscard]] wire::TensorProto to_proto(const Tensor& t, const std::string& name);

}  // namespace onnxray::onnx_import
