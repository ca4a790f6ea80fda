// FeatureMask: which elements of the attributed values are replaced together, as one interpretable feature.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/model.h"

namespace onnxray {

struct FeatureMask {
  enum class Kind {
    kElements,  // every element is a feature
    kAxis,      // one feature per index along axis `number` of a row: tokens of [S, D], channels of [C, H, W]
    kGrid,      // `number` x `number` rectangles of a picture's axes
    kSlic,      // about `number` superpixels of each example's picture
    kTensors    // ids given
  } kind = Kind::kElements;
  std::int64_t number = 0;
  // Integer ids by value name, each broadcastable to one row of the value, or [1 or examples, ...]. Equal ids are one
  // feature, also in different values.
  NamedTensors tensors = {};
  std::string text = "elements";  // as the user wrote it
};

[[nodiscard]] FeatureMask grid_mask(std::int64_t cells);
// "elements", "axis:0", "grid:14", "slic:64"; nothing for any other text (a file's name). Throws where the number is
// missing or out of range.
[[nodiscard]] std::optional<FeatureMask> parse_feature_mask(std::string_view text);

}  // namespace onnxray
