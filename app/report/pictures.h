// Which picture an attribution gets, and its bytes: heat maps for pictures and for layers of models that see pictures,
// bars for features, overlays for time series, coloured text for tokens.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/onnxray.h"
#include "app/cli/inputs.h"
#include "app/report/charts.h"
#include "app/report/text.h"

namespace onnxray::app {

struct PictureOptions {
  // A PictureMode, a SeriesMode or "bars"; empty: by the kind of the value.
  std::string mode;
  std::optional<Sign> sign;  // none: all, or absolute_value where a mode shows a strength
  double outlier_percent = 2;
  std::vector<std::vector<std::string>> tokens;  // per example, or one list for all
};
// Checks the names; throws kBadInput listing the known ones.
[[nodiscard]] PictureOptions picture_options(const std::string& mode, const std::string& sign, double outlier_percent);

struct Picture {
  std::string stem, extension;  // "heatmap_0", ".png"
  std::string bytes;
  std::string kind;      // "heat_map", "bars", "time_series", "text"
  std::string value;     // of the attribution
  Image image;           // of a heat map, for grids
  std::string terminal;  // of a text: the same in a terminal's colours
};

// Attributions of one value, [rows, dims of a row...], as the model's picture sees them.
class ImageMap {
 public:
  // None where the value is neither the picture itself nor a spatial layer with the picture's proportions.
  static std::optional<ImageMap> of(const LoadedInputs& inputs, const std::string& value, const Dims& row);

  // The map of a row as a tensor in the layout `channels_last`.
  [[nodiscard]] bool channels_last() const { return channels_last_; }
  // The same, brought to the picture's size: [1, H, W], linear between the layer's points.
  [[nodiscard]] Tensor at_picture_size(const Tensor& row) const;
  [[nodiscard]] const Image& picture(std::size_t example) const { return pictures_[example]; }

 private:
  bool channels_last_ = false;
  std::vector<Image> pictures_;  // one per example
};

// All pictures of a result. explained[k]: scalar k in words; its size is the number of results per example, innermost
// in the rows.
// Throws kBadInput where a mode or tokens were asked for and nothing fits them.
[[nodiscard]] std::vector<Picture> pictures_of(const LoadedInputs& inputs, const Attribution& result,
                                               const MethodInfo& method, const std::vector<std::string>& explained,
                                               const PictureOptions& options);

}  // namespace onnxray::app
