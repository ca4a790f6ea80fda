// NumPy's .npy files, format versions 1 to 3.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/tensor.h"

namespace onnxray::app {

// Little-endian floats, integers and booleans, C or Fortran order. `name` is used in messages.
[[nodiscard]] Tensor parse_npy(std::string_view bytes, const std::string& name);
[[nodiscard]] Tensor read_npy(const std::filesystem::path& path);

// bfloat16, which NumPy does not know, becomes float32.
[[nodiscard]] std::string npy_bytes(const Tensor& tensor);
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace onnxray::app
