// Pooling, global pooling, LRN.
#include <numeric>

#include "onnx_import/convert_conv_window.h"

namespace onnxray::onnx_import {
namespace {

Attrs pool_attrs(ConvertCtx& c) {
  const Dims& x = c.dims(0);
  ONNXRAY_CHECK(x.size() >= 3, "input has shape ", to_string(x), ", expected [N, C, spatial...]");
  ONNXRAY_CHECK(c.has_attr("kernel_shape"), "attribute 'kernel_shape' is missing");
  const std::vector<std::int64_t> space(x.begin() + 2, x.end());
  const WindowAttrs w = window_attrs(c, c.attr_ints("kernel_shape"), space);
  Attrs attrs{{"kernel", w.kernel}, {"strides", w.strides}, {"dilations", w.dilations}, {"pads", w.pads}};
  if (c.attr_int("ceil_mode", 0) != 0) attrs.set("ceil_mode", std::int64_t{1});
  return attrs;
}

// Flat positions in the whole tensor from positions within a spatial plane.
ValueId whole_indices(ConvertCtx& c, ValueId argmax) {
  Builder& b = c.b;
  const Dims x = c.dims(0);
  const std::int64_t plane = product(x, 2, x.size());
  if (c.attr_int("storage_order", 0) != 0) {
    // Column-major: the first spatial axis runs fastest.
    ValueId rest = argmax, flat = kNoValue;
    std::int64_t step = plane;
    for (std::size_t axis = x.size(); axis-- > 2;) {
      const ValueId n = b.scalar_like(argmax, static_cast<double>(x[axis]));
      const ValueId quotient = b.div(rest, n);
      const ValueId at = b.sub(rest, b.mul(quotient, n));
      rest = quotient;
      step /= x[axis];
      const ValueId part = b.mul(at, b.scalar_like(at, static_cast<double>(step)));
      flat = flat == kNoValue ? part : b.add(flat, part);
    }
    argmax = flat;
  }
  std::vector<std::int64_t> base(static_cast<std::size_t>(x[0] * x[1]));
  for (std::size_t i = 0; i < base.size(); ++i) base[i] = static_cast<std::int64_t>(i) * plane;
  Dims d(x.size(), 1);
  d[0] = x[0];
  d[1] = x[1];
  return b.add(argmax, b.constant(Tensor::ints(base).reshaped(d)));
}

void max_pool(ConvertCtx& c) {
  const std::vector<ValueId> out = c.b.ops("max_pool", {c.in(0)}, pool_attrs(c));
  c.out(0, out[0]);
  if (c.wants(1)) c.out(1, whole_indices(c, out[1]));
}

void average_pool(ConvertCtx& c) {
  Attrs attrs = pool_attrs(c);
  if (c.attr_int("count_include_pad", 0) != 0) attrs.set("count_include_pad", std::int64_t{1});
  c.out(c.b.op("avg_pool", {c.in(0)}, std::move(attrs)));
}

// (sum |x|^p)^(1/p)
ValueId p_norm(ConvertCtx& c, const std::function<ValueId(ValueId)>& sum) {
  Builder& b = c.b;
  const double p = c.node.attrs.contains("p") && std::holds_alternative<double>(c.node.attrs.at("p"))
                       ? c.attr_float("p", 2)
                       : static_cast<double>(c.attr_int("p", 2));
  ONNXRAY_CHECK(p > 0, "p ", p, " must be positive");
  const ValueId x = c.in(0);
  if (p == 1) return sum(b.op("abs", {x}));
  if (p == 2) return b.op("sqrt", {sum(b.mul(x, x))});
  const ValueId s = sum(b.op("pow", {b.op("abs", {x}), b.scalar_like(x, p)}));
  return b.op("pow", {s, b.scalar_like(x, 1 / p)});
}

void lp_pool(ConvertCtx& c) {
  Attrs attrs = pool_attrs(c);
  attrs.set("divisor", std::int64_t{1});
  c.out(p_norm(c, [&](ValueId v) { return c.b.op("avg_pool", {v}, attrs); }));
}

std::vector<std::int64_t> spatial_axes(ConvertCtx& c) {
  ONNXRAY_CHECK(c.rank(0) >= 3, "input has shape ", to_string(c.dims(0)), ", expected [N, C, spatial...]");
  std::vector<std::int64_t> axes(c.rank(0) - 2);
  std::iota(axes.begin(), axes.end(), 2);
  return axes;
}

void global_average_pool(ConvertCtx& c) { c.out(c.b.reduce("reduce_mean", c.in(0), spatial_axes(c), true)); }
void global_max_pool(ConvertCtx& c) { c.out(c.b.reduce("reduce_max", c.in(0), spatial_axes(c), true)); }
void global_lp_pool(ConvertCtx& c) {
  c.out(p_norm(c, [&](ValueId v) { return c.b.reduce("reduce_sum", v, spatial_axes(c), true); }));
}

// y = x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta
void lrn(ConvertCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.in(0);
  const Dims d = c.dims(0);
  ONNXRAY_CHECK(d.size() >= 2, "input has shape ", to_string(d), ", expected [N, C, ...]");
  const std::int64_t size = c.attr_int("size", 0);
  ONNXRAY_CHECK(size >= 1 && size <= 1 << 30, "size ", size, " is out of range");
  const ValueId square = b.reshape(b.mul(x, x), {d[0], 1, d[1], product(d, 2, d.size())});
  const ValueId mean = b.op("avg_pool", {square},
                            {{"kernel", std::vector<std::int64_t>{size, 1}},
                             {"strides", std::vector<std::int64_t>{1, 1}},
                             {"dilations", std::vector<std::int64_t>{1, 1}},
                             {"pads", std::vector<std::int64_t>{(size - 1) / 2, 0, size / 2, 0}},
                             {"divisor", size}});
  const ValueId base = b.add(b.mul(b.reshape(mean, d), c.attr_float("alpha", 1e-4)), c.attr_float("bias", 1));
  c.out(b.div(x, b.op("pow", {base, b.scalar_like(x, c.attr_float("beta", 0.75))})));
}

// The inverse of MaxPool with Indices, which are flat positions in the whole output tensor.
void max_unpool(ConvertCtx& c) {
  Builder& b = c.b;
  const Dims x = c.dims(0);
  ONNXRAY_CHECK(x.size() >= 3, "input has shape ", to_string(x), ", expected [N, C, spatial...]");
  const std::size_t rank = x.size() - 2;
  const std::vector<std::int64_t> kernel = c.attr_ints("kernel_shape");
  const std::vector<std::int64_t> strides = c.attr_ints("strides", std::vector<std::int64_t>(rank, 1));
  const std::vector<std::int64_t> pads = c.attr_ints("pads", std::vector<std::int64_t>(2 * rank, 0));
  ONNXRAY_CHECK(kernel.size() == rank && strides.size() == rank && pads.size() == 2 * rank,
                "kernel_shape, strides or pads do not have ", rank, " axes");
  check_window_values(kernel, strides, strides);
  check_range(pads, "pads");
  std::vector<std::int64_t> inferred(rank), out;
  for (std::size_t i = 0; i < rank; ++i) {
    inferred[i] = (x[i + 2] - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank];
    ONNXRAY_CHECK(inferred[i] > 0, "the output has extent ", inferred[i], " on spatial axis ", i);
  }
  out = inferred;
  if (c.has(2)) {
    const std::vector<std::int64_t> shape = c.constant_ints(2);
    ONNXRAY_CHECK(shape.size() == x.size(), "output_shape ", to_string(shape), " for input ", to_string(x));
    out.assign(shape.begin() + 2, shape.end());
    for (std::size_t i = 0; i < rank; ++i) {
      ONNXRAY_CHECK(out[i] >= inferred[i], "output_shape ", to_string(shape), " is smaller than the pooled input");
    }
  }
  // Indices count in the inferred shape; output_shape only adds room behind it.
  const std::int64_t plane = count_of(inferred);
  std::vector<std::int64_t> base(static_cast<std::size_t>(x[0] * x[1]));
  for (std::size_t i = 0; i < base.size(); ++i) base[i] = static_cast<std::int64_t>(i) * plane;
  Dims d(x.size(), 1);
  d[0] = x[0];
  d[1] = x[1];
  const ValueId within = b.sub(c.in(1), b.constant(Tensor::ints(base).reshaped(d)));
  ValueId y = b.op("max_pool_grad", {c.in(0), within}, {{"input_spatial", inferred}});
  if (out != inferred) {
    std::vector<std::int64_t> begins(x.size(), 0), ends(x.size(), 0);
    for (std::size_t i = 0; i < rank; ++i) ends[i + 2] = out[i] - inferred[i];
    y = b.op("pad", {y}, {{"begins", begins}, {"ends", ends}, {"value", 0.0}});
  }
  c.out(y);
}

}  // namespace

void add_pool_rows(OpTable& t) {
  t.add({.op_type = "MaxPool", .convert = max_pool});
  t.add({.op_type = "AveragePool", .convert = average_pool});
  t.add({.op_type = "LpPool", .convert = lp_pool});
  t.add({.op_type = "GlobalAveragePool", .convert = global_average_pool});
  t.add({.op_type = "GlobalMaxPool", .convert = global_max_pool});
  t.add({.op_type = "GlobalLpPool", .convert = global_lp_pool});
  t.add({.op_type = "LRN", .convert = lrn});
  t.add({.op_type = "MaxUnpool", .since = 9, .convert = max_unpool});
}

}  // namespace onnxray::onnx_import
