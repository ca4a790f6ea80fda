// Casts among all dtypes, with the values of Tensor::to: from float to integer truncates and saturates, NaN gives 0;
// integers wrap around. Pairs that models compute with have kernels of their own; the rest, storage types above all,
// share one for each source type.
#pragma once
#include <limits>

#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// The 16-bit floats, which are read and written through float.
struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

ONNXRAY_DEVICE float widened(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (h.bits >> 10) & 0x1fu, mantissa = h.bits & 0x3ffu;
  if (exponent == 0x1f) return __uint_as_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return __uint_as_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;  // exact in float
  return sign != 0 ? -subnormal : subnormal;
}
ONNXRAY_DEVICE float widened(Bfloat b) { return __uint_as_float(static_cast<std::uint32_t>(b.bits) << 16); }
template <class T>
ONNXRAY_DEVICE T widened(T x) {
  return x;
}

// To nearest, ties to even.
ONNXRAY_DEVICE void store(Half& to, float value) {
  const std::uint32_t bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu;
  std::uint32_t h = 0;
  if (magnitude > 0x7f800000u) {
    h = 0x7e00u;  // NaN
  } else if (magnitude >= 0x477ff000u) {
    h = 0x7c00u;  // rounds to infinity
  } else if (magnitude < 0x38800000u) {
    // Below the smallest normal half: adding 0.5 aligns the mantissa at 2^-24 and rounds.
    h = __float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    h = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
  to.bits = static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | h);
}
ONNXRAY_DEVICE void store(Bfloat& to, float value) {
  const std::uint32_t bits = __float_as_uint(value);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  to.bits = static_cast<std::uint16_t>(nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

template <class To>
struct Convert {
  template <class From>
  ONNXRAY_HD To operator()(From x) const {
    if constexpr (std::is_same_v<To, bool>) {
      return x != From{};
    } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
      constexpr To kLow = std::numeric_limits<To>::min(), kHigh = std::numeric_limits<To>::max();
      if (x != x) return To{};
      if (x <= static_cast<From>(kLow)) return kLow;
      if (x >= static_cast<From>(kHigh)) return kHigh;
      return static_cast<To>(x);
    } else {
      return static_cast<To>(x);
    }
  }
};

template <class To, class From>
ONNXRAY_DEVICE void convert_to(void* y, std::int64_t i, From x) {
  To& to = static_cast<To*>(y)[i];
  if constexpr (std::is_same_v<To, Half> || std::is_same_v<To, Bfloat>) store(to, static_cast<float>(x));
  else to = Convert<To>()(x);
}

template <class From>
ONNXRAY_KERNEL(void)
convert_kernel(std::int64_t n, DType to, const From* x, void* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    const auto v = widened(x[i]);
    switch (to) {  // the same for all threads
      case DType::f32: convert_to<float>(y, i, v); break;
      case DType::f64: convert_to<double>(y, i, v); break;
      case DType::f16: convert_to<Half>(y, i, v); break;
      case DType::bf16: convert_to<Bfloat>(y, i, v); break;
      case DType::i64: convert_to<std::int64_t>(y, i, v); break;
      case DType::i32: convert_to<std::int32_t>(y, i, v); break;
      case DType::i16: convert_to<std::int16_t>(y, i, v); break;
      case DType::i8: convert_to<std::int8_t>(y, i, v); break;
      case DType::u64: convert_to<std::uint64_t>(y, i, v); break;
      case DType::u32: convert_to<std::uint32_t>(y, i, v); break;
      case DType::u16: convert_to<std::uint16_t>(y, i, v); break;
      case DType::u8: convert_to<std::uint8_t>(y, i, v); break;
      case DType::boolean: convert_to<bool>(y, i, v); break;
    }
  }
}

template <class From>
Step convert(const PrepareCtx& c) {
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  return {[n, to = c.out_dtype()](const RunArgs& a) {
    launch(convert_kernel<From>, grid_of(n), Dim3{kThreads}, 0, a.stream, n, to, static_cast<const From*>(a.in[0]),
           a.out[0]);
  }};
}

// Of the types that models compute with; declined for the others.
template <class F>
Step with_computed(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    case DType::boolean: return f.template operator()<bool>();
    default: return {};
  }
}

inline Step cast(const PrepareCtx& c) {
  Step step = with_computed(c.dtype(0), [&]<class From>() {
    return with_computed(c.out_dtype(), [&]<class To>() { return unary_step<Convert<To>, From, To>(c, {}); });
  });
  if (step.run) return step;
  switch (c.dtype(0)) {
    case DType::f32: return convert<float>(c);
    case DType::f64: return convert<double>(c);
    case DType::f16: return convert<Half>(c);
    case DType::bf16: return convert<Bfloat>(c);
    case DType::i64: return convert<std::int64_t>(c);
    case DType::i32: return convert<std::int32_t>(c);
    case DType::i16: return convert<std::int16_t>(c);
    case DType::i8: return convert<std::int8_t>(c);
    case DType::u64: return convert<std::uint64_t>(c);
    case DType::u32: return convert<std::uint32_t>(c);
    case DType::u16: return convert<std::uint16_t>(c);
    case DType::u8: return convert<std::uint8_t>(c);
    case DType::boolean: return convert<bool>(c);
  }
  return {};
}

void register_cast(Backend& b) { b.add("cast", cast); }

}  // namespace onnxray::cuda
