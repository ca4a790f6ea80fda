// Convolution and its two transposes. With x [N, C, in], w [K, C/group, kernel], y [N, K, out]:
//   conv             y  = w * x            (+ bias)
//   conv_input_grad  dx = w^T * dy         (+ bias; ONNX's ConvTranspose)
//   conv_weight_grad dw = sum over n, out of dy x
// Each is bilinear and its gradients are the other two, so derivatives of any order exist.
// Epilogues, set by passes/fuse_epilogues.cpp on conv and conv_input_grad, in this order: bias (input 2), `sum_input`
// (index of an input that is added), relu=1, `mask_input` (index of y or of its mask, packed_mask.h: the result is kept
// where y > 0, else 0). mask_output=1 gives the result's own mask.
#include "engine/builder.h"
#include "engine/ops/conv_window.h"
#include "engine/ops/families.h"
#include "engine/ops/packed_mask.h"
#include "engine/passes/channels_last.h"
#include "engine/passes/window.h"

namespace onnxray {
namespace {

std::vector<std::int64_t> kernel_of(const Dims& w) { return {w.begin() + 2, w.end()}; }

void check_weight(const InferCtx& c, std::size_t i, std::size_t rank) {
  ONNXRAY_CHECK(c.rank(i) == rank, "weight has shape ", to_string(c.dims(i)), ", expected rank ", rank);
}

std::int64_t group_of(const InferCtx& c, std::int64_t in_channels, std::int64_t out_channels) {
  const std::int64_t group = c.attrs.integer("group", 1);
  ONNXRAY_CHECK(group >= 1 && in_channels % group == 0 && out_channels % group == 0, "group ", group,
                " does not divide the channels (", in_channels, " in, ", out_channels, " out)");
  return group;
}

// The window's positions over `space`; throws where it does not fit.
std::vector<std::int64_t> positions(const Window& w, std::span<const std::int64_t> space) {
  const Extents out = w.positions(align3(space, 1));
  std::vector<std::int64_t> v(out.begin() + static_cast<std::ptrdiff_t>(3 - space.size()), out.end());
  for (const std::int64_t n : v) {
    ONNXRAY_CHECK(n > 0, "the window does not fit into the padded input ", to_string(space));
  }
  return v;
}

void check_epilogue(InferCtx& c, const Dims& out, std::int64_t channels) {
  if (c.has(2)) {
    c.expect_same_dtype(0, 2);
    ONNXRAY_CHECK(c.dims(2) == Dims{channels}, "bias has shape ", to_string(c.dims(2)), ", expected [", channels, "]");
  }
  for (const char* name : {"sum_input", "mask_input"}) {
    if (!c.attrs.has(name)) continue;
    const std::int64_t i = c.attrs.integer(name, 0);
    ONNXRAY_CHECK(i >= 3 && c.has(static_cast<std::size_t>(i)), name, " ", i, " is no input");
    if (std::string_view(name) == "mask_input" && c.dtype(static_cast<std::size_t>(i)) == DType::i32) {
      check_packed_mask(c, static_cast<std::size_t>(i), out);
      continue;
    }
    c.expect_same_dtype(0, static_cast<std::size_t>(i));
    ONNXRAY_CHECK(c.dims(static_cast<std::size_t>(i)) == out, name, " has shape ",
                  to_string(c.dims(static_cast<std::size_t>(i))), ", expected ", to_string(out));
  }
}

void infer_conv(InferCtx& c) {
  c.expect_inputs(2, 5);
  c.expect_float(0);
  c.expect_same_dtype(0, 1);
  const bool last = is_channels_last(c.attrs);
  const SpatialDims x = spatial_dims(c.dims(0), last);
  check_weight(c, 1, c.rank(0));
  const Dims& w = c.dims(1);
  const std::int64_t group = group_of(c, x.channels, w[0]);
  ONNXRAY_CHECK(w[1] == x.channels / group, "weight ", to_string(w), " expects ", w[1], " x ", group,
                " input channels, got ", x.channels);
  const Dims out = join_dims(x.batch, w[0], positions(read_window(c.attrs, kernel_of(w)), x.space), last);
  check_epilogue(c, out, w[0]);
  c.output(c.dtype(0), out);
  infer_mask_output(c);
}

// input_spatial, checked: the window has exactly dy's positions over it.
std::vector<std::int64_t> input_spatial(const InferCtx& c, const Window& w, std::span<const std::int64_t> dy_space) {
  const std::vector<std::int64_t> in = c.attrs.ints("input_spatial");
  ONNXRAY_CHECK(in.size() == dy_space.size(), "input_spatial ", to_string(in), " has another rank than ",
                to_string(dy_space));
  for (const std::int64_t n : in) ONNXRAY_CHECK(n >= 0, "input_spatial ", to_string(in), " is negative");
  (void)count_of(in);
  const std::vector<std::int64_t> out = positions(w, in);
  ONNXRAY_CHECK(std::ranges::equal(out, dy_space), "a window over ", to_string(in), " has ", to_string(out),
                " positions, got ", to_string(dy_space));
  return in;
}

void infer_conv_input_grad(InferCtx& c) {
  c.expect_inputs(2, 5);
  c.expect_float(0);
  c.expect_same_dtype(0, 1);
  const bool last = is_channels_last(c.attrs);
  const SpatialDims dy = spatial_dims(c.dims(0), last);
  check_weight(c, 1, c.rank(0));
  const Dims& w = c.dims(1);
  ONNXRAY_CHECK(w[0] == dy.channels, "weight ", to_string(w), " expects ", w[0], " channels, got ", dy.channels);
  const std::int64_t group = c.attrs.integer("group", 1);
  ONNXRAY_CHECK(group >= 1 && dy.channels % group == 0, "group ", group, " does not divide ", dy.channels, " channels");
  const Dims wc{w[1], group};
  const std::int64_t channels = count_of(wc);
  const std::vector<std::int64_t> in = input_spatial(c, read_window(c.attrs, kernel_of(w)), dy.space);
  const Dims out = join_dims(dy.batch, channels, in, last);
  check_epilogue(c, out, channels);
  c.output(c.dtype(0), out);
  infer_mask_output(c);
}

void infer_conv_weight_grad(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.expect_float(0);
  c.expect_same_dtype(0, 1);
  const bool last = is_channels_last(c.attrs);
  const SpatialDims x = spatial_dims(c.dims(0), last), dy = spatial_dims(c.dims(1), last);
  const std::vector<std::int64_t> kernel = c.attrs.ints("kernel");
  ONNXRAY_CHECK(kernel.size() == x.space.size() && dy.space.size() == x.space.size() && x.batch == dy.batch, "x ",
                to_string(c.dims(0)), ", dy ", to_string(c.dims(1)), " and kernel ", to_string(kernel),
                " do not belong together");
  const std::int64_t group = group_of(c, x.channels, dy.channels);
  const std::vector<std::int64_t> out = positions(read_window(c.attrs, kernel), x.space);
  ONNXRAY_CHECK(out == dy.space, "a window over ", to_string(x.space), " has ", to_string(out), " positions, got ",
                to_string(dy.space));
  Dims dims{dy.channels, x.channels / group};
  dims.insert(dims.end(), kernel.begin(), kernel.end());
  c.output(c.dtype(0), dims);
}

Attrs window_attrs(const Attrs& a) {
  Attrs out;
  for (const char* name : {"strides", "pads", "dilations", "group", "channels_last"}) {
    if (const Attr* v = a.find(name)) out.set(name, *v);
  }
  return out;
}

// The cotangent before the epilogues; sets that of a summed input on the way.
ValueId before_epilogue(GradCtx& c) {
  ValueId dy = c.dy();
  const auto where_positive = [&](ValueId v) {
    const ValueId positive = c.b.op("greater", {v, c.b.scalar_like(v, 0)});
    return c.b.where(positive, dy, c.b.scalar_like(dy, 0));
  };
  if (c.attrs.has("mask_input")) {
    const ValueId mask = c.x(static_cast<std::size_t>(c.attrs.integer("mask_input", 0)));
    const bool packed = c.b.graph.value(mask).dtype == DType::i32;
    dy = packed ? c.b.op("relu_grad", {dy, mask}) : where_positive(mask);
  }
  if (c.attrs.integer("relu", 0) != 0) dy = where_positive(c.y());
  if (c.attrs.has("sum_input")) {
    const auto i = static_cast<std::size_t>(c.attrs.integer("sum_input", 0));
    if (c.wanted(i)) c.set(i, dy);
  }
  return dy;
}

ValueId sum_over_all_but_channels(GradCtx& c, ValueId dy) {
  const auto rank = static_cast<std::int64_t>(c.b.rank(dy));
  const std::int64_t channel = is_channels_last(c.attrs) ? rank - 1 : 1;
  std::vector<std::int64_t> axes;
  for (std::int64_t i = 0; i < rank; ++i) {
    if (i != channel) axes.push_back(i);
  }
  return c.b.reduce("reduce_sum", dy, axes, false);
}

ValueId input_grad(GradCtx& c, ValueId dy, ValueId w, const Dims& x) {
  Attrs attrs = window_attrs(c.attrs);
  attrs.set("input_spatial", spatial_dims(x, is_channels_last(c.attrs)).space);
  return c.b.op("conv_input_grad", {dy, w}, std::move(attrs));
}

ValueId weight_grad(GradCtx& c, ValueId x, ValueId dy, const Dims& w) {
  Attrs attrs = window_attrs(c.attrs);
  attrs.set("kernel", kernel_of(w));
  return c.b.op("conv_weight_grad", {x, dy}, std::move(attrs));
}

void grad_conv(GradCtx& c) {
  const ValueId dy = before_epilogue(c);
  if (c.wanted(0)) c.set(0, input_grad(c, dy, c.x(1), c.dims(0)));
  if (c.wanted(1)) c.set(1, weight_grad(c, c.x(0), dy, c.dims(1)));
  if (c.wanted(2)) c.set(2, sum_over_all_but_channels(c, dy));
}

// y = conv_input_grad(a, w): its cotangent has x's shape.
void grad_conv_input_grad(GradCtx& c) {
  const ValueId dy = before_epilogue(c);
  if (c.wanted(0)) c.set(0, c.b.op("conv", {dy, c.x(1)}, window_attrs(c.attrs)));
  if (c.wanted(1)) c.set(1, weight_grad(c, dy, c.x(0), c.dims(1)));
  if (c.wanted(2)) c.set(2, sum_over_all_but_channels(c, dy));
}

void grad_conv_weight_grad(GradCtx& c) {
  if (c.wanted(0)) c.set(0, input_grad(c, c.x(1), c.dy(), c.dims(0)));
  if (c.wanted(1)) c.set(1, c.b.op("conv", {c.x(0), c.dy()}, window_attrs(c.attrs)));
}

// Rows on the batch axis; weights and bias without rows; what an epilogue reads carries the same rows.
void rows_conv(RowsCtx& c) {
  const RowMap x = c.inputs[0].rows;
  if (x.is_mixed() || (x.is_rows() && x.axis != 0)) return;
  if (!c.inputs[1].rows.is_none() || (c.inputs.size() > 2 && !c.inputs[2].rows.is_none())) return;
  for (std::size_t i = 3; i < c.inputs.size(); ++i) {
    if (c.inputs[i].dims != nullptr && c.inputs[i].rows != x) return;
  }
  for (RowMap& o : c.outputs) o = x;
}

}  // namespace

void register_conv_ops(OpRegistry& r) {
  r.add({.name = "conv",
         .infer = infer_conv,
         .grad = grad_conv,
         .rows = rows_conv,
         .channels_last = channels_last_window,
         .window = window_conv,
         .traits = {.linear = true}});
  r.add({.name = "conv_input_grad",
         .infer = infer_conv_input_grad,
         .grad = grad_conv_input_grad,
         .rows = rows_conv,
         .channels_last = channels_last_window,
         .traits = {.linear = true}});
  r.add({.name = "conv_weight_grad",
         .infer = infer_conv_weight_grad,
         .grad = grad_conv_weight_grad,
         .channels_last = channels_last_window,
         .traits = {.linear = true}});
}

}  // namespace onnxray
