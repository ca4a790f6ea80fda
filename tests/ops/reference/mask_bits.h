// Masks of one bit per element (engine/ops/packed_mask.h) in references.
#pragma once
#include <cstdint>

#include "tests/ops/sample.h"

namespace onnxray::testing {

// Bit `i` of a mask, counted along the array.
inline bool bit_of(const Array& mask, std::size_t i) {
  const auto word = static_cast<std::uint32_t>(static_cast<std::int64_t>(mask.v[i / 32]));
  return (word >> i % 32 & 1) != 0;
}

inline Array mask_of(const Array& y) {
  Array mask{y.dims, std::vector<double>(y.v.size() / 32, 0)};
  mask.dims.back() /= 32;
  for (std::size_t w = 0; w < mask.v.size(); ++w) {
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 32; ++k) word |= static_cast<std::uint32_t>(y.v[32 * w + k] > 0) << k;
    mask.v[w] = static_cast<std::int32_t>(word);
  }
  return mask;
}

// {y}, with its mask where the attribute asks for it.
inline std::vector<Array> with_mask(Array y, const Attrs& attrs) {
  if (attrs.integer("mask_output", 0) == 0) return {std::move(y)};
  Array mask = mask_of(y);
  return {std::move(y), std::move(mask)};
}

// Random bits for an array with dims d.
inline SampleInput mask_for(Dims d) {
  d.back() /= 32;
  return {.dtype = DType::i32, .dims = std::move(d), .lo = -0x1p31, .hi = 0x1p31};
}

}  // namespace onnxray::testing
