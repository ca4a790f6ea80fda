// Batched matrix products on the GPU: y[b] = op(a[b]) op(b[b]) with an epilogue; our own kernels, no library.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/epilogue.h"

namespace onnxray::cuda {

inline constexpr int kMaxBatchAxes = 6;

// y [batch, m, n], row-major and dense. a [.., m, k] or transposed [.., k, m], b [.., k, n] or transposed [.., n, k],
// the matrices dense. Batch axes of y from outermost to innermost with the steps, in elements, of a and b along them (0
// where one is broadcast).
struct GemmShape {
  std::int64_t m = 1, n = 1, k = 1;
  bool trans_a = false, trans_b = false;
  int batch_axes = 0;
  std::int64_t batch[kMaxBatchAxes] = {};
  std::int64_t a_step[kMaxBatchAxes] = {}, b_step[kMaxBatchAxes] = {};
};

// float32 on the tensor cores. Epilogue: bias [n]. All extents positive, k may be 0. Device pointers.
void run_gemm(const GemmShape& shape, Precision precision, const float* a, const float* b, float* y,
              const Epilogue<float>& epilogue, int processors, Stream stream);

// Plain kernels, T float, double or an integer (8, 32 or 64 bits, wrapping around).
template <class T>
void run_gemm_general(const GemmShape& shape, const T* a, const T* b, T* y, const Epilogue<T>& epilogue, Stream stream);

extern template void run_gemm_general(const GemmShape&, const float*, const float*, float*, const Epilogue<float>&,
                                      Stream);
extern template void run_gemm_general(const GemmShape&, const double*, const double*, double*, const Epilogue<double>&,
                                      Stream);
extern template void run_gemm_general(const GemmShape&, const std::int64_t*, const std::int64_t*, std::int64_t*,
                                      const Epilogue<std::int64_t>&, Stream);
extern template void run_gemm_general(const GemmShape&, const std::int32_t*, const std::int32_t*, std::int32_t*,
                                      const Epilogue<std::int32_t>&, Stream);
extern template void run_gemm_general(const GemmShape&, const std::int8_t*, const std::int8_t*, std::int8_t*,
                                      const Epilogue<std::int8_t>&, Stream);
extern template void run_gemm_general(const GemmShape&, const std::uint8_t*, const std::uint8_t*, std::uint8_t*,
                                      const Epilogue<std::uint8_t>&, Stream);

}  // namespace onnxray::cuda
