// Built-in segmentations of a value's row.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/shape.h"

namespace onnxray {

// The axes of a row that span a picture: both of [H, W], the last two of [C, H, W] and of higher ranks, the first two
// of [H, W, C] (taken for such when its last extent is at most 4 and its first is larger). A row of rank 1 has its
// only axis twice, a scalar row none.
struct PictureAxes {
  bool any = false;
  std::size_t y = 0, x = 0;
  [[nodiscard]] bool two() const { return any && y != x; }
};
[[nodiscard]] PictureAxes picture_axes(const Dims& row_dims);

// Position p of `extent` in a grid of `cells`: cells differ by at most one element in length.
[[nodiscard]] inline std::int64_t grid_cell(std::int64_t p, std::int64_t extent, std::int64_t cells) {
  return p * cells / extent;
}

// SLIC superpixels: labels [height * width], numbered from 0 in raster order of their first pixel; every superpixel is
// 4-connected. pixels: [height, width, channels]. Colours are scaled to a range of 100, so that the compactness m means
// what it means in CIELAB; squared distance = |colour|^2 + (m / S)^2 |place|^2 with S = sqrt(height * width / count).
// Ten iterations; pieces smaller than a quarter of S^2 join a neighbour. The number of superpixels is about `count`.
// Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", TPAMI 2012.
[[nodiscard]] std::vector<std::int64_t> slic(std::span<const double> pixels, std::int64_t height, std::int64_t width,
                                             std::int64_t channels, std::int64_t count, double compactness = 10);

}  // namespace onnxray
