// Products a b with one packed b, on Hopper's warpgroup instructions: the rows of a are read as they lie.
#pragma once
#include "kernels/cuda/gemm_tensor_core.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace onnxray::cuda {
namespace {

// Grid: x tiles, columns fastest; y splits of the sum. With splits > 1, `y` is [splits, result] and there is no
// epilogue. The result has fewer than 2^31 elements.
template <class T>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
gemm_warpgroup(GemmArgs p, const float* a, const float* packed, float* y, Epilogue<float> epilogue) {
  ONNXRAY_SHARED(unsigned char, memory);
  float* const ring = warpgroup_ring(memory);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  const Slices slices = slices_of(p.slices(), p.splits);
  const int first_k = slices.begin * kSlice;
  MatrixLoader<T::kRows, true, 4, T::kThreads> a_loader(a + first_k, p.k, first_row, p.m, p.k - first_k);
  BlockLoader<T> b_loader(packed, first_column, p.slices(), slices.begin);
  float acc[T::kNi][4] = {};
  multiply_warpgroup<T>(ring, slices.count, a_loader, b_loader, acc);
  finish_warpgroup<T>(
      acc, ring, [&](int row) { return first_row + row < p.m ? (first_row + row) * p.n : -1; }, first_column, p.n, 0,
      epilogue, y + blockIdx.y * (static_cast<long long>(p.m) * p.n));
}

// Packs b [k, n], or [n, k] if it is transposed, as pack_blocks does.
template <Precision kPrecision>
ONNXRAY_KERNEL(void)
pack_gemm_for_warpgroup(GemmArgs p, bool trans_b, const float* b, float* packed, int columns) {
  pack_blocks<kPrecision>(packed, columns, p.slices() * kSlice, [&](int column, int k) {
    if (column >= p.n || k >= p.k) return 0.0f;
    return b[trans_b ? static_cast<long long>(column) * p.k + k : static_cast<long long>(k) * p.n + column];
  });
}

}  // namespace
}  // namespace onnxray::cuda
