// Batched matrix products on the GPU: y[b] = op(a[b]) op(b[b]) with an epilogue; our own kernels, no library.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/tiles.h"

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

struct GemmPlan {
  GemmShape shape;
  Precision precision = Precision::kExact;
  ProductTile tile = ProductTile::kMedium;
  int splits = 1;                   // of the sum, added up by a second kernel
  std::size_t weight_bytes = 0;     // of b packed; 0: b is read as it is
  std::size_t workspace_bytes = 0;  // scratch for run_gemm
};

// Chooses tile and splits of a float32 product on the tensor cores. All extents positive, k may be 0. Where b is a
// constant of one matrix, warpgroups may multiply by a packed form of it. Throws Error(kUnsupported) where an extent
// exceeds 2^31.
[[nodiscard]] GemmPlan plan_gemm(const GemmShape& shape, Precision precision, const Gpu& gpu, bool constant_b);
// Whether a tile can compute that at all.
[[nodiscard]] bool tile_serves(ProductTile tile, const GemmShape& shape, Precision precision, bool constant_b);
// The same as plan_gemm with the tile, one that serves, and the number of splits given, for tests and tuning.
[[nodiscard]] GemmPlan plan_gemm_with(const GemmShape& shape, Precision precision, ProductTile tile, int splits);

// Device pointers. `packed` has plan.weight_bytes, which are not 0.
void pack_gemm_weights(const GemmPlan& plan, const float* b, float* packed, Stream stream);
// `b`: packed, or as it is where plan.weight_bytes is 0. Epilogue: bias [n]. `workspace` has plan.workspace_bytes.
void run_gemm(const GemmPlan& plan, const float* a, const float* b, float* y, const Epilogue<float>& epilogue,
              float* workspace, Stream stream);

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
