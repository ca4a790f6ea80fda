// A sliding window over 1 to 3 spatial axes, as convolutions and pooling share it. Everything is right-aligned to three
// axes (depth, height, width); missing leading axes have extent, kernel and stride 1.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "engine/op.h"

namespace onnxray {

using Extents = std::array<std::int64_t, 3>;

struct Window {
  Extents kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1};
  Extents begin{0, 0, 0}, end{0, 0, 0};  // padding; negative crops
  bool ceil_mode = false;

  [[nodiscard]] std::int64_t reach(std::size_t i) const { return (kernel[i] - 1) * dilation[i] + 1; }
  [[nodiscard]] std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  // Positions of the window over `in` elements; with ceil_mode a last window counts if it starts inside the input or
  // its leading padding. Negative or zero where the window does not fit.
  [[nodiscard]] std::int64_t positions(std::size_t i, std::int64_t in) const;
  [[nodiscard]] Extents positions(const Extents& in) const {
    return {positions(0, in[0]), positions(1, in[1]), positions(2, in[2])};
  }
};

// Taps t in [first, last) of a window that starts at `start` (in input coordinates) fall inside [low, high).
struct TapRange {
  std::int64_t first = 0, last = 0;
};
[[nodiscard]] TapRange taps_inside(std::int64_t start, std::int64_t kernel, std::int64_t dilation, std::int64_t low,
                                   std::int64_t high);

// Right-aligned to three axes, `fill` in front.
[[nodiscard]] Extents align3(std::span<const std::int64_t> v, std::int64_t fill);

// From attributes strides, pads (all begins, then all ends), dilations, ceil_mode, and the kernel's extents. Throws on
// wrong lengths and values out of range.
[[nodiscard]] Window read_window(const Attrs& attrs, std::span<const std::int64_t> kernel);

// Where batch, channels and space lie: [N, C, spatial...], or [N, spatial..., C] with the attribute channels_last.
struct SpatialDims {
  std::int64_t batch = 0, channels = 0;
  std::vector<std::int64_t> space;
};
[[nodiscard]] SpatialDims spatial_dims(const Dims& dims, bool channels_last);
[[nodiscard]] Dims join_dims(std::int64_t batch, std::int64_t channels, std::span<const std::int64_t> space,
                             bool channels_last);
[[nodiscard]] inline bool is_channels_last(const Attrs& attrs) { return attrs.integer("channels_last", 0) != 0; }

}  // namespace onnxray
