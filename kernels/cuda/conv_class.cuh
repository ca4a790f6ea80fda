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

// One output position: where its result begins, and its first tap's source, which may lie outside: the coordinates and
// the element, both of the first channel of the first group.
struct RowPlace {
  int source, d, h, w;
};
struct OutputPosition {
  RowPlace place;
  int result;
};
// Position `w` of a line of the class; lines are numbered over images, depths and heights. A launch has fewer than 2^31
// elements on either side.
ONNXRAY_DEVICE OutputPosition output_position(const ConvArgs& p, const ConvClass& c, int line, int w) {
  const int h = line % c.h.count, above = line / c.h.count, d = above % c.d.count, image = above / c.d.count;
  const int out_d = p.backward ? p.axis[0].x : p.axis[0].y, out_h = p.backward ? p.axis[1].x : p.axis[1].y;
  const int out_w = p.backward ? p.axis[2].x : p.axis[2].y;
  RowPlace at;
  at.d = c.d.base + d * c.d.in_step;
  at.h = c.h.base + h * c.h.in_step;
  at.w = c.w.base + w * c.w.in_step;
  at.source =
      (((image * c.d.in_extent + at.d) * c.h.in_extent + at.h) * c.w.in_extent + at.w) * p.groups * p.in_channels;
  const int result = (((image * out_d + c.d.first + d * c.d.out_step) * out_h + c.h.first + h * c.h.out_step) * out_w +
                      c.w.first + w * c.w.out_step) *
                     p.groups * p.out_channels;
  return {at, result};
}

}  // namespace
}  // namespace onnxray::cuda
