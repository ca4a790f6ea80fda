#include "kernels/cpu/gemm.h"

namespace onnxray::cpu {
namespace {

// The same loop for every instruction set. Vector types keep the mr x nv accumulators in registers, which the
// compiler's own vectoriser does not.
#define ONNXRAY_GEMM_TILE(name, isa, T, bytes, MR, NV)                                                             \
  isa void name(std::int64_t k, const T* __restrict a, const T* __restrict b, T* __restrict c, std::int64_t ldc) { \
    typedef T V __attribute__((vector_size(bytes), aligned(sizeof(T)), may_alias));                                \
    constexpr int W = (bytes) / static_cast<int>(sizeof(T));                                                       \
    V acc[MR][NV] = {};                                                                                            \
    for (std::int64_t p = 0; p < k; ++p) {                                                                         \
      V bv[NV];                                                                                                    \
      _Pragma("GCC unroll 8") for (int j = 0; j < NV; ++j) bv[j] = *reinterpret_cast<const V*>(b + j * W);         \
      _Pragma("GCC unroll 16") for (int i = 0; i < MR; ++i) {                                                      \
        _Pragma("GCC unroll 8") for (int j = 0; j < NV; ++j) acc[i][j] += a[i] * bv[j];                            \
      }                                                                                                            \
      a += MR;                                                                                                     \
      b += NV * W;                                                                                                 \
    }                                                                                                              \
    _Pragma("GCC unroll 16") for (int i = 0; i < MR; ++i) {                                                        \
      _Pragma("GCC unroll 8") for (int j = 0; j < NV; ++j) {                                                       \
        *reinterpret_cast<V*>(c + i * ldc + j * W) += acc[i][j];                                                   \
      }                                                                                                            \
    }                                                                                                              \
  }

#if defined(__x86_64__)
#define ONNXRAY_AVX512 __attribute__((target("avx512f,fma")))
#define ONNXRAY_AVX2 __attribute__((target("avx2,fma")))
ONNXRAY_GEMM_TILE(tile_avx512, ONNXRAY_AVX512, double, 64, 12, 2)
ONNXRAY_GEMM_TILE(tile_avx512, ONNXRAY_AVX512, float, 64, 12, 2)
ONNXRAY_GEMM_TILE(tile_avx2, ONNXRAY_AVX2, double, 32, 6, 2)
ONNXRAY_GEMM_TILE(tile_avx2, ONNXRAY_AVX2, float, 32, 6, 2)
#endif
ONNXRAY_GEMM_TILE(tile_plain, , double, 16, 4, 2)
ONNXRAY_GEMM_TILE(tile_plain, , float, 16, 4, 2)

template <class T>
GemmTile<T> choose() {
  const std::int64_t w = 16 / static_cast<std::int64_t>(sizeof(T));
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {12, 8 * w, tile_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {6, 4 * w, tile_avx2};
#endif
  return {4, 2 * w, tile_plain};
}

}  // namespace

template <>
const GemmTile<double>& gemm_tile<double>() {
  static const GemmTile<double> tile = choose<double>();
  return tile;
}

template <>
const GemmTile<float>& gemm_tile<float>() {
  static const GemmTile<float> tile = choose<float>();
  return tile;
}

}  // namespace onnxray::cpu
