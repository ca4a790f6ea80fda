// A plain tiled matrix product whose operands are given by functions: the kernel for float64, integers, any layout, and
// what the fast ones do not take. Sums run in ascending order in T.
#pragma once
#include "kernels/cuda/tile.cuh"

namespace onnxray::cuda {

inline constexpr int kGeneralTile = 32, kGeneralDepth = 16, kGeneralThreads = 128;

template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<std::int8_t> {
  using type = std::uint64_t;  // wraps around instead of overflowing
};
template <>
struct Accumulator<std::uint8_t> {
  using type = std::uint64_t;
};
template <>
struct Accumulator<std::int32_t> {
  using type = std::uint64_t;
};
template <>
struct Accumulator<std::int64_t> {
  using type = std::uint64_t;
};

// Problem: members long long rows, columns, depth for a batch z; T a(z, row, k); T b(z, k, column); void store(z, row,
// column, T sum). Blocks: x tiles, columns fastest; z batches.
template <class T, class Problem>
ONNXRAY_KERNEL_BOUNDS(kGeneralThreads, 4)
multiply_general(Problem p) {
  using Sum = typename Accumulator<T>::type;
  constexpr int kLineA = kGeneralDepth + 1, kLineB = kGeneralTile + 1,
                kPer = kGeneralTile * kGeneralTile / kGeneralThreads;
  ONNXRAY_SHARED(T, a_tile);
  T* const b_tile = a_tile + kGeneralTile * kLineA;
  const long long tiles = (p.columns + kGeneralTile - 1) / kGeneralTile;
  const long long row0 = blockIdx.x / tiles * kGeneralTile, column0 = blockIdx.x % tiles * kGeneralTile;
  const int t = static_cast<int>(threadIdx.x), column = t % kGeneralTile, row = t / kGeneralTile;
  constexpr int kDown = kGeneralThreads / kGeneralTile;
  for (long long z = blockIdx.z; z < p.batches; z += gridDim.z) {
    Sum sum[kPer] = {};
    for (long long k0 = 0; k0 < p.depth; k0 += kGeneralDepth) {
      for (int i = t; i < kGeneralTile * kGeneralDepth; i += kGeneralThreads) {
        const int r = i / kGeneralDepth, k = i % kGeneralDepth;
        a_tile[r * kLineA + k] = row0 + r < p.rows && k0 + k < p.depth ? p.a(z, row0 + r, k0 + k) : T{0};
        const int kb = i / kGeneralTile, c = i % kGeneralTile;
        b_tile[kb * kLineB + c] = column0 + c < p.columns && k0 + kb < p.depth ? p.b(z, k0 + kb, column0 + c) : T{0};
      }
      __syncthreads();
      for (int k = 0; k < kGeneralDepth; ++k) {
        const Sum b = static_cast<Sum>(b_tile[k * kLineB + column]);
#pragma unroll
        for (int i = 0; i < kPer; ++i) sum[i] += static_cast<Sum>(a_tile[(row + i * kDown) * kLineA + k]) * b;
      }
      __syncthreads();
    }
    for (int i = 0; i < kPer; ++i) {
      const long long r = row0 + row + i * kDown;
      if (r < p.rows && column0 + column < p.columns) p.store(z, r, column0 + column, static_cast<T>(sum[i]));
    }
  }
}

template <class T, class Problem>
void run_general(const Problem& p, Stream stream) {
  const long long tiles = (p.rows + kGeneralTile - 1) / kGeneralTile * ((p.columns + kGeneralTile - 1) / kGeneralTile);
  if (tiles >= 1ll << 31) fail_unsupported("CUDA: a product of ", p.rows, " x ", p.columns, " is too large");
  const long long batches = p.batches < 65535 ? p.batches : 65535;
  const std::size_t shared = sizeof(T) * (kGeneralTile * (kGeneralDepth + 1) + kGeneralDepth * (kGeneralTile + 1));
  launch(multiply_general<T, Problem>, Dim3{static_cast<unsigned>(tiles), 1, static_cast<unsigned>(batches)},
         Dim3{kGeneralThreads}, shared, stream, p);
}

}  // namespace onnxray::cuda
