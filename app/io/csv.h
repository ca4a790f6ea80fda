// Tables of numbers as text.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace onnxray::app {

struct Table {
  std::vector<std::string> columns;  // from the header line, or empty
  Tensor values;                     // float64 [rows, columns]
};

// Separated by commas, semicolons or tabs (the first line decides), quotes allowed. The first line is a header if it
// holds anything that is no number. Any other text, an empty cell or a row of another length is an error that names its
// row and column.
[[nodiscard]] Table parse_csv(std::string_view text, const std::string& name);
[[nodiscard]] Table read_csv(const std::filesystem::path& path);

}  // namespace onnxray::app
