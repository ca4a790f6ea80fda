// The engine's convolutions on the kernels of conv.h.
#include <array>

#include "engine/ops/conv_window.h"
#include "kernels/cuda/conv.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/packed_constant.h"

namespace onnxray::cuda {
namespace {

// None where an extent is zero or does not fit. Without images a sum over them is zero.
std::optional<ConvShape> shape_of(const PrepareCtx& c, const Dims& x, const Dims& y,
                                  std::span<const std::int64_t> kernel, bool backward) {
  ConvShape s;
  s.backward = backward;
  s.channels_last = is_channels_last(c.attrs);
  const std::int64_t groups = c.attrs.integer("group", 1);
  const SpatialDims xd = spatial_dims(x, s.channels_last), yd = spatial_dims(y, s.channels_last);
  const Extents xs = align3(xd.space, 1), ys = align3(yd.space, 1);
  const Window w = read_window(c.attrs, kernel);
  bool fits = true;
  const auto narrow = [&](std::int64_t v, std::int64_t low) {
    fits = fits && v >= low && v < std::int64_t{1} << 31;
    return static_cast<int>(v);
  };
  s.batch = xd.batch;
  s.groups = narrow(groups, 1);
  s.x_channels = narrow(xd.channels / groups, 1);
  s.y_channels = narrow(yd.channels / groups, 1);
  for (std::size_t a = 0; a < 3; ++a) {
    s.axis[a] = {narrow(w.kernel[a], 1),   narrow(w.stride[a], 1),
                 narrow(w.dilation[a], 1), narrow(w.begin[a], -(std::int64_t{1} << 31)),
                 narrow(xs[a], 1),         narrow(ys[a], 1)};
  }
  if (!fits) return std::nullopt;
  return s;
}

std::shared_ptr<const void> packed_weights(const PrepareCtx& c, const ConvPlan& p) {
  std::string form = detail::concat("conv ", p.shape.backward, p.shape.channels_last, ' ', static_cast<int>(p.kernel),
                                    ' ', static_cast<int>(p.precision), by_warpgroups(p.tile), ' ', p.shape.groups);
  for (const ConvAxis& a : p.shape.axis) form += detail::concat(' ', a.stride, ',', a.dilation, ',', a.begin);
  return packed_constant(c, 1, form, p.weight_bytes,
                         [&](const float* w, float* packed, void* stream) { pack_conv_weights(p, w, packed, stream); });
}

struct EpilogueInputs {
  std::size_t bias = 0, sum = 0, mask = 0;  // input indices; 0: none
  bool relu = false, packed = false;        // packed: the mask is one of bits
  bool gives_mask = false;

  explicit EpilogueInputs(const PrepareCtx& c)
      : bias(c.has(2) ? 2 : 0),
        sum(static_cast<std::size_t>(c.attrs.integer("sum_input", 0))),
        mask(static_cast<std::size_t>(c.attrs.integer("mask_input", 0))),
        relu(c.attrs.integer("relu", 0) != 0),
        packed(mask != 0 && c.dtype(mask) == DType::i32),
        gives_mask(gives_mask_output(c.attrs)) {}

  template <class T>
  [[nodiscard]] Epilogue<T> at(const RunArgs& a) const {
    const auto input = [&](std::size_t i) { return i == 0 ? nullptr : static_cast<const T*>(a.in[i]); };
    Epilogue<T> e{input(bias), input(sum), nullptr, relu};
    if (packed) e.mask_bits = static_cast<const std::uint32_t*>(a.in[mask]);
    else e.mask = input(mask);
    if (gives_mask) e.out_bits = static_cast<std::uint32_t*>(a.out[1]);
    return e;
  }
};

Step convolution(const PrepareCtx& c, bool backward) {
  const Dims& w = c.dims(1);
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  const auto shape = shape_of(c, backward ? c.out_dims() : c.dims(0), backward ? c.dims(0) : c.out_dims(),
                              std::span(w).subspan(2), backward);
  if (!shape) return {};
  const EpilogueInputs epilogue(c);
  // The result itself, where only its mask is read.
  const std::size_t unread = unread_result_bytes(c);
  if (c.dtype(0) == DType::f64) {
    return {[s = *shape, epilogue](const RunArgs& a) {
              run_conv_general<double>(s, static_cast<const double*>(a.in[0]), static_cast<const double*>(a.in[1]),
                                       result_at<double>(a, 0), epilogue.at<double>(a), a.stream);
            },
            unread};
  }
  if (c.dtype(0) != DType::f32) return {};
  const ConvPlan plan = plan_conv(*shape, precision_of(c), {c.device()->processors(), c.device()->warpgroups()});
  Step step;
  std::shared_ptr<const void> packed;
  std::size_t pack_bytes = 0;  // of weights that only a run knows
  if (plan.weight_bytes > 0 && c.constant(1).defined()) {
    packed = packed_weights(c, plan);
    step.unread_constants = 1u << 1;
  } else {
    pack_bytes = (plan.weight_bytes + 255) / 256 * 256;
  }
  const std::size_t workspace_bytes = (plan.workspace_bytes + 255) / 256 * 256;
  step.scratch_bytes = pack_bytes + workspace_bytes + unread;
  step.run = [plan, packed, pack_bytes, workspace_bytes, epilogue](const RunArgs& a) {
    const auto* weights = static_cast<const float*>(packed ? packed.get() : a.in[1]);
    if (pack_bytes > 0) {
      auto* here = reinterpret_cast<float*>(a.scratch);
      pack_conv_weights(plan, weights, here, a.stream);
      weights = here;
    }
    run_conv(plan, static_cast<const float*>(a.in[0]), weights, result_at<float>(a, pack_bytes + workspace_bytes),
             epilogue.at<float>(a), reinterpret_cast<float*>(a.scratch + pack_bytes), a.stream);
  };
  return step;
}

Step weight_grad(const PrepareCtx& c) {
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  const auto shape = shape_of(c, c.dims(0), c.dims(1), c.attrs.ints("kernel"), false);
  if (!shape) return {};
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[s = *shape](const RunArgs& a) {
      run_conv_weight_grad<T>(s, static_cast<const T*>(a.in[0]), static_cast<const T*>(a.in[1]),
                              static_cast<T*>(a.out[0]), a.stream);
    }};
  });
}

}  // namespace

void register_conv(Backend& b) {
  b.add("conv", [](const PrepareCtx& c) { return convolution(c, false); });
  b.add("conv_input_grad", [](const PrepareCtx& c) { return convolution(c, true); });
  b.add("conv_weight_grad", weight_grad);
}

}  // namespace onnxray::cuda
