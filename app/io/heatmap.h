// Attributions as pictures: [the picture | the attribution | the attribution over the picture in grey].
#pragma once
#include "app/io/image.h"
#include "engine/tensor.h"

namespace onnxray::app {

enum class Sign {
  kAll,       // blue for negative, red for positive
  kPositive,  // negative values count as zero
  kNegative,  // positive values count as zero
  kAbsolute,  // the magnitude
};

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

// Sums the channels of [C, H, W] (or [H, W, C], or takes [H, W]; leading axes of extent 1 are dropped) and scales by
// the value at which the cumulative sum of the sorted |a| reaches 100 - outlier_percent. NaN or infinity: Error.
[[nodiscard]] HeatMap heat_map(const Tensor& attribution, bool channels_last, const HeatMapOptions& options = {});
// Bilinear between the map's points, e.g. a 7 x 7 class activation map to the size of the picture.
[[nodiscard]] HeatMap resize(const HeatMap& map, int height, int width);

// The map alone, on white.
[[nodiscard]] Image render(const HeatMap& map, Sign sign);
// The map over the picture in grey; both of one size.
[[nodiscard]] Image overlay(const HeatMap& map, Sign sign, const Image& picture);
// Side by side, with the map brought to the picture's size and both enlarged to min_side.
[[nodiscard]] Image heat_map_panel(const Image& picture, const Tensor& attribution, bool channels_last,
                                   const HeatMapOptions& options = {});

}  // namespace onnxray::app
