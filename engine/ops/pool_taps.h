// An argmax of max pooling as uint8: the tap of its window in kernel order, the last axis fastest.
#pragma once
#include "engine/attrs.h"

namespace onnxray {

inline constexpr int kNoTap = 255;  // the window holds padding only

[[nodiscard]] inline bool gives_argmax_taps(const Attrs& attrs) { return attrs.integer("argmax_taps", 0) != 0; }
// Whether the window has a tap at all and few enough of them.
[[nodiscard]] inline bool taps_fit(const Attrs& attrs) {
  std::int64_t taps = attrs.has("kernel") ? 1 : 0;
  for (const std::int64_t k : attrs.ints("kernel", {})) {
    if (k < 1 || k > kNoTap) return false;
    taps *= k;
  }
  return taps > 0 && taps <= kNoTap;
}

}  // namespace onnxray
