// One spatial axis of a convolution read as a gather, forward and backward alike: the i-th output position of a residue
// class, first + i * out_step, takes for its tap number j, which is tap tap_first + j * tap_step of the weights, the
// source element base + i * in_step + j * base_step, if that exists. Forward there is one class. Backward, dx[h] takes
// dy[(h + begin - t * dilation) / stride] where that division is exact: for each residue of h modulo the stride another
// subset of the taps, so no multiplication is with a hole.
#pragma once
#include "kernels/cuda/conv.h"
#include "kernels/cuda/portable.cuh"

namespace onnxray::cuda {

struct GatherAxis {
  int count, first, out_step;               // output positions of the class
  int in_extent, in_step, base, base_step;  // source coordinates
  int taps, tap_first, tap_step;
};

ONNXRAY_HOST_DEVICE int class_count(const ConvAxis& a, bool backward) {
  return !backward ? 1 : a.stride < a.x ? a.stride : a.x;
}

ONNXRAY_HOST_DEVICE GatherAxis gather_axis(const ConvAxis& a, bool backward, int residue) {
  if (!backward) return {a.y, 0, 1, a.x, a.stride, -a.begin, a.dilation, a.kernel, 0, 1};
  GatherAxis g{};
  g.first = residue;
  g.out_step = a.stride;
  g.count = (a.x - residue - 1) / a.stride + 1;
  g.in_extent = a.y;
  g.in_step = 1;
  // Taps whose offset agrees with the residue: an arithmetic progression, empty or beginning below the stride.
  int period = 1;
  while (period * a.dilation % a.stride != 0) ++period;
  int t = 0;
  while (t < period && (residue + a.begin - t * a.dilation) % a.stride != 0) ++t;
  g.tap_first = t;
  g.tap_step = period;
  g.taps = t < period && t < a.kernel ? (a.kernel - 1 - t) / period + 1 : 0;
  g.base = (residue + a.begin - t * a.dilation) / a.stride;
  g.base_step = -(period * a.dilation / a.stride);
  return g;
}

}  // namespace onnxray::cuda
