// Depthwise convolution, channels last, on plain multiply-adds: there is nothing to share between channels.
#pragma once
#include "kernels/cuda/conv_class.cuh"
#include "kernels/cuda/tile.cuh"

namespace onnxray::cuda {
namespace {

// packed[tap][channel] of a depthwise convolution.
ONNXRAY_KERNEL(void) pack_depthwise(int channels, int kernel, const float* w, float* packed) {
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < channels * kernel; i += step) {
    packed[i] = w[static_cast<long long>(i % channels) * kernel + i / channels];
  }
}

constexpr int kDepthwiseColumns = 4;

// One thread: kVector channels of kDepthwiseColumns neighbouring positions (of one class) along the width. Neighbours
// in the block read the same source pixels, so these come from the L1 cache. z: the class.
template <int kVector>
ONNXRAY_KERNEL_BOUNDS(128, 4)
conv_depthwise(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue) {
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, static_cast<int>(blockIdx.z));
  const int vectors = p.groups / kVector;
  const int strips = (c.w.count + kDepthwiseColumns - 1) / kDepthwiseColumns;
  const long long number = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (number >= static_cast<long long>(p.images) * c.d.count * c.h.count * strips * vectors) return;
  const int channel = static_cast<int>(number % vectors) * kVector;
  const long long rest = number / vectors;
  const int w0 = static_cast<int>(rest % strips) * kDepthwiseColumns;
  const OutputPosition at = output_position(p, c, static_cast<int>(rest / strips), w0);

  float acc[kDepthwiseColumns][kVector] = {};
  for (int td = 0; td < c.d.taps; ++td) {
    const int sd = at.place.d + td * c.d.base_step;
    if (sd < 0 || sd >= c.d.in_extent) continue;
    for (int th = 0; th < c.h.taps; ++th) {
      const int sh = at.place.h + th * c.h.base_step;
      if (sh < 0 || sh >= c.h.in_extent) continue;
      const float* line =
          in + (at.place.source +
                ((td * c.d.base_step * c.h.in_extent + th * c.h.base_step) * c.w.in_extent - at.place.w) * p.groups);
      const int tap = ((c.d.tap_first + td * c.d.tap_step) * p.axis[1].kernel + c.h.tap_first + th * c.h.tap_step) *
                          p.axis[2].kernel +
                      c.w.tap_first;
      for (int tw = 0; tw < c.w.taps; ++tw) {
        const float* weight = packed + static_cast<long long>(tap + tw * c.w.tap_step) * p.groups + channel;
        float k[kVector];
        if constexpr (kVector == 4) {
          const float4 v = *reinterpret_cast<const float4*>(weight);
          k[0] = v.x, k[1] = v.y, k[2] = v.z, k[3] = v.w;
        } else {
          k[0] = weight[0];
        }
#pragma unroll
        for (int i = 0; i < kDepthwiseColumns; ++i) {
          const int sw = at.place.w + i * c.w.in_step + tw * c.w.base_step;
          if (sw < 0 || sw >= c.w.in_extent) continue;
          const float* from = line + static_cast<long long>(sw) * p.groups + channel;
          if constexpr (kVector == 4) {
            const float4 v = *reinterpret_cast<const float4*>(from);
            acc[i][0] += k[0] * v.x;
            acc[i][1] += k[1] * v.y;
            acc[i][2] += k[2] * v.z;
            acc[i][3] += k[3] * v.w;
          } else {
            acc[i][0] += k[0] * from[0];
          }
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kDepthwiseColumns; ++i) {
    if (w0 + i >= c.w.count) continue;
    const int result = at.result + i * c.w.out_step * p.groups + channel;
    if constexpr (kVector == 4) {
      finish_pair(acc[i][0], acc[i][1], epilogue, channel, result, out);
      finish_pair(acc[i][2], acc[i][3], epilogue, channel + 2, result + 2, out);
    } else {
      out[result] = finish(acc[i][0], epilogue, channel, result);
    }
  }
}

}  // namespace
}  // namespace onnxray::cuda
