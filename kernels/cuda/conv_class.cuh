// What the float32 convolution kernels know of a launch: the problem, cut into residue classes.
#pragma once
#include "kernels/cuda/conv_axis.cuh"

namespace onnxray::cuda {
namespace {

// What the kernels need of a plan, for one launch.
struct ConvArgs {
  ConvAxis axis[3];
  bool backward;
  int images, groups, in_channels, out_channels;  // channels per group
  int classes[3];
  int column_tiles, splits;
  int packed_columns, packed_depth;  // of one class and group
};

struct ConvClass {
  GatherAxis d, h, w;
  ONNXRAY_HOST_DEVICE int positions() const { return d.count * h.count * w.count; }
  ONNXRAY_HOST_DEVICE int taps() const { return d.taps * h.taps * w.taps; }
};

ONNXRAY_HOST_DEVICE ConvClass conv_class(const ConvAxis* axis, const int* classes, bool backward, int index) {
  const int w = index % classes[2], h = index / classes[2] % classes[1], d = index / classes[2] / classes[1];
  return {gather_axis(axis[0], backward, d), gather_axis(axis[1], backward, h), gather_axis(axis[2], backward, w)};
}

}  // namespace
}  // namespace onnxray::cuda
