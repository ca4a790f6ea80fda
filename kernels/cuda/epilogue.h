// What matrix products and convolutions on the GPU have in common for their callers.
#pragma once
#include <cstdint>

namespace onnxray::cuda {

using Stream = void*;  // a cudaStream_t; the simulator runs everything in order

// How float32 operands are multiplied; sums are float32 always. Relative error of a product of two numbers:
enum class Precision {
  kExact,  // three TF32 products (3xTF32) and sums in slices outside the tensor core: float32's own, about 2^-22;
           // an infinite operand gives NaN
  kTf32,   // operands rounded to 10 bits: 2^-10
  kBf16,   // operands rounded to 7 bits: 2^-7
};

// Applied to a finished sum, in this order: + bias[channel], + sum, ReLU, kept where mask > 0 and zero elsewhere. `sum`
// and `mask` have the shape and layout of the result; `sum` may be the result's own memory. Masks of bits
// (engine/ops/packed_mask.h) lie along the result's flat index: `mask_bits` takes the place of `mask`, and `out_bits`
// is written: where the result is > 0. Both need an innermost extent that is a multiple of 32.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  const T* sum = nullptr;
  const T* mask = nullptr;
  bool relu = false;
  const std::uint32_t* mask_bits = nullptr;
  std::uint32_t* out_bits = nullptr;
};

}  // namespace onnxray::cuda
