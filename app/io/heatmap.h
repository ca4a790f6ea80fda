// Attributions as pictures: the five modes and four signs of Captum's visualize_image_attr with its scaling, and a
// panel of three: [the picture | the attribution | the attribution over the picture in grey].
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/io/image.h"
#include "engine/tensor.h"

namespace onnxray::app {

enum class Sign {
  kAll,       // blue for negative, red for positive
  kPositive,  // negative values count as zero
  kNegative,  // positive values count as zero
  kAbsolute,  // the magnitude
};

// "all", "positive", "negative", "absolute_value"; throws on another name.
[[nodiscard]] Sign sign_of(std::string_view name);

enum class PictureMode {
  kPanel,           // three side by side
  kHeatMap,         // the map alone, on white
  kBlendedHeatMap,  // the map over the picture in grey
  kOriginalImage,   // the picture
  kMaskedImage,     // the picture times the strength: black where nothing is attributed
  kAlphaScaling,    // the picture with the strength as its opacity, on white
};
// "panel", "heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling".
[[nodiscard]] std::optional<PictureMode> picture_mode_of(std::string_view name);

struct HeatMapOptions {
  Sign sign = Sign::kAll;
  double outlier_percent = 2;  // the largest values that make up this share of the sum of |a| are clipped
  int min_side = 224;          // smaller pictures are enlarged by a whole factor
};

// A map [height, width] with values in [-1, 1].
struct HeatMap {
  int height = 0, width = 0;
  std::vector<float> v;
};

// The values under a sign, scaled by the one at which the cumulative sum of the sorted |a| reaches 100 -
// outlier_percent of the total, and clipped to [-1, 1]. All zeros stay zeros. NaN or infinity: Error.
[[nodiscard]] std::vector<double> normalised(std::vector<double> a, const HeatMapOptions& options);
// White at 0 to dark red at 1 or dark blue at -1.
[[nodiscard]] Rgb heat_color(double v);

// Sums the channels of [C, H, W] (or [H, W, C], or takes [H, W]; leading axes of extent 1 are dropped) and
// normalises.
[[nodiscard]] HeatMap heat_map(const Tensor& attribution, bool channels_last, const HeatMapOptions& options = {});
// Bilinear between the map's points, e.g. a 7 x 7 class activation map to the size of the picture.
[[nodiscard]] HeatMap resize(const HeatMap& map, int height, int width);

// The map alone, on white.
[[nodiscard]] Image render(const HeatMap& map, Sign sign);
// The map over the picture in grey; both of one size.
[[nodiscard]] Image overlay(const HeatMap& map, Sign sign, const Image& picture);
// One picture in a mode, the map brought to the picture's size and both enlarged to min_side. kMaskedImage and
// kAlphaScaling want a sign other than kAll: a strength has none.
[[nodiscard]] Image draw_picture(PictureMode mode, const Image& picture, const Tensor& attribution, bool channels_last,
                                 const HeatMapOptions& options = {});
// Side by side, with the map brought to the picture's size and both enlarged to min_side.
[[nodiscard]] Image heat_map_panel(const Image& picture, const Tensor& attribution, bool channels_last,
                                   const HeatMapOptions& options = {});

}  // namespace onnxray::app
