#include "kernels/cpu/conv_problem.h"

namespace onnxray::cpu {
namespace {

AxisPlan forward_axis(const Window& w, std::size_t a, std::int64_t in, std::int64_t out) {
  AxisPlan p;
  p.count = out;
  p.in_step = w.stride[a];
  p.in_extent = in;
  for (std::int64_t t = 0; t < w.kernel[a]; ++t) {
    p.tap.push_back(t);
    p.base.push_back(t * w.dilation[a] - w.begin[a]);
  }
  return p;
}

// Input positions of one residue class: those with (position + begin) % stride == residue.
AxisPlan backward_axis(const Window& w, std::size_t a, std::int64_t in, std::int64_t out, std::int64_t first) {
  AxisPlan p;
  p.first = first;
  p.out_step = w.stride[a];
  p.count = first < in ? (in - first - 1) / w.stride[a] + 1 : 0;
  p.in_extent = out;
  for (std::int64_t t = 0; t < w.kernel[a]; ++t) {
    const std::int64_t at = first + w.begin[a] - t * w.dilation[a];
    if (at % w.stride[a] != 0) continue;
    p.tap.push_back(t);
    p.base.push_back(at / w.stride[a]);
  }
  return p;
}

}  // namespace

ConvSide conv_side(const Dims& dims, std::int64_t groups, bool channels_last) {
  const SpatialDims d = spatial_dims(dims, channels_last);
  ConvSide s;
  s.channels = d.channels / groups;
  s.space = align3(d.space, 1);
  const std::int64_t unit = channels_last ? d.channels : 1;
  s.stride = {unit * s.space[1] * s.space[2], unit * s.space[2], unit};
  s.channel_stride = channels_last ? 1 : s.space[0] * s.stride[0];
  s.batch_stride = d.channels * s.space[0] * s.space[1] * s.space[2];
  return s;
}

ConvProblem conv_problem(const PrepareCtx& c, bool input_grad) {
  ConvProblem p;
  p.input_grad = input_grad;
  p.channels_last = is_channels_last(c.attrs);
  p.groups = c.attrs.integer("group", 1);
  p.batch = c.dims(0)[0];
  p.x = conv_side(input_grad ? c.out_dims() : c.dims(0), p.groups, p.channels_last);
  p.y = conv_side(input_grad ? c.dims(0) : c.out_dims(), p.groups, p.channels_last);
  const Dims& w = c.dims(1);
  p.window = read_window(c.attrs, std::span(w).subspan(2));
  p.spatial_rank = w.size() - 2;
  p.bias = c.has(2);
  p.relu = c.attrs.integer("relu", 0) != 0;
  p.sum = static_cast<std::size_t>(c.attrs.integer("sum_input", 0));
  p.mask = static_cast<std::size_t>(c.attrs.integer("mask_input", 0));
  return p;
}

std::vector<GatherPlan> gather_plans(const ConvProblem& p) {
  const Window& w = p.window;
  if (!p.input_grad) {
    GatherPlan g;
    for (std::size_t a = 0; a < 3; ++a) g.axis[a] = forward_axis(w, a, p.x.space[a], p.y.space[a]);
    return {g};
  }
  std::vector<AxisPlan> axes[3];
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::int64_t r = 0; r < std::min(w.stride[a], p.x.space[a]); ++r) {
      axes[a].push_back(backward_axis(w, a, p.x.space[a], p.y.space[a], r));
    }
  }
  std::vector<GatherPlan> plans;
  for (const AxisPlan& d : axes[0]) {
    for (const AxisPlan& h : axes[1]) {
      for (const AxisPlan& v : axes[2]) plans.push_back({{d, h, v}});
    }
  }
  return plans;
}

}  // namespace onnxray::cpu
