// What matrix products and convolutions on the GPU have in common for their callers.
#pragma once

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
// and `mask` have the shape and layout of the result; `sum` may be the result's own memory.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  const T* sum = nullptr;
  const T* mask = nullptr;
  bool relu = false;
};

}  // namespace onnxray::cuda
