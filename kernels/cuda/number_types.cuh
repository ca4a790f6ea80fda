// Which element types arithmetic and comparisons have kernels for.
#pragma once
#include "kernels/cuda/common.cuh"

namespace onnxray::cuda {

// Calls f.template operator()<T>() for the types that kernels add in; no step for others.
template <class F>
Step with_number(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    default: return {};
  }
}

// For what compares and does not add; a boolean is 0 or 1.
template <class F>
Step with_ordered(DType t, F&& f) {
  switch (t) {
    case DType::i8: return f.template operator()<std::int8_t>();
    case DType::u8:
    case DType::boolean: return f.template operator()<std::uint8_t>();
    default: return with_number(t, f);
  }
}

}  // namespace onnxray::cuda
