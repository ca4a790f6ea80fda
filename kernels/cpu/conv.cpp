// Convolutions as blocked matrix products over an implicit im2col, in either layout; depthwise ones as direct loops.
// Deterministic: every output element is summed over (channel, tap) in ascending order, whatever the batch.
#include "kernels/cpu/conv_problem.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn/kernels.h"

namespace onnxray::cpu {
namespace {

// Offsets into one input channel for every tap and position of a run of positions; -1 where padding is read.
class Offsets {
 public:
  Offsets(const GatherPlan& plan, const ConvSide& in) : plan_(plan), in_(in), taps_(plan.taps()) {}

  // Positions [n, n + cols), tap t.
  void fill(std::int64_t t, std::int64_t n, std::int64_t cols, std::int64_t* to) const {
    const AxisPlan &d = plan_.axis[0], &h = plan_.axis[1], &w = plan_.axis[2];
    const auto tw = static_cast<std::size_t>(t) % w.tap.size();
    const auto th = static_cast<std::size_t>(t) / w.tap.size() % h.tap.size();
    const auto td = static_cast<std::size_t>(t) / w.tap.size() / h.tap.size();
    std::int64_t iw = n % w.count, ih = n / w.count % h.count, id = n / w.count / h.count;
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t x = w.base[tw] + iw * w.in_step, y = h.base[th] + ih * h.in_step,
                         z = d.base[td] + id * d.in_step;
      const bool inside = x >= 0 && x < w.in_extent && y >= 0 && y < h.in_extent && z >= 0 && z < d.in_extent;
      to[j] = inside ? z * in_.stride[0] + y * in_.stride[1] + x * in_.stride[2] : -1;
      if (++iw == w.count) {
        iw = 0;
        if (++ih == h.count) ih = 0, ++id;
      }
    }
  }
  [[nodiscard]] std::int64_t taps() const { return taps_; }
  // The tap's index in the weight tensor's own order.
  [[nodiscard]] std::int64_t weight_index(std::int64_t t, const Window& window) const {
    const AxisPlan &d = plan_.axis[0], &h = plan_.axis[1], &w = plan_.axis[2];
    const auto tw = static_cast<std::size_t>(t) % w.tap.size();
    const auto th = static_cast<std::size_t>(t) / w.tap.size() % h.tap.size();
    const auto td = static_cast<std::size_t>(t) / w.tap.size() / h.tap.size();
    return (d.tap[td] * window.kernel[1] + h.tap[th]) * window.kernel[2] + w.tap[tw];
  }

 private:
  const GatherPlan& plan_;
  const ConvSide& in_;
  std::int64_t taps_;
};

template <class T>
struct Epilogue {
  const T* bias = nullptr;
  const T* sum = nullptr;
  const T* mask = nullptr;
  bool relu = false;

  T operator()(T v, std::int64_t channel, std::int64_t at) const {
    if (bias != nullptr) v += bias[channel];
    if (sum != nullptr) v += sum[at];
    if (relu && v <= 0) v = 0;
    if (mask != nullptr && !(mask[at] > 0)) v = 0;
    return v;
  }
};

template <class T>
Epilogue<T> epilogue_of(const ConvProblem& p, const RunArgs& a) {
  const auto input = [&](std::size_t i) { return static_cast<const T*>(a.in[i]); };
  return {p.bias ? input(2) : nullptr, p.sum != 0 ? input(p.sum) : nullptr, p.mask != 0 ? input(p.mask) : nullptr,
          p.relu};
}

// Element strides of the weights as (output channel, input channel) of this direction.
struct WeightView {
  std::int64_t group = 0, out = 0, in = 0;
};
WeightView weight_view(const ConvProblem& p) {
  const std::int64_t taps = p.window.taps(), k = p.x.channels * taps;
  return {p.y.channels * k, p.input_grad ? taps : k, p.input_grad ? k : taps};
}

// The flat output offset of position n, without batch and channel.
std::int64_t output_offset(const GatherPlan& plan, const ConvSide& out, std::int64_t n) {
  std::int64_t at = 0;
  for (std::size_t a = 3; a-- > 0;) {
    at += (plan.axis[a].first + n % plan.axis[a].count * plan.axis[a].out_step) * out.stride[a];
    n /= plan.axis[a].count;
  }
  return at;
}

template <class T>
void pack_image(const Offsets& offsets, const std::vector<std::int64_t>& table, std::int64_t panel_at, const T* x,
                std::int64_t channel_stride, T* dst, std::int64_t nr, std::int64_t n, std::int64_t cols,
                std::int64_t k0, std::int64_t kc) {
  std::int64_t own[kGemmEdge];
  const std::int64_t taps = offsets.taps();
  for (std::int64_t p = 0; p < kc; ++p, dst += nr) {
    const std::int64_t t = (k0 + p) % taps;
    const T* channel = x + (k0 + p) / taps * channel_stride;
    const std::int64_t* off = own;
    if (table.empty()) offsets.fill(t, n, cols, own);
    else off = table.data() + (panel_at + t) * nr;
    if (off[0] >= 0 && off[cols - 1] == off[0] + cols - 1) {
      // Offsets of valid positions ascend, so equal ends mean that all lie between, unless padding interrupts them.
      bool whole = true;
      for (std::int64_t j = 1; j < cols; ++j) whole = whole && off[j] == off[0] + j;
      if (whole) {
        std::memcpy(dst, channel + off[0], static_cast<std::size_t>(cols) * sizeof(T));
        continue;
      }
    }
    for (std::int64_t j = 0; j < cols; ++j) dst[j] = off[j] >= 0 ? channel[off[j]] : T{0};
  }
}

template <class T>
Step gemm_conv(const ConvProblem& p) {
  struct Task {
    std::int64_t plan, m0, n0;
  };
  const std::vector<GatherPlan> plans = gather_plans(p);
  std::vector<Task> blocks;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    for (std::int64_t n = 0; n < plans[i].positions(); n += kGemmN) {
      for (std::int64_t m = 0; m < p.out().channels; m += kGemmM) {
        blocks.push_back({static_cast<std::int64_t>(i), m, n});
      }
    }
  }
  const auto per_image = static_cast<std::int64_t>(blocks.size());
  const std::int64_t tasks = p.batch * p.groups * per_image;
  const std::int64_t workers = std::max<std::int64_t>(1, std::min<std::int64_t>(max_threads(), tasks));
  const WeightView wv = weight_view(p);
  Step step;
  step.scratch_bytes = static_cast<std::size_t>(workers * kGemmScratch) * sizeof(T);
  step.run = [p, plans, blocks, per_image, tasks, workers, wv](const RunArgs& args) {
    const T* x = static_cast<const T*>(args.in[0]);
    const T* w = static_cast<const T*>(args.in[1]);
    T* y = static_cast<T*>(args.out[0]);
    const Epilogue<T> epilogue = epilogue_of<T>(p, args);
    T* scratch = reinterpret_cast<T*>(args.scratch);
    const ConvSide &in = p.in(), &out = p.out();
    for_tasks(workers, tasks, [&](std::int64_t worker, std::int64_t task) {
      const std::int64_t image = task / per_image / p.groups, g = task / per_image % p.groups;
      const Task& block = blocks[static_cast<std::size_t>(task % per_image)];
      const GatherPlan& plan = plans[static_cast<std::size_t>(block.plan)];
      const Offsets offsets(plan, in);
      const std::int64_t taps = offsets.taps(), positions = plan.positions();
      const std::int64_t m1 = std::min(out.channels, block.m0 + kGemmM), n1 = std::min(positions, block.n0 + kGemmN);
      const T* xg = x + image * in.batch_stride + g * in.channels * in.channel_stride;
      const T* wg = w + g * wv.group;
      const std::int64_t nr = gemm_tile<T>().nr;
      std::vector<std::int64_t> table, place, weight_at(static_cast<std::size_t>(taps));
      for (std::int64_t t = 0; t < taps; ++t) {
        weight_at[static_cast<std::size_t>(t)] = offsets.weight_index(t, p.window);
      }
      if (taps * kGemmN <= 1 << 16) {
        const std::int64_t panels = ceil_div(n1 - block.n0, nr);
        table.resize(static_cast<std::size_t>(panels * taps * nr));
        for (std::int64_t j = 0; j < panels; ++j) {
          for (std::int64_t t = 0; t < taps; ++t) {
            offsets.fill(t, block.n0 + j * nr, std::min(nr, n1 - block.n0 - j * nr),
                         table.data() + (j * taps + t) * nr);
          }
        }
      }
      for (std::int64_t n = block.n0; n < n1; ++n) place.push_back(output_offset(plan, out, n));
      gemm_block<T>(
          block.m0, m1, block.n0, n1, in.channels * taps, scratch + worker * kGemmScratch,
          [&](T* dst, std::int64_t mr, std::int64_t m, std::int64_t rows, std::int64_t k0, std::int64_t kc) {
            if (taps == p.window.taps() && !p.input_grad) {
              pack_strided(dst, mr, rows, kc, wg + m * wv.out + k0, wv.out, std::int64_t{1});
              return;
            }
            for (std::int64_t k = 0; k < kc; ++k) {
              const T* from = wg + (k0 + k) / taps * wv.in + weight_at[static_cast<std::size_t>((k0 + k) % taps)];
              for (std::int64_t i = 0; i < rows; ++i) dst[k * mr + i] = from[(m + i) * wv.out];
            }
          },
          [&](T* dst, std::int64_t width, std::int64_t n, std::int64_t cols, std::int64_t k0, std::int64_t kc) {
            pack_image(offsets, table, (n - block.n0) / width * taps, xg, in.channel_stride, dst, width, n, cols, k0,
                       kc);
          },
          [&](std::int64_t m, std::int64_t, std::int64_t cols, const T* row) {
            const std::int64_t channel = g * out.channels + m;
            const std::int64_t base = image * out.batch_stride + channel * out.channel_stride;
            for (std::int64_t j = 0; j < cols; ++j) {
              const std::int64_t at = base + place[static_cast<std::size_t>(j)];
              y[at] = epilogue(row[j], channel, at);
            }
          });
    });
  };
  return step;
}

// Few channels per group: one output plane at a time, tap by tap.
template <class T>
Step direct_conv(const ConvProblem& p) {
  const std::vector<GatherPlan> plans = gather_plans(p);
  const WeightView wv = weight_view(p);
  return {[p, plans, wv](const RunArgs& args) {
    const T* x = static_cast<const T*>(args.in[0]);
    const T* w = static_cast<const T*>(args.in[1]);
    T* y = static_cast<T*>(args.out[0]);
    const Epilogue<T> epilogue = epilogue_of<T>(p, args);
    const ConvSide &in = p.in(), &out = p.out();
    const std::int64_t channels = p.groups * out.channels;
    parallel_for(p.batch * channels, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> plane;
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t image = k / channels, channel = k % channels, g = channel / out.channels;
        const T* xg = x + image * in.batch_stride + g * in.channels * in.channel_stride;
        const T* wg = w + g * wv.group + channel % out.channels * wv.out;
        const std::int64_t base = image * out.batch_stride + channel * out.channel_stride;
        for (const GatherPlan& plan : plans) {
          const AxisPlan &d = plan.axis[0], &h = plan.axis[1], &v = plan.axis[2];
          plane.assign(static_cast<std::size_t>(plan.positions()), T{0});
          const auto valid = [](const AxisPlan& a, std::size_t t) {
            return taps_inside(a.base[t], a.count, a.in_step, 0, a.in_extent);
          };
          for (std::int64_t c = 0; c < in.channels; ++c) {
            for (std::size_t td = 0; td < d.tap.size(); ++td) {
              for (std::size_t th = 0; th < h.tap.size(); ++th) {
                for (std::size_t tw = 0; tw < v.tap.size(); ++tw) {
                  const std::int64_t tap =
                      (d.tap[td] * p.window.kernel[1] + h.tap[th]) * p.window.kernel[2] + v.tap[tw];
                  const T weight = wg[c * wv.in + tap];
                  const TapRange rd = valid(d, td), rh = valid(h, th), rw = valid(v, tw);
                  for (std::int64_t id = rd.first; id < rd.last; ++id) {
                    for (std::int64_t ih = rh.first; ih < rh.last; ++ih) {
                      const T* from = xg + c * in.channel_stride + (d.base[td] + id * d.in_step) * in.stride[0] +
                                      (h.base[th] + ih * h.in_step) * in.stride[1] + v.base[tw] * in.stride[2];
                      T* to = plane.data() + (id * h.count + ih) * v.count;
                      const std::int64_t step = v.in_step * in.stride[2];
                      if (step == 1) {
                        for (std::int64_t i = rw.first; i < rw.last; ++i) to[i] += weight * from[i];
                      } else {
                        for (std::int64_t i = rw.first; i < rw.last; ++i) to[i] += weight * from[i * step];
                      }
                    }
                  }
                }
              }
            }
          }
          for (std::int64_t n = 0; n < plan.positions(); ++n) {
            const std::int64_t at = base + output_offset(plan, out, n);
            y[at] = epilogue(plane[static_cast<std::size_t>(n)], channel, at);
          }
        }
      }
    });
  }};
}

// dw[k, c, tap] = sum over (image, position) of dy[k] x[c, tap].
template <class T>
Step weight_grad(const PrepareCtx& c) {
  ConvProblem p;
  p.channels_last = is_channels_last(c.attrs);
  p.groups = c.attrs.integer("group", 1);
  p.batch = c.dims(0)[0];
  p.x = conv_side(c.dims(0), p.groups, p.channels_last);
  p.y = conv_side(c.dims(1), p.groups, p.channels_last);
  p.window = read_window(c.attrs, c.attrs.ints("kernel"));
  const GatherPlan plan = gather_plans(p)[0];
  const std::int64_t taps = p.window.taps(), n_total = p.x.channels * taps;
  const std::int64_t mb = ceil_div(p.y.channels, kGemmM), nb = ceil_div(n_total, kGemmN);
  const std::int64_t tasks = p.groups * mb * nb;
  const std::int64_t workers = std::max<std::int64_t>(1, std::min<std::int64_t>(max_threads(), tasks));
  Step step;
  step.scratch_bytes = static_cast<std::size_t>(workers * kGemmScratch) * sizeof(T);
  step.run = [=](const RunArgs& args) {
    const T* x = static_cast<const T*>(args.in[0]);
    const T* dy = static_cast<const T*>(args.in[1]);
    T* dw = static_cast<T*>(args.out[0]);
    T* scratch = reinterpret_cast<T*>(args.scratch);
    const Offsets offsets(plan, p.x);
    const std::int64_t positions = plan.positions();
    for_tasks(workers, tasks, [&](std::int64_t worker, std::int64_t task) {
      const std::int64_t g = task / (mb * nb), m0 = task / nb % mb * kGemmM, n0 = task % nb * kGemmN;
      const T* xg = x + g * p.x.channels * p.x.channel_stride;
      const T* yg = dy + g * p.y.channels * p.y.channel_stride;
      std::vector<std::int64_t> off(static_cast<std::size_t>(kGemmK));
      gemm_block<T>(
          m0, std::min(p.y.channels, m0 + kGemmM), n0, std::min(n_total, n0 + kGemmN), p.batch * positions,
          scratch + worker * kGemmScratch,
          [&](T* dst, std::int64_t mr, std::int64_t m, std::int64_t rows, std::int64_t k0, std::int64_t kc) {
            for (std::int64_t k = 0; k < kc; ++k) {
              const T* from =
                  yg + (k0 + k) / positions * p.y.batch_stride + output_offset(plan, p.y, (k0 + k) % positions);
              for (std::int64_t i = 0; i < rows; ++i) dst[k * mr + i] = from[(m + i) * p.y.channel_stride];
            }
          },
          [&](T* dst, std::int64_t nr, std::int64_t n, std::int64_t cols, std::int64_t k0, std::int64_t kc) {
            for (std::int64_t j = 0; j < cols; ++j) {
              const std::int64_t channel = (n + j) / taps, t = (n + j) % taps;
              for (std::int64_t k = 0; k < kc;) {
                const std::int64_t image = (k0 + k) / positions, at = (k0 + k) % positions;
                const std::int64_t run = std::min(kc - k, positions - at);
                offsets.fill(t, at, run, off.data());
                const T* from = xg + image * p.x.batch_stride + channel * p.x.channel_stride;
                for (std::int64_t i = 0; i < run; ++i) {
                  const std::int64_t o = off[static_cast<std::size_t>(i)];
                  dst[(k + i) * nr + j] = o >= 0 ? from[o] : T{0};
                }
                k += run;
              }
            }
          },
          [&](std::int64_t m, std::int64_t n, std::int64_t cols, const T* row) {
            T* to = dw + (g * p.y.channels + m) * n_total + n;
            std::copy(row, row + cols, to);
          });
    });
  };
  return step;
}

Step any_conv(const PrepareCtx& c, bool input_grad) {
  if (auto step = onednn::conv(c, input_grad)) return *std::move(step);
  return plain_conv(c, input_grad);
}

Step conv_weight_grad(const PrepareCtx& c) {
  return visit_float(c.dtype(0), [&]<class T>() { return weight_grad<T>(c); });
}

}  // namespace

Step plain_conv(const PrepareCtx& c, bool input_grad) {
  const ConvProblem p = conv_problem(c, input_grad);
  const bool thin = p.groups > 1 && p.out().channels <= 2 && p.in().channels * p.window.taps() <= 256;
  return visit_float(c.dtype(0), [&]<class T>() { return thin ? direct_conv<T>(p) : gemm_conv<T>(p); });
}

void register_conv(Backend& b) {
  b.add("conv", [](const PrepareCtx& c) { return any_conv(c, false); });
  b.add("conv_input_grad", [](const PrepareCtx& c) { return any_conv(c, true); });
  b.add("conv_weight_grad", conv_weight_grad);
}

}  // namespace onnxray::cpu
