// Attributions of tokens as coloured text: HTML, or 24-bit terminal colours.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "app/io/heatmap.h"

namespace onnxray::app {

// The words of each example: a JSON list of texts (one example) or of lists of texts, or a text file with one token a
// line (one example; empty lines are tokens).
[[nodiscard]] std::vector<std::vector<std::string>> read_tokens(const std::filesystem::path& file);

struct TextRecord {
  std::string title, subtitle;  // what is explained, and how it came out
  std::vector<std::string> tokens;
  std::vector<double> attributions;  // one per token
};

// One page; every text escaped. Red speaks for, blue against; the number shows when the pointer rests on a token.
[[nodiscard]] std::string text_html(const std::vector<TextRecord>& records, const HeatMapOptions& heat = {});
// One line per record for a terminal with 24-bit colours; control characters are replaced.
[[nodiscard]] std::string text_ansi(const std::vector<TextRecord>& records, const HeatMapOptions& heat = {});

}  // namespace onnxray::app
