// Nested lists of numbers as a tensor.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/tensor.h"

namespace onnxray::app {

// [[1, 2.5], [3, 4]] is float64 [2, 2]; whole numbers alone give int64, booleans alone bool; a single number is a
// scalar. Lists of unequal length, texts and null are errors that name their place.
[[nodiscard]] Tensor parse_json_tensor(std::string_view text, const std::string& name);
[[nodiscard]] Tensor read_json_tensor(const std::filesystem::path& path);

}  // namespace onnxray::app
