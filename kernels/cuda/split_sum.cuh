// Sums that were split: blocks of the y-th plane of a grid add their part of the slices, a second kernel adds the parts
// in order and applies the epilogue.
#pragma once
#include <algorithm>

#include "kernels/cuda/tile.cuh"

namespace onnxray::cuda {
namespace {

// The part of a sum of `all` slices that this block adds.
struct Slices {
  int begin, count;
};
ONNXRAY_DEVICE Slices slices_of(int all, int splits) {
  const int split = static_cast<int>(blockIdx.y);
  const int begin = static_cast<int>(static_cast<long long>(all) * split / splits);
  return {begin, static_cast<int>(static_cast<long long>(all) * (split + 1) / splits) - begin};
}

// partial: [splits, elements]. Four neighbours to a thread: channels are a multiple of four.
ONNXRAY_KERNEL(void)
add_splits_by_four(const float* partial, float* out, Epilogue<float> epilogue, int splits, int channels,
                   long long elements) {
  const long long step = 4ll * gridDim.x * blockDim.x;
  for (long long i = 4ll * (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x); i < elements; i += step) {
    float4 v = *reinterpret_cast<const float4*>(partial + i);
    for (int s = 1; s < splits; ++s) {
      const float4 more = *reinterpret_cast<const float4*>(partial + s * elements + i);
      v = make_float4(v.x + more.x, v.y + more.y, v.z + more.z, v.w + more.w);
    }
    const int channel = static_cast<int>(i % channels);
    const float r[4] = {finish(v.x, epilogue, channel, i), finish(v.y, epilogue, channel + 1, i + 1),
                        finish(v.z, epilogue, channel + 2, i + 2), finish(v.w, epilogue, channel + 3, i + 3)};
    *reinterpret_cast<float4*>(out + i) = make_float4(r[0], r[1], r[2], r[3]);
    if (epilogue.out_bits != nullptr) store_mask<4>(epilogue.out_bits, i, elements, r);
  }
}
ONNXRAY_KERNEL(void)
add_splits(const float* partial, float* out, Epilogue<float> epilogue, int splits, int channels, long long elements) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += step) {
    float v = partial[i];
    for (int s = 1; s < splits; ++s) v += partial[s * elements + i];
    const float r[1] = {finish(v, epilogue, i % channels, i)};
    out[i] = r[0];
    if (epilogue.out_bits != nullptr) store_mask<1>(epilogue.out_bits, i, elements, r);
  }
}

// The second kernel; `channels` is the result's innermost extent.
void launch_add_splits(const float* partial, float* out, const Epilogue<float>& epilogue, int splits, int channels,
                       long long elements, Stream stream) {
  const bool by_four = channels % 4 == 0;
  const long long threads = by_four ? elements / 4 : elements;
  launch(by_four ? add_splits_by_four : add_splits,
         Dim3{static_cast<unsigned>(std::min<long long>(4096, (threads + 255) / 256))}, Dim3{256}, 0, stream, partial,
         out, epilogue, splits, channels, elements);
}

}  // namespace
}  // namespace onnxray::cuda
