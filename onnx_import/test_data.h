// ONNX's test data: input_0.pb, output_0.pb and so on, one TensorProto a file.
#pragma once
#include <filesystem>
#include <string>

#include "onnx_import/node.h"

namespace onnxray::onnx_import {

[[nodiscard]] Tensor read_tensor_file(const std::filesystem::path& path);
// The file of a graph input or output. Sequences and optionals are files of other kinds that only the declaration
// tells apart; they throw kUnsupported.
[[nodiscard]] Tensor read_tensor_file(const std::filesystem::path& path, const ValueInfo& declared);
void write_tensor_file(const std::filesystem::path& path, const Tensor& tensor, const std::string& name);

}  // namespace onnxray::onnx_import
