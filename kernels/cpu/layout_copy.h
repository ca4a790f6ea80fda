// Copies elements between two strided arrays, whatever their dtype: what transposes, slices, pads and expands share.
#pragma once
#include <cstdint>
#include <cstring>

#include "engine/base/dtype.h"
#include "engine/base/shape.h"

namespace onnxray::cpu {

// Calls f.template operator()<U>() with an unsigned integer type of `bytes` bytes: movement does not look at values.
template <class F>
decltype(auto) visit_bytes(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 8: return f.template operator()<std::uint64_t>();
    case 4: return f.template operator()<std::uint32_t>();
    case 2: return f.template operator()<std::uint16_t>();
    default: return f.template operator()<std::uint8_t>();
  }
}

// y[y_start + i . y_strides] = x[x_start + i . x_strides] for every index i below dims; all in elements. Strides may be
// zero (x) or negative.
class StridedCopy {
 public:
  StridedCopy(const Dims& dims, const Dims& x_strides, const Dims& y_strides, DType dtype, std::int64_t x_start = 0,
              std::int64_t y_start = 0);
  void operator()(const void* x, void* y) const;

 private:
  template <class U>
  void rows(const U* x, U* y) const;
  template <class U>
  void tiles(const U* x, U* y) const;

  Dims dims_, xs_, ys_;  // without extents of 1, neighbours merged; at least one axis
  std::size_t bytes_;
  std::int64_t x_start_, y_start_, count_;
  bool tiled_ = false;  // the last two axes are a transposition
};

}  // namespace onnxray::cpu
