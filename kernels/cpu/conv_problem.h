// What a convolution kernel needs to know, read once from a node: which of the two directions, extents, element strides
// for either layout, epilogues.
#pragma once
#include <vector>

#include "engine/ops/conv_window.h"
#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

// [N, groups * channels, space] with element strides; channels per group.
struct ConvSide {
  std::int64_t channels = 0;
  Extents space{1, 1, 1};
  std::int64_t batch_stride = 0, channel_stride = 0;
  Extents stride{0, 0, 0};
};

struct ConvProblem {
  bool input_grad = false, channels_last = false;
  std::int64_t batch = 0, groups = 1;
  ConvSide x, y;  // of the convolution: x [N, C, in], y [N, K, out], whichever of them is read
  Window window;
  std::size_t spatial_rank = 2;
  bool bias = false, relu = false;
  std::size_t sum = 0, mask = 0;  // input indices; 0: none

  [[nodiscard]] const ConvSide& in() const { return input_grad ? y : x; }
  [[nodiscard]] const ConvSide& out() const { return input_grad ? x : y; }
};

[[nodiscard]] ConvSide conv_side(const Dims& dims, std::int64_t groups, bool channels_last);
[[nodiscard]] ConvProblem conv_problem(const PrepareCtx& c, bool input_grad);

// One spatial axis of a convolution read as a gather: output position first + i * out_step, for i in [0, count), takes
// for each listed tap t the input element base[t] + i * in_step, if that exists. Backward-data has one such plan per
// residue class of the stride, so that no multiplication is with a hole.
struct AxisPlan {
  std::int64_t count = 0, first = 0, out_step = 1, in_step = 1, in_extent = 0;
  std::vector<std::int64_t> tap, base;
};

struct GatherPlan {
  AxisPlan axis[3];
  [[nodiscard]] std::int64_t positions() const { return axis[0].count * axis[1].count * axis[2].count; }
  [[nodiscard]] std::int64_t taps() const {
    return static_cast<std::int64_t>(axis[0].tap.size() * axis[1].tap.size() * axis[2].tap.size());
  }
};
[[nodiscard]] std::vector<GatherPlan> gather_plans(const ConvProblem& p);

// The kernels of conv.cpp, which oneDNN's fall back to.
[[nodiscard]] Step plain_conv(const PrepareCtx& c, bool input_grad);

}  // namespace onnxray::cpu
