// Convolution and backward-data in float32. Backward-data with stride 1 runs as a forward convolution on flipped and
// transposed weights, which takes a residual sum and a ReLU as post-ops and is as fast as the forward pass; with other
// strides it is oneDNN's own backward_data followed by one pass for the epilogues.
#include <cstring>

#include "kernels/cpu/conv_problem.h"
#include "kernels/cpu/onednn/kernels.h"
#include "kernels/cpu/onednn/onednn.h"

namespace onnxray::cpu::onednn {
namespace {

using dnnl::algorithm;
using dnnl::prop_kind;

// A convolution in oneDNN's terms, all spatial vectors of the node's own rank.
struct Geometry {
  MdDims src, dst, weights;  // weights with a leading group axis when there are groups
  MdDims strides, dilates, left, right;
  bool channels_last = false;
  bool grouped = false;
};

template <class A>
MdDims tail(const A& a, std::size_t rank) {
  return {a.end() - static_cast<std::ptrdiff_t>(rank), a.end()};
}

MdDims image_dims(const ConvProblem& p, const ConvSide& side) {
  MdDims d{p.batch, side.channels * p.groups};
  for (const std::int64_t e : tail(side.space, p.spatial_rank)) d.push_back(e);
  return d;
}

Md image(const MdDims& dims, bool channels_last) {
  MdDims s(dims.size(), 1);
  std::int64_t step = channels_last ? dims[1] : 1;
  for (std::size_t i = dims.size(); i-- > 2;) {
    s[i] = step;
    step *= dims[i];
  }
  if (!channels_last) {
    s[1] = step;
    step *= dims[1];
  }
  s[0] = step;
  return strided(dims, s);
}

MdDims dense_strides(const MdDims& dims) {
  MdDims s(dims.size(), 1);
  for (std::size_t i = dims.size() - 1; i-- > 0;) s[i] = s[i + 1] * dims[i + 1];
  return s;
}

Geometry geometry_of(const ConvProblem& p) {
  Geometry g;
  g.channels_last = p.channels_last;
  g.grouped = p.groups > 1;
  g.src = image_dims(p, p.x);
  g.dst = image_dims(p, p.y);
  if (g.grouped) g.weights.push_back(p.groups);
  g.weights.push_back(p.y.channels);
  g.weights.push_back(p.x.channels);
  for (const std::int64_t k : tail(p.window.kernel, p.spatial_rank)) g.weights.push_back(k);
  g.strides = tail(p.window.stride, p.spatial_rank);
  g.dilates = tail(p.window.dilation, p.spatial_rank);
  for (std::int64_t& d : g.dilates) --d;
  g.left = tail(p.window.begin, p.spatial_rank);
  const std::size_t first = 3 - p.spatial_rank;
  for (std::size_t a = first; a < 3; ++a) {
    // The trailing padding the last window really touches; what no window reaches needs none.
    const std::int64_t touched =
        (p.y.space[a] - 1) * p.window.stride[a] + p.window.reach(a) - p.x.space[a] - p.window.begin[a];
    g.right.push_back(p.window.end[a] < 0 ? touched : std::max<std::int64_t>(0, touched));
  }
  return g;
}

// Backward-data with stride 1 as a forward convolution from dy to dx.
Geometry flipped(const Geometry& f, const ConvProblem& p) {
  Geometry g = f;
  std::swap(g.src, g.dst);
  const std::size_t o = f.grouped ? 1 : 0;
  std::swap(g.weights[o], g.weights[o + 1]);
  for (std::size_t i = 0; i < f.left.size(); ++i) {
    const std::int64_t edge = p.window.reach(i + 3 - p.spatial_rank) - 1;
    g.left[i] = edge - f.left[i];
    g.right[i] = edge - f.right[i];
  }
  return g;
}

// out[g][c][k][R-1-r][S-1-s] = w[g][k][c][r][s]
Transform flip(const ConvProblem& p) {
  const std::int64_t groups = p.groups, kg = p.y.channels, cg = p.x.channels, taps = p.window.taps();
  return {"flipped ", groups * kg * cg * taps, [=](const float* w, float* out) {
            for (std::int64_t g = 0; g < groups; ++g) {
              for (std::int64_t k = 0; k < kg; ++k) {
                for (std::int64_t c = 0; c < cg; ++c) {
                  const float* from = w + ((g * kg + k) * cg + c) * taps;
                  float* to = out + ((g * cg + c) * kg + k) * taps;
                  for (std::int64_t t = 0; t < taps; ++t) to[taps - 1 - t] = from[t];
                }
              }
            }
          }};
}

bool possible(const Geometry& g) {
  for (const MdDims* d : {&g.src, &g.dst, &g.weights}) {
    for (const std::int64_t e : *d) {
      if (e <= 0 || e > INT32_MAX) return false;
    }
  }
  for (const MdDims* d : {&g.left, &g.right, &g.dilates, &g.strides}) {
    for (const std::int64_t e : *d) {
      if (e < 0 || e > INT32_MAX / 2) return false;
    }
  }
  return true;
}

// One operand that the node holds in its own layout and the primitive maybe in another.
struct Side {
  Md user, own;
  bool same = true;
  std::size_t at = 0;  // in scratch, if not the same

  Side(const Md& user, const Md& own, Scratch& scratch) : user(user), own(own), same(user == own) {
    if (!same) at = scratch.take(own.get_size());
  }
};

// What is left to do on the result in the node's own layout.
struct Finish {
  std::int64_t elements = 0, channels = 0, inner = 1;  // channel of element i: i / inner % channels
  bool bias = false, relu = false;
  std::size_t sum = 0, mask = 0;

  [[nodiscard]] bool needed() const { return bias || relu || sum != 0 || mask != 0; }
  // y from x, which may be y itself.
  void run(const RunArgs& a, const float* x, float* y) const {
    const float* r = sum != 0 ? static_cast<const float*>(a.in[sum]) : nullptr;
    const float* m = mask != 0 ? static_cast<const float*>(a.in[mask]) : nullptr;
    const float* b = bias ? static_cast<const float*>(a.in[2]) : nullptr;
    parallel_for(elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      if (b != nullptr) {
        for (std::int64_t i = begin; i < end; ++i) y[i] = x[i] + b[i / inner % channels];
        if (r != nullptr) {
          for (std::int64_t i = begin; i < end; ++i) y[i] += r[i];
        }
      } else if (r != nullptr) {
        for (std::int64_t i = begin; i < end; ++i) y[i] = x[i] + r[i];
      } else if (x != y) {
        std::memcpy(y + begin, x + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
      }
      if (relu) {
        for (std::int64_t i = begin; i < end; ++i) y[i] = y[i] < 0 ? 0 : y[i];
      }
      if (m != nullptr) {
        for (std::int64_t i = begin; i < end; ++i) y[i] = m[i] > 0 ? y[i] : 0;
      }
    });
  }
};

Finish finish_of(const ConvProblem& p) {
  const ConvSide& out = p.out();
  Finish f;
  f.channels = out.channels * p.groups;
  f.inner = p.channels_last ? 1 : out.space[0] * out.space[1] * out.space[2];
  f.elements = p.batch * f.channels * out.space[0] * out.space[1] * out.space[2];
  return f;
}

dnnl::primitive_attr attributes(bool sum, bool relu) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops ops;
  if (sum) ops.append_sum(1.0F);
  if (relu) ops.append_eltwise(1.0F, algorithm::eltwise_relu, 0.0F, 0.0F);
  attr.set_post_ops(ops);
  return attr;
}

// src and dst in the node's layout when it is NHWC; from NCHW oneDNN chooses a blocked one and we reorder.
std::optional<Step> forward(const PrepareCtx& c, const ConvProblem& p, const Geometry& g, Transform transform) {
  const Md src = image(g.src, g.channels_last), dst = image(g.dst, g.channels_last);
  const Md bias = any({g.dst[1]});
  const auto pd = accepted([&] {
    const Md s = g.channels_last ? src : any(g.src), d = g.channels_last ? dst : any(g.dst), w = any(g.weights);
    const dnnl::primitive_attr attr = attributes(p.sum != 0, p.relu);
    const auto kind = prop_kind::forward_inference;
    const auto how = algorithm::convolution_direct;
    if (p.bias) {
      return dnnl::convolution_forward::primitive_desc(
          {kind, how, s, w, bias, d, g.strides, g.dilates, g.left, g.right}, attr, engine());
    }
    return dnnl::convolution_forward::primitive_desc({kind, how, s, w, d, g.strides, g.dilates, g.left, g.right}, attr,
                                                     engine());
  });
  if (!pd) return std::nullopt;
  Scratch scratch;
  const Side in(src, pd->src_desc(), scratch), out(dst, pd->dst_desc(), scratch);
  const auto weights = std::make_shared<const Weights>(c, 1, strided(g.weights, dense_strides(g.weights)),
                                                       pd->weights_desc(), scratch, std::move(transform));
  std::optional<Reorder> reorder_in, reorder_out, reorder_sum;
  if (!in.same) reorder_in.emplace(in.user, in.own, scratch);
  if (!out.same) reorder_out.emplace(out.own, out.user, scratch);
  if (!out.same && p.sum != 0) reorder_sum.emplace(out.user, out.own, scratch);
  const Md pad = pd->scratchpad_desc(), wmd = pd->weights_desc(), bmd = p.bias ? pd->bias_desc() : Md();
  const std::size_t pad_at = scratch.take(pad.get_size());
  Finish finish = finish_of(p);
  finish.mask = p.mask;
  const dnnl::convolution_forward primitive(*pd);
  Step step;
  step.scratch_bytes = scratch.bytes();
  step.run = [=, has_bias = p.bias, sum = p.sum](const RunArgs& a) {
    guarded("convolution", [&] {
      dnnl::stream s(engine());
      const void* x = a.in[0];
      void* y = a.out[0];
      if (reorder_in) {
        reorder_in->run(s, x, a.scratch + in.at, a.scratch);
        x = a.scratch + in.at;
      }
      if (reorder_out) y = a.scratch + out.at;
      if (sum != 0) {
        if (reorder_sum) reorder_sum->run(s, a.in[sum], y, a.scratch);
        else if (y != a.in[sum]) std::memcpy(y, a.in[sum], out.own.get_size());
      }
      std::unordered_map<int, dnnl::memory> args{{DNNL_ARG_SRC, memory(in.own, x)},
                                                 {DNNL_ARG_WEIGHTS, memory(wmd, weights->get(s, a.in[1], a.scratch))},
                                                 {DNNL_ARG_DST, memory(out.own, y)},
                                                 {DNNL_ARG_SCRATCHPAD, memory(pad, a.scratch + pad_at)}};
      if (has_bias) args.emplace(DNNL_ARG_BIAS, memory(bmd, a.in[2]));
      primitive.execute(s, args);
      if (reorder_out) reorder_out->run(s, y, a.out[0], a.scratch);
      s.wait();
    });
    if (finish.needed()) finish.run(a, static_cast<const float*>(a.out[0]), static_cast<float*>(a.out[0]));
  };
  return step;
}

std::optional<Step> backward(const PrepareCtx& c, const ConvProblem& p, const Geometry& g) {
  const Md dx = image(g.src, g.channels_last), dy = image(g.dst, g.channels_last);
  const auto pd = accepted([&] {
    const Md s = g.channels_last ? dx : any(g.src), d = g.channels_last ? dy : any(g.dst), w = any(g.weights);
    const dnnl::primitive_attr attr = attributes(false, false);
    const auto how = algorithm::convolution_direct;
    const dnnl::convolution_forward::primitive_desc hint(
        {prop_kind::forward_training, how, s, w, d, g.strides, g.dilates, g.left, g.right}, attr, engine());
    return dnnl::convolution_backward_data::primitive_desc({how, s, w, d, g.strides, g.dilates, g.left, g.right}, attr,
                                                           engine(), hint);
  });
  if (!pd) return std::nullopt;
  Scratch scratch;
  const Side in(dy, pd->diff_dst_desc(), scratch), out(dx, pd->diff_src_desc(), scratch);
  const auto weights =
      std::make_shared<const Weights>(c, 1, strided(g.weights, dense_strides(g.weights)), pd->weights_desc(), scratch);
  std::optional<Reorder> reorder_in, reorder_out;
  if (!in.same) reorder_in.emplace(in.user, in.own, scratch);
  if (!out.same) reorder_out.emplace(out.own, out.user, scratch);
  const Md pad = pd->scratchpad_desc(), wmd = pd->weights_desc();
  const std::size_t pad_at = scratch.take(pad.get_size());
  Finish finish = finish_of(p);
  finish.bias = p.bias;
  finish.relu = p.relu;
  finish.sum = p.sum;
  finish.mask = p.mask;
  // The residual may lie where the result goes, so the raw result goes elsewhere first.
  const std::size_t raw_at = p.sum != 0 ? scratch.take(dx.get_size()) : 0;
  const dnnl::convolution_backward_data primitive(*pd);
  Step step;
  step.scratch_bytes = scratch.bytes();
  step.run = [=, sum = p.sum](const RunArgs& a) {
    void* raw = sum != 0 ? static_cast<void*>(a.scratch + raw_at) : a.out[0];
    guarded("backward-data convolution", [&] {
      dnnl::stream s(engine());
      const void* x = a.in[0];
      if (reorder_in) {
        reorder_in->run(s, x, a.scratch + in.at, a.scratch);
        x = a.scratch + in.at;
      }
      void* y = reorder_out ? static_cast<void*>(a.scratch + out.at) : raw;
      primitive.execute(s, {{DNNL_ARG_DIFF_DST, memory(in.own, x)},
                            {DNNL_ARG_WEIGHTS, memory(wmd, weights->get(s, a.in[1], a.scratch))},
                            {DNNL_ARG_DIFF_SRC, memory(out.own, y)},
                            {DNNL_ARG_SCRATCHPAD, memory(pad, a.scratch + pad_at)}});
      if (reorder_out) reorder_out->run(s, y, raw, a.scratch);
      s.wait();
    });
    if (finish.needed()) finish.run(a, static_cast<const float*>(raw), static_cast<float*>(a.out[0]));
  };
  return step;
}

}  // namespace

std::optional<Step> conv(const PrepareCtx& c, bool input_grad) {
  if (c.dtype(0) != DType::f32) return std::nullopt;
  const ConvProblem p = conv_problem(c, input_grad);
  if (count_of(c.dims(0)) == 0 || count_of(c.dims(1)) == 0 || count_of(c.out_dims()) == 0) return std::nullopt;
  return guarded("preparing a convolution", [&]() -> std::optional<Step> {
    const Geometry g = geometry_of(p);
    if (!input_grad) return possible(g) ? forward(c, p, g, {}) : std::nullopt;
    const bool unit = std::all_of(g.strides.begin(), g.strides.end(), [](std::int64_t s) { return s == 1; });
    if (unit) {
      const Geometry f = flipped(g, p);
      if (possible(f)) {
        if (auto step = forward(c, p, f, flip(p))) return step;
      }
    }
    return possible(g) ? backward(c, p, g) : std::nullopt;
  });
}

}  // namespace onnxray::cpu::onednn
