// Branch-free float32 versions of the functions that activations need, so that plain loops over them vectorise; the
// double overloads are the C library's. Polynomials are minimax fits; each function says its error against double.
// The same source serves CPU and CUDA.
#pragma once
#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define ONNXRAY_HD __host__ __device__ __forceinline__
#else
#define ONNXRAY_HD inline
#endif

namespace onnxray::vmath {

ONNXRAY_HD float as_float(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
ONNXRAY_HD std::uint32_t as_bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }

// |magnitude| with the sign of `sign`.
ONNXRAY_HD float with_sign(float magnitude, float sign) {
  return as_float((as_bits(magnitude) & 0x7fffffffu) | (as_bits(sign) & 0x80000000u));
}
ONNXRAY_HD float magnitude(float x) { return as_float(as_bits(x) & 0x7fffffffu); }

namespace detail {

struct Reduced {
  float r;         // x - k ln 2, |r| <= ln(2) / 2
  std::int32_t k;  // any integer where x is NaN
};

ONNXRAY_HD Reduced reduce_ln2(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  // ln 2 in two parts; n times the first is exact.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  return {r, static_cast<std::int32_t>(as_bits(shifted) - as_bits(kRound))};
}

// 2^k for k in [-126, 127].
ONNXRAY_HD float power_of_two(std::int32_t k) { return as_float(static_cast<std::uint32_t>(k + 127) << 23); }

// e^r - 1 for |r| <= ln(2) / 2.
ONNXRAY_HD float expm1_reduced(float r) {
  float q = 1.39475951e-3f;
  q = q * r + 8.36724695e-3f;
  q = q * r + 4.16662656e-2f;
  q = q * r + 0.166665375f;
  q = q * r + 0.5f;
  return q * (r * r) + r;
}

// log(erfc(t)) for t in [1, 4].
ONNXRAY_HD float log_erfc(float t) {
  const float u = t - 1.0f;
  float q = -2.16977132e-5f;
  q = q * u + 2.89589836e-4f;
  q = q * u - 2.01209961e-3f;
  q = q * u + 1.00465901e-2f;
  q = q * u - 4.15635519e-2f;
  q = q * u - 0.843107045f;
  q = q * u - 2.63896751f;
  return q * u - 1.84960556f;
}

}  // namespace detail

// Relative error below 1.5e-7; denormal results are rounded properly.
ONNXRAY_HD float exp(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const detail::Reduced a = detail::reduce_ln2(x);
  const float p = detail::expm1_reduced(a.r) + 1.0f;
  const std::int32_t half = a.k >> 1;
  return p * detail::power_of_two(half) * detail::power_of_two(a.k - half);
}

// e^x - 1; relative error below 2.5e-7, near 0 too.
ONNXRAY_HD float expm1(float x) {
  x = x > 89.0f ? 89.0f : x;
  const float c = x < -20.0f ? -20.0f : x;
  const detail::Reduced a = detail::reduce_ln2(c);
  // 2^(k-1) instead of 2^k, which overflows at k = 128.
  const float s = detail::power_of_two(a.k - 1);
  return 2.0f * (s * detail::expm1_reduced(a.r) + (s - 0.5f));
}

// Relative error below 3e-7.
ONNXRAY_HD float tanh(float x) {
  const float t = magnitude(x);
  const float e = expm1(2.0f * (t > 10.0f ? 10.0f : t));
  return with_sign(e / (e + 2.0f), x);
}

// 1 / (1 + e^-x); relative error below 3e-7 on both sides.
ONNXRAY_HD float sigmoid(float x) {
  const float e = exp(-magnitude(x));
  const float s = 1.0f / (1.0f + e);
  return x < 0.0f ? e * s : s;
}

// Relative error below 3e-7.
ONNXRAY_HD float erf(float x) {
  const float t = magnitude(x), z = x * x;
  float p = 7.85385491e-5f;
  p = p * z - 8.01019138e-4f;
  p = p * z + 5.18832728e-3f;
  p = p * z - 2.68538110e-2f;
  p = p * z + 0.112835854f;
  p = p * z - 0.376126260f;
  p = p * z + 1.12837911f;
  const float tail = 1.0f - exp(detail::log_erfc(t > 4.0f ? 4.0f : t));
  return t < 1.0f ? x * p : with_sign(tail, x);
}

// Relative error below 2e-7; log(0) = -inf, NaN for negative x.
ONNXRAY_HD float log(float x) {
  const bool denormal = x < 1.17549435e-38f;
  const float scaled = denormal ? x * 8388608.0f : x;
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
  const std::uint32_t i = as_bits(scaled) - 0x3f3504f3u;
  const float e = static_cast<float>(static_cast<std::int32_t>(i) >> 23) - (denormal ? 23.0f : 0.0f);
  const float f = as_float((i & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  // log(1 + f) = 2 atanh(s), s = f / (2 + f).
  const float s = f / (2.0f + f), z = s * s;
  float p = 0.236105263f;
  p = p * z + 0.285358906f;
  p = p * z + 0.400003552f;
  p = p * z + 0.666666627f;
  float y = f - s * (f - z * p);
  y = e * 0.693359375f + (y - e * 2.12194440e-4f);
  y = x == 0.0f ? -HUGE_VALF : y;
  y = x < 0.0f ? as_float(0x7fc00000u) : y;
  return x > 3.40282347e38f || x != x ? x : y;
}

// log(1 + t) for t in [0, 1]; relative error below 2e-7.
ONNXRAY_HD float log1p_unit(float t) {
  const float s = t / (2.0f + t), z = s * s;
  float p = 0.217924118f;
  p = p * z + 0.171478435f;
  p = p * z + 0.223015010f;
  p = p * z + 0.285683960f;
  p = p * z + 0.400000542f;
  p = p * z + 0.666666687f;
  return t - s * (t - z * p);
}

// The standard normal distribution at x: its cumulative distribution and its density.
template <class T>
struct Normal {
  T cdf, pdf;
};

// Relative error below 1e-6 from -6 on, in the lower tail too; 4e-7 from -2 on.
ONNXRAY_HD Normal<float> normal(float x) {
  const float full = magnitude(x), z = full > 20.0f ? 20.0f : full;
  // e^(-z^2 / 2), with the square split into an exact part and a rest.
  const float high = as_float(as_bits(z) & 0xfffff000u);
  const float low = 0.5f * (z - high) * (z + high);
  float rest = 4.16666679e-2f;
  rest = rest * low - 0.166666672f;
  rest = rest * low + 0.5f;
  rest = rest * low - 1.0f;
  rest = rest * low + 1.0f;
  const float e = exp(-0.5f * (high * high)) * rest;
  // (1 - cdf(z)) / e as a polynomial in u.
  const float u = (z - 3.0f) / (z + 3.0f);
  float q = 5.36834050e-5f;
  q = q * u + 1.15549112e-4f;
  q = q * u - 3.39500170e-4f;
  q = q * u - 9.83762438e-4f;
  q = q * u + 2.90456321e-3f;
  q = q * u + 6.13207137e-3f;
  q = q * u - 4.62132916e-2f;
  q = q * u + 0.123225033f;
  q = q * u - 0.206402615f;
  q = q * u + 0.121513948f;
  const float tail = q * e;
  return {x < 0.0f ? tail : 1.0f - tail, 0.398942280f * e};
}

ONNXRAY_HD Normal<double> normal(double x) {
  return {0.5 * std::erfc(-0.70710678118654752440 * x), 0.39894228040143267794 * std::exp(-0.5 * x * x)};
}

ONNXRAY_HD double exp(double x) { return std::exp(x); }
ONNXRAY_HD double expm1(double x) { return std::expm1(x); }
ONNXRAY_HD double tanh(double x) { return std::tanh(x); }
ONNXRAY_HD double sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
ONNXRAY_HD double erf(double x) { return std::erf(x); }
ONNXRAY_HD double log(double x) { return std::log(x); }
ONNXRAY_HD double log1p_unit(double t) { return std::log1p(t); }

}  // namespace onnxray::vmath
