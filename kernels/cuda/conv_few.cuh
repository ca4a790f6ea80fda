// Convolutions with at most four output channels, above all the gradient of a picture: tensor cores would multiply
// mostly padding. Half a warp computes eight neighbouring positions of a line, its 16 threads share the source's
// channels, four each at a time; plain float32 multiply-adds in every mode.
#pragma once
#include "kernels/cuda/conv_tensor_core.cuh"

namespace onnxray::cuda {
namespace {

inline constexpr int kFewChannels = 4, kFewPositions = 8, kFewLanes = 16, kFewThreads = 256;

// The threads that differ in the bit kLanes exchange halves of their values and add: each keeps the half that its own
// bit names, and so on down to bit 1.
template <int kLanes, int kHalf>
ONNXRAY_DEVICE void halve(float (&v)[kFewPositions * kFewChannels], int part) {
  const bool upper = (part & kLanes) != 0;
#pragma unroll
  for (int j = 0; j < kHalf; ++j) {
    const float give = upper ? v[j] : v[j + kHalf], keep = upper ? v[j + kHalf] : v[j];
    v[j] = keep + __shfl_xor_sync(kFullMask, give, kLanes);
  }
  if constexpr (kLanes > 1) halve<kLanes / 2, kHalf / 2>(v, part);
}

// Grid: x units of half a warp; z class. packed: [class][tap][channel][kFewChannels], `taps` of them to a class.
ONNXRAY_KERNEL_BOUNDS(kFewThreads, 2)
conv_few(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue, int taps) {
  const int number = static_cast<int>(blockIdx.z), part = static_cast<int>(threadIdx.x) % kFewLanes;
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int across = (c.w.count + kFewPositions - 1) / kFewPositions;
  const long long unit = (static_cast<long long>(blockIdx.x) * kFewThreads + threadIdx.x) / kFewLanes;
  const bool exists = unit < static_cast<long long>(p.images) * c.d.count * c.h.count * across;
  const int first = static_cast<int>(unit % across) * kFewPositions;
  const int line = exists ? static_cast<int>(unit / across) : 0;
  const OutputPosition at = output_position(p, c, line, first);
  const int positions = !exists ? 0 : c.w.count - first < kFewPositions ? c.w.count - first : kFewPositions;
  const int channels = p.in_channels;

  float v[kFewPositions * kFewChannels] = {};
  for (int tap = 0; tap < c.taps(); ++tap) {
    const int tw = tap % c.w.taps, th = tap / c.w.taps % c.h.taps, td = tap / c.w.taps / c.h.taps;
    const int in_d = at.place.d + td * c.d.base_step, in_h = at.place.h + th * c.h.base_step;
    const int in_w = at.place.w + tw * c.w.base_step;
    if (static_cast<unsigned>(in_d) >= static_cast<unsigned>(c.d.in_extent) ||
        static_cast<unsigned>(in_h) >= static_cast<unsigned>(c.h.in_extent)) {
      continue;
    }
    const float* const row =
        in + (at.place.source +
              ((td * c.d.base_step * c.h.in_extent + th * c.h.base_step) * c.w.in_extent - at.place.w) * channels);
    const float4* const weights =
        reinterpret_cast<const float4*>(packed) + (static_cast<long long>(number) * taps + tap) * channels;
    for (int channel = 4 * part; channel < channels; channel += 4 * kFewLanes) {
      const float4 w0 = weights[channel], w1 = weights[channel + 1], w2 = weights[channel + 2],
                   w3 = weights[channel + 3];
#pragma unroll
      for (int i = 0; i < kFewPositions; ++i) {
        const int w = in_w + i * c.w.in_step;
        if (i >= positions || static_cast<unsigned>(w) >= static_cast<unsigned>(c.w.in_extent)) continue;
        const float4 x = *reinterpret_cast<const float4*>(row + w * channels + channel);
        float* const to = v + i * kFewChannels;
        to[0] += x.x * w0.x + x.y * w1.x + x.z * w2.x + x.w * w3.x;
        to[1] += x.x * w0.y + x.y * w1.y + x.z * w2.y + x.w * w3.y;
        to[2] += x.x * w0.z + x.y * w1.z + x.z * w2.z + x.w * w3.z;
        to[3] += x.x * w0.w + x.y * w1.w + x.z * w2.w + x.w * w3.w;
      }
    }
  }
  halve<kFewLanes / 2, kFewPositions * kFewChannels / 2>(v, part);
  const int position = part / 2, channel = part % 2 * 2;
  if (position >= positions) return;
  const int result = at.result + position * c.w.out_step * p.out_channels + channel;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (channel + i < p.out_channels) out[result + i] = finish(v[i], epilogue, channel + i, result + i);
  }
}

ONNXRAY_KERNEL(void) pack_few(ConvArgs p, const float* w, float* packed, int taps) {
  const int number = static_cast<int>(blockIdx.z);
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int count = taps * p.in_channels * kFewChannels, step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < count; i += step) {
    packed[static_cast<long long>(number) * count + i] = packed_weight(p, c, 0, i % kFewChannels, i / kFewChannels, w);
  }
}

}  // namespace
}  // namespace onnxray::cuda
