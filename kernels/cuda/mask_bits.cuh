// Masks of one bit per element (engine/ops/packed_mask.h), along the flat index of arrays of 32 n elements.
#pragma once
#include "kernels/cuda/portable.cuh"

namespace onnxray::cuda {

ONNXRAY_DEVICE bool mask_bit(const std::uint32_t* bits, long long at) { return (bits[at >> 5] >> (at & 31) & 1) != 0; }

// Every thread of a warp holds W neighbours r of a result of n elements, thread after thread, the first thread's at a
// multiple of 32; `i` is the thread's first. Elements from n on do not count.
template <int W, class T>
ONNXRAY_DEVICE void store_mask(std::uint32_t* bits, long long i, long long n, const T (&r)[W]) {
  std::uint32_t word = 0;
  for (int k = 0; k < W; ++k) word |= static_cast<std::uint32_t>(i + k < n && r[k] > T(0)) << (i % 32 + k);
  for (int lanes = 1; lanes < 32 / W; lanes *= 2) word |= __shfl_xor_sync(kFullMask, word, lanes);
  if (i % 32 == 0 && i < n) bits[i / 32] = word;
}

// The mask of y, for kernels that do not write it themselves.
template <class T>
ONNXRAY_KERNEL(void)
pack_mask(const T* y, std::uint32_t* bits, long long n) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const T r[1] = {y[i]};
    store_mask<1>(bits, i, n, r);
  }
}
template <class T>
void launch_pack_mask(const T* y, std::uint32_t* bits, long long n, void* stream) {
  const long long blocks = (n + 255) / 256;
  launch(pack_mask<T>, Dim3{static_cast<unsigned>(blocks < 4096 ? blocks : 4096)}, Dim3{256}, 0, stream, y, bits, n);
}

}  // namespace onnxray::cuda
