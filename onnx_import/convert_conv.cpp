// Conv, ConvTranspose, FusedConv, ConvInteger.
#include <numeric>

#include "onnx_import/convert.h"
#include "onnx_import/convert_conv_window.h"

namespace onnxray::onnx_import {
namespace {

std::vector<std::int64_t> kernel_shape(ConvertCtx& c, std::size_t weight) {
  const Dims& w = c.dims(weight);
  ONNXRAY_CHECK(w.size() >= 3, "weight has shape ", to_string(w), ", expected [M, C/group, kernel...]");
  const std::vector<std::int64_t> from_w(w.begin() + 2, w.end());
  const std::vector<std::int64_t> given = c.attr_ints("kernel_shape", from_w);
  ONNXRAY_CHECK(given == from_w, "kernel_shape ", to_string(given), " does not match the weight ", to_string(w));
  return given;
}

ValueId convolve(ConvertCtx& c, ValueId x, ValueId w, ValueId bias) {
  const Dims& d = c.b.dims(x);
  ONNXRAY_CHECK(d.size() >= 3, "input has shape ", to_string(d), ", expected [N, C, spatial...]");
  const std::vector<std::int64_t> space(d.begin() + 2, d.end());
  const WindowAttrs win = window_attrs(c, kernel_shape(c, 1), space);
  Attrs attrs{
      {"strides", win.strides}, {"pads", win.pads}, {"dilations", win.dilations}, {"group", c.attr_int("group", 1)}};
  std::vector<ValueId> inputs{x, w};
  if (bias != kNoValue) inputs.push_back(bias);
  return c.b.op("conv", inputs, std::move(attrs));
}

void conv(ConvertCtx& c) { c.out(convolve(c, c.in(0), c.in(1), c.has(2) ? c.in(2) : kNoValue)); }

// y = activation(conv(x, w) + bias + z)
void fused_conv(ConvertCtx& c) {
  ValueId y = convolve(c, c.in(0), c.in(1), c.has(2) ? c.in(2) : kNoValue);
  if (c.has(3)) y = c.b.add(y, c.in(3));
  c.out(apply_activation(c, y));
}

// Exact in float64: |sums| stay below 2^53.
void conv_integer(ConvertCtx& c) {
  const auto shifted = [&](std::size_t i, std::size_t zero) {
    ValueId v = c.b.cast(c.in(i), DType::f64);
    if (!c.has(zero)) return v;
    ValueId z = c.b.cast(c.in(zero), DType::f64);
    if (i == 1 && c.rank(1) > 0 && c.b.rank(z) == 1) {
      Dims d(c.rank(1), 1);
      d[0] = c.b.dims(z)[0];
      z = c.b.reshape(z, d);
    }
    return c.b.sub(v, z);
  };
  c.out(c.b.cast(convolve(c, shifted(0, 2), shifted(1, 3), kNoValue), DType::i32));
}

// out = (in - 1) stride + reach + output_padding - pads, the input extents of the convolution it is the gradient of.
void conv_transpose(ConvertCtx& c) {
  const Dims &x = c.dims(0), &w = c.dims(1);
  ONNXRAY_CHECK(x.size() >= 3 && w.size() == x.size(), "input ", to_string(x), " and weight ", to_string(w),
                " must be [N, C, spatial...] and [C, M/group, kernel...]");
  const std::size_t rank = x.size() - 2;
  const std::vector<std::int64_t> kernel = kernel_shape(c, 1);
  const std::vector<std::int64_t> ones(rank, 1), zeros(rank, 0);
  const std::vector<std::int64_t> strides = c.attr_ints("strides", ones), dilations = c.attr_ints("dilations", ones);
  const std::vector<std::int64_t> extra = c.attr_ints("output_padding", zeros);
  std::vector<std::int64_t> pads = c.attr_ints("pads", std::vector<std::int64_t>(2 * rank, 0));
  std::vector<std::int64_t> shape = c.attr_ints("output_shape");
  if (shape.size() == rank + 2) shape.erase(shape.begin(), shape.begin() + 2);
  ONNXRAY_CHECK(strides.size() == rank && dilations.size() == rank && extra.size() == rank && pads.size() == 2 * rank &&
                    (shape.empty() || shape.size() == rank),
                "strides, dilations, output_padding, pads or output_shape do not have ", rank, " axes");
  check_window_values(kernel, strides, dilations);
  check_range(pads, "pads");
  check_range(extra, "output_padding");
  check_range(shape, "output_shape");
  const std::string auto_pad = c.attr_string("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  std::vector<std::int64_t> out(rank), begin(rank), end(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t reach = (kernel[i] - 1) * dilations[i] + 1;
    const std::int64_t full = (x[i + 2] - 1) * strides[i] + reach;
    if (!shape.empty() || same) {
      out[i] = !shape.empty() ? shape[i] : x[i + 2] * strides[i];
      const std::int64_t total = std::max<std::int64_t>(0, full + extra[i] - out[i]);
      begin[i] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
    } else {
      begin[i] = auto_pad == "VALID" ? 0 : pads[i];
      out[i] = full + extra[i] - begin[i] - (auto_pad == "VALID" ? 0 : pads[i + rank]);
    }
    ONNXRAY_CHECK(out[i] > 0, "the output has extent ", out[i], " on spatial axis ", i);
    // What the convolution over `out` needs so that its windows are exactly the input's elements; negative where
    // output_padding shows more than the windows reach.
    end[i] = full - begin[i] - out[i];
  }
  begin.insert(begin.end(), end.begin(), end.end());
  Attrs attrs{{"strides", strides},
              {"pads", begin},
              {"dilations", dilations},
              {"group", c.attr_int("group", 1)},
              {"input_spatial", out}};
  std::vector<ValueId> inputs{c.in(0), c.in(1)};
  if (c.has(2)) inputs.push_back(c.in(2));
  c.out(c.b.op("conv_input_grad", inputs, std::move(attrs)));
}

}  // namespace

void check_range(std::span<const std::int64_t> v, const char* what) {
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  for (const std::int64_t x : v) ONNXRAY_CHECK(x >= -limit && x <= limit, what, " ", to_string(v), " is out of range");
}

void check_window_values(std::span<const std::int64_t> kernel, std::span<const std::int64_t> strides,
                         std::span<const std::int64_t> dilations) {
  for (const auto& [v, what] : {std::pair{kernel, "kernel"}, {strides, "strides"}, {dilations, "dilations"}}) {
    check_range(v, what);
    for (const std::int64_t x : v) ONNXRAY_CHECK(x >= 1, what, " ", to_string(v), " must be positive");
  }
}

WindowAttrs window_attrs(ConvertCtx& c, std::vector<std::int64_t> kernel, std::span<const std::int64_t> space) {
  const std::size_t rank = space.size();
  const std::vector<std::int64_t> ones(rank, 1);
  WindowAttrs w;
  w.kernel = std::move(kernel);
  w.strides = c.attr_ints("strides", ones);
  w.dilations = c.attr_ints("dilations", ones);
  w.pads = c.attr_ints("pads", std::vector<std::int64_t>(2 * rank, 0));
  ONNXRAY_CHECK(
      w.kernel.size() == rank && w.strides.size() == rank && w.dilations.size() == rank && w.pads.size() == 2 * rank,
      "kernel, strides, dilations or pads do not have ", rank, " spatial axes");
  check_window_values(w.kernel, w.strides, w.dilations);
  const std::string auto_pad = c.attr_string("auto_pad", "NOTSET");
  if (auto_pad == "NOTSET" || auto_pad.empty()) return w;
  ONNXRAY_CHECK(auto_pad == "VALID" || auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER", "auto_pad '", auto_pad,
                "' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER");
  for (std::size_t i = 0; i < rank; ++i) {
    std::int64_t total = 0;
    if (auto_pad != "VALID") {
      const std::int64_t out = (space[i] + w.strides[i] - 1) / w.strides[i];
      total = std::max<std::int64_t>(0, (out - 1) * w.strides[i] + (w.kernel[i] - 1) * w.dilations[i] + 1 - space[i]);
    }
    w.pads[i] = auto_pad == "SAME_LOWER" ? total - total / 2 : total / 2;
    w.pads[i + rank] = total - w.pads[i];
  }
  return w;
}

ValueId apply_activation(ConvertCtx& c, ValueId v) {
  const std::string name = c.attr_string("activation", "");
  const std::vector<double> params = c.attr_floats("activation_params");
  const auto param = [&](std::size_t i, double otherwise) { return i < params.size() ? params[i] : otherwise; };
  if (name.empty()) return v;
  if (name == "Relu") return c.b.op("relu", {v});
  if (name == "Tanh") return c.b.op("tanh", {v});
  if (name == "Sigmoid") return c.b.op("sigmoid", {v});
  if (name == "LeakyRelu") {
    const double slope = c.attr_float("leaky_relu_alpha", param(0, 0.01));
    const ValueId positive = c.b.op("greater", {v, c.b.scalar_like(v, 0)});
    return c.b.where(positive, v, c.b.mul(v, slope));
  }
  if (name == "Clip") {
    const ValueId low = c.b.op("max", {v, c.b.scalar_like(v, param(0, -3.4028234663852886e38))});
    return c.b.op("min", {low, c.b.scalar_like(v, param(1, 3.4028234663852886e38))});
  }
  if (name == "HardSigmoid") {
    const ValueId line = c.b.add(c.b.mul(v, param(0, 0.2)), param(1, 0.5));
    return c.b.op("min", {c.b.op("max", {line, c.b.scalar_like(v, 0)}), c.b.scalar_like(v, 1)});
  }
  fail_unsupported("activation '", name, "'");
}

void add_conv_rows(OpTable& t) {
  t.add({.op_type = "Conv", .convert = conv});
  t.add({.op_type = "ConvTranspose", .convert = conv_transpose});
  t.add({.op_type = "ConvInteger", .since = 10, .convert = conv_integer, .has_gradient = false});
  t.add({.op_type = "FusedConv", .convert = fused_conv, .domain = "com.microsoft"});
  add_pool_rows(t);
}

}  // namespace onnxray::onnx_import
