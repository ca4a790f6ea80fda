// Batched matrix products: the tile of tile.cuh with both operands from memory, in any of the four transpositions.
#pragma once
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/split_sum.cuh"

namespace onnxray::cuda {
namespace {

struct GemmArgs {
  int m, n, k, column_tiles, splits;
  long long batches, first_batch;
  int batch_axes;
  long long batch[kMaxBatchAxes], a_step[kMaxBatchAxes], b_step[kMaxBatchAxes];
  ONNXRAY_HOST_DEVICE int slices() const { return static_cast<int>((k + kSlice - 1ll) / kSlice); }
};

struct Offset {
  long long a, b;
};
ONNXRAY_HOST_DEVICE Offset batch_offset(const GemmArgs& p, long long z) {
  Offset o{0, 0};
  for (int i = p.batch_axes - 1; i >= 0; --i) {
    const long long at = z % p.batch[i];
    z /= p.batch[i];
    o.a += at * p.a_step[i];
    o.b += at * p.b_step[i];
  }
  return o;
}

// Grid: x tiles, columns fastest; y splits of the sum; z batches from first_batch on. With splits > 1, `y` is
// [splits, result] and there is no epilogue.
template <Precision kPrecision, class T, bool kTransA, bool kTransB, int kVector>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
gemm_tensor_core(GemmArgs p, const float* a, const float* b, float* y, Epilogue<float> epilogue) {
  ONNXRAY_SHARED(float, ring);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  const Offset from = batch_offset(p, p.first_batch + blockIdx.z);
  const Slices slices = slices_of(p.slices(), p.splits);
  const int first_k = slices.begin * kSlice, a_line = kTransA ? p.m : p.k, b_line = kTransB ? p.k : p.n;
  MatrixLoader<T::kRows, !kTransA, kVector, T::kThreads> a_loader(
      a + from.a + static_cast<long long>(first_k) * (kTransA ? a_line : 1), a_line, first_row, p.m, p.k - first_k);
  MatrixLoader<T::kCols, kTransB, kVector, T::kThreads> b_loader(
      b + from.b + static_cast<long long>(first_k) * (kTransB ? 1 : b_line), b_line, first_column, p.n, p.k - first_k);
  float acc[T::kMi][T::kNi][4] = {};
  multiply_slices<kPrecision, T, !kTransA, kTransB>(ring, slices.count, a_loader, b_loader, acc);
  finish_tile<T>(
      acc, epilogue, first_column, p.n - first_column, p.n % 2 == 0,
      [&](int row) {
        const int r = first_row + row;
        return r < p.m ? ((p.first_batch + blockIdx.z) * p.m + r) * p.n + first_column : -1ll;
      },
      y + static_cast<int>(blockIdx.y) * (p.batches * p.m * p.n));
}

}  // namespace
}  // namespace onnxray::cuda
