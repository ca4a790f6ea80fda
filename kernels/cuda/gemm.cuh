// Batched matrix products: the tile of tile.cuh with both operands from memory, in any of the four transpositions.
#pragma once
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/general.cuh"

namespace onnxray::cuda {
namespace {

struct GemmArgs {
  int m, n, k, column_tiles;
  long long batches, first_batch;
  int batch_axes;
  long long batch[kMaxBatchAxes], a_step[kMaxBatchAxes], b_step[kMaxBatchAxes];
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

// Grid: x tiles, columns fastest; z batches from first_batch on.
template <Precision kPrecision, class T, bool kTransA, bool kTransB, int kVector>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
gemm_tensor_core(GemmArgs p, const float* a, const float* b, float* y, Epilogue<float> epilogue) {
  ONNXRAY_SHARED(float, ring);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  const Offset from = batch_offset(p, p.first_batch + blockIdx.z);
  MatrixLoader<T::kRows, !kTransA, kVector, T::kThreads> a_loader(a + from.a, kTransA ? p.m : p.k, first_row, p.m, p.k);
  MatrixLoader<T::kCols, kTransB, kVector, T::kThreads> b_loader(b + from.b, kTransB ? p.k : p.n, first_column, p.n,
                                                                 p.k);
  float acc[T::kMi][T::kNi][4] = {};
  multiply_slices<kPrecision, T, !kTransA, kTransB>(ring, (p.k + kSlice - 1) / kSlice, a_loader, b_loader, acc);
  finish_tile<T>(
      acc, epilogue, first_column, p.n - first_column, p.n % 2 == 0,
      [&](int row) {
        const int r = first_row + row;
        return r < p.m ? ((p.first_batch + blockIdx.z) * p.m + r) * p.n + first_column : -1ll;
      },
      y);
}

template <class T>
struct GemmProduct {
  long long batches, rows, columns, depth;
  GemmArgs args;
  bool trans_a, trans_b;
  const T* left;
  const T* right;
  T* y;
  Epilogue<T> epilogue;

  ONNXRAY_DEVICE T a(long long z, long long row, long long k) const {
    return left[batch_offset(args, z).a + (trans_a ? k * rows + row : row * depth + k)];
  }
  ONNXRAY_DEVICE T b(long long z, long long k, long long column) const {
    return right[batch_offset(args, z).b + (trans_b ? column * depth + k : k * columns + column)];
  }
  ONNXRAY_DEVICE void store(long long z, long long row, long long column, T v) const {
    const long long at = (z * rows + row) * columns + column;
    y[at] = finish(v, epilogue, column, at);
  }
};

GemmArgs gemm_args(const GemmShape& s) {
  GemmArgs a{};
  a.m = static_cast<int>(s.m);
  a.n = static_cast<int>(s.n);
  a.k = static_cast<int>(s.k);
  a.batches = 1;
  a.batch_axes = s.batch_axes;
  for (int i = 0; i < s.batch_axes; ++i) {
    a.batch[i] = s.batch[i];
    a.a_step[i] = s.a_step[i];
    a.b_step[i] = s.b_step[i];
    a.batches *= s.batch[i];
  }
  return a;
}

template <Precision kPrecision, class T, bool kTransA, bool kTransB, int kVector>
void launch_gemm(GemmArgs p, const float* a, const float* b, float* y, const Epilogue<float>& e, Stream stream) {
  p.column_tiles = (p.n + T::kCols - 1) / T::kCols;
  const long long tiles = (p.m + T::kRows - 1ll) / T::kRows * p.column_tiles;
  if (tiles >= 1ll << 31) fail_unsupported("CUDA: a product of ", p.m, " x ", p.n, " is too large");
  for (; p.first_batch < p.batches; p.first_batch += 65535) {
    const long long batches = std::min<long long>(p.batches - p.first_batch, 65535);
    launch(gemm_tensor_core<kPrecision, T, kTransA, kTransB, kVector>,
           Dim3{static_cast<unsigned>(tiles), 1, static_cast<unsigned>(batches)}, Dim3{T::kThreads},
           sizeof(float) * kRingWords<T, !kTransA, kTransB>, stream, p, a, b, y, e);
  }
}

template <Precision kPrecision, bool kTransA, bool kTransB>
void launch_gemm_tile(const GemmArgs& p, bool vectors, bool wide, const float* a, const float* b, float* y,
                      const Epilogue<float>& e, Stream stream) {
  if (!vectors) return launch_gemm<kPrecision, MediumTile, kTransA, kTransB, 1>(p, a, b, y, e, stream);
  if (wide) return launch_gemm<kPrecision, WideTile<kPrecision>, kTransA, kTransB, 4>(p, a, b, y, e, stream);
  launch_gemm<kPrecision, MediumTile, kTransA, kTransB, 4>(p, a, b, y, e, stream);
}

template <Precision kPrecision>
void launch_gemm_precision(const GemmShape& s, const GemmArgs& p, bool vectors, bool wide, const float* a,
                           const float* b, float* y, const Epilogue<float>& e, Stream stream) {
  if (s.trans_a && s.trans_b) return launch_gemm_tile<kPrecision, true, true>(p, vectors, wide, a, b, y, e, stream);
  if (s.trans_a) return launch_gemm_tile<kPrecision, true, false>(p, vectors, wide, a, b, y, e, stream);
  if (s.trans_b) return launch_gemm_tile<kPrecision, false, true>(p, vectors, wide, a, b, y, e, stream);
  launch_gemm_tile<kPrecision, false, false>(p, vectors, wide, a, b, y, e, stream);
}

}  // namespace

void run_gemm(const GemmShape& shape, Precision precision, const float* a, const float* b, float* y,
              const Epilogue<float>& epilogue, int processors, Stream stream) {
  if (std::max({shape.m, shape.n, shape.k}) >= 1ll << 31) {
    fail_unsupported("CUDA: a matrix product of ", shape.m, " x ", shape.k, " x ", shape.n, " is too large");
  }
  const GemmArgs p = gemm_args(shape);
  // Sixteen bytes at a time need every line and every matrix of the batch to begin at 16 bytes.
  bool vectors = (shape.trans_a ? shape.m : shape.k) % 4 == 0 && (shape.trans_b ? shape.k : shape.n) % 4 == 0;
  for (int i = 0; i < p.batch_axes; ++i) vectors = vectors && p.a_step[i] % 4 == 0 && p.b_step[i] % 4 == 0;
  vectors = vectors && reinterpret_cast<std::uintptr_t>(a) % 16 == 0 && reinterpret_cast<std::uintptr_t>(b) % 16 == 0;
  const int columns = precision == Precision::kExact ? 64 : 128;
  const long long wide_tiles = (shape.m + 127) / 128 * ((shape.n + columns - 1) / columns) * p.batches;
  const bool wide = shape.m > 64 && shape.n > 32 && wide_tiles >= 2ll * processors;
  switch (precision) {
    case Precision::kExact:
      return launch_gemm_precision<Precision::kExact>(shape, p, vectors, wide, a, b, y, epilogue, stream);
    case Precision::kTf32:
      return launch_gemm_precision<Precision::kTf32>(shape, p, vectors, wide, a, b, y, epilogue, stream);
    case Precision::kBf16:
      return launch_gemm_precision<Precision::kBf16>(shape, p, vectors, wide, a, b, y, epilogue, stream);
  }
}

template <class T>
void run_gemm_general(const GemmShape& shape, const T* a, const T* b, T* y, const Epilogue<T>& epilogue,
                      Stream stream) {
  GemmProduct<T> p{};
  p.args = gemm_args(shape);
  p.batches = p.args.batches;
  p.rows = shape.m;
  p.columns = shape.n;
  p.depth = shape.k;
  p.trans_a = shape.trans_a;
  p.trans_b = shape.trans_b;
  p.left = a;
  p.right = b;
  p.y = y;
  p.epilogue = epilogue;
  run_general<T>(p, stream);
  if constexpr (std::is_floating_point_v<T>) {
    if (epilogue.out_bits != nullptr) {
      launch_pack_mask<T>(y, epilogue.out_bits, p.batches * p.rows * p.columns, stream);
    }
  }
}

template void run_gemm_general(const GemmShape&, const float*, const float*, float*, const Epilogue<float>&, Stream);
template void run_gemm_general(const GemmShape&, const double*, const double*, double*, const Epilogue<double>&,
                               Stream);
template void run_gemm_general(const GemmShape&, const std::int64_t*, const std::int64_t*, std::int64_t*,
                               const Epilogue<std::int64_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::int32_t*, const std::int32_t*, std::int32_t*,
                               const Epilogue<std::int32_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::int8_t*, const std::int8_t*, std::int8_t*,
                               const Epilogue<std::int8_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::uint8_t*, const std::uint8_t*, std::uint8_t*,
                               const Epilogue<std::uint8_t>&, Stream);

}  // namespace onnxray::cuda
