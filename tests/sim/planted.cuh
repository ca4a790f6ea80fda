// Kernels with and without planted bugs, for the tests of the simulator and of its race detector.
#pragma once
#include "kernels/cuda/portable.cuh"

namespace planted {
namespace cuda = onnxray::cuda;

// y = the block's reversed x, through shared memory.
template <bool kBarrier>
ONNXRAY_KERNEL(void)
reverse(const float* x, float* y) {
  ONNXRAY_SHARED(float, tile);
  const unsigned i = threadIdx.x, first = blockIdx.x * blockDim.x;
  tile[i] = x[first + i];
  if constexpr (kBarrier) __syncthreads();
  y[first + i] = tile[blockDim.x - 1 - i];
}

// Sums 32 numbers per round through one array: without the barrier at the end of a round a fast warp overwrites what a
// slow one still reads.
template <bool kBarrier>
ONNXRAY_KERNEL(void)
rounds(const float* x, float* y, int count) {
  ONNXRAY_SHARED(float, tile);
  const unsigned threads = blockDim.x;
  float sum = 0;
  for (int round = 0; round < count; ++round) {
    tile[threadIdx.x] = x[static_cast<unsigned>(round) * threads + threadIdx.x];
    __syncthreads();
    for (unsigned i = 0; i < threads; ++i) sum += tile[i];
    if constexpr (kBarrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

// One warp through shared memory with and without __syncwarp; shuffles do not order memory.
template <bool kSync>
ONNXRAY_KERNEL(void)
within_warp(float* y) {
  ONNXRAY_SHARED(float, tile);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (kSync) __syncwarp();
  float x = tile[threadIdx.x ^ 1u];
  x = cuda::warp_sum(x);
  y[threadIdx.x] = x;
}

// Sums tiles that cp.async brings through a ring of `kStages` buffers. kLate: groups that may be pending when a tile is
// read beyond what is right (1 is the off-by-one bug).
template <int kStages, int kLate>
ONNXRAY_KERNEL(void)
pipeline(const float* x, float* y, int tiles) {
  ONNXRAY_SHARED(float, ring);
  const int words = 4 * static_cast<int>(blockDim.x), t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int tile) {
    if (tile < tiles) cuda::copy_async_16(ring + tile % kStages * words + 4 * t, x + tile * words + 4 * t);
    cuda::copy_async_commit();
  };
  for (int s = 0; s < kStages - 1; ++s) fetch(s);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    cuda::copy_async_wait<kStages - 2 + kLate>();
    __syncthreads();
    fetch(tile + kStages - 1);
    for (int i = 0; i < words; ++i) sum += ring[tile % kStages * words + i];
  }
  cuda::copy_async_wait<0>();
  y[t] = sum;
}

ONNXRAY_KERNEL(void) past_shared(float* y, int index) {
  ONNXRAY_SHARED(float, tile);
  tile[index] = 1;
  y[threadIdx.x] = 0;
}
ONNXRAY_KERNEL(void) past_global(float* y, int index) { y[index] = 1; }
ONNXRAY_KERNEL(void) read_unwritten(float* y) {
  ONNXRAY_SHARED(float, tile);
  y[threadIdx.x] = tile[threadIdx.x];
}
ONNXRAY_KERNEL(void) leave_with_copies(const float* x) {
  ONNXRAY_SHARED(float, tile);
  cuda::copy_async_16(tile, x);
  cuda::copy_async_commit();
}
ONNXRAY_KERNEL(void) misaligned_copy(const float* x) {
  ONNXRAY_SHARED(float, tile);
  cuda::copy_async_16(tile, x + 1);
}
ONNXRAY_KERNEL(void) copy_past_source(const float* x, int index) {
  ONNXRAY_SHARED(float, tile);
  cuda::copy_async_16(tile, x + index);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
}
ONNXRAY_KERNEL(void) barrier_in_half() {
  if (threadIdx.x < 16) __syncthreads();
}
ONNXRAY_KERNEL(void) two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
ONNXRAY_KERNEL(void) half_shuffles(float* y) {
  float x = 1;
  if (threadIdx.x < 16) {
    x = __shfl_xor_sync(cuda::kFullMask, x, 1);
  } else {
    x += static_cast<float>(__ballot_sync(cuda::kFullMask, 1));
  }
  y[threadIdx.x] = x;
}
ONNXRAY_KERNEL(void) shuffle_and_barrier(float* y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = __shfl_xor_sync(cuda::kFullMask, 1.0f, 1);
  } else {
    __syncthreads();
  }
}
ONNXRAY_KERNEL(void) outside_mask(float* y) { y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1); }

// Two blocks write one word: a race between blocks.
template <bool kAtomic>
ONNXRAY_KERNEL(void)
between_blocks(float* y) {
  if (threadIdx.x != 0) return;
  if constexpr (kAtomic) {
    atomicAdd(y, 1.0f);
  } else {
    y[0] += 1;
  }
}

}  // namespace planted
