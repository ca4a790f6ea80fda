// Reads an .onnx file: protobuf decoded, external data mapped, local functions inlined, nodes in topological order.
// Whatever is wrong with the file is an onnxray::Error that says what and where.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

#include "onnx_import/node.h"

namespace onnxray::onnx_import {

// External data is looked for in the file's folder. Large external tensors stay mapped: the files must not be cut
// short while the result is used.
[[nodiscard]] OnnxFile load_file(const std::filesystem::path& path);

// `folder` is where external data lies; empty: there may be none. The bytes are not needed afterwards.
[[nodiscard]] OnnxFile parse_bytes(std::span<const std::byte> bytes, const std::filesystem::path& folder = {});

}  // namespace onnxray::onnx_import
