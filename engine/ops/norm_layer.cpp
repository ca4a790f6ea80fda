// layer_norm, rms_norm and batch_norm.
#include "engine/builder.h"
#include "engine/ops/norm.h"

namespace onnxray {
namespace {

std::int64_t axis_of(const Attrs& attrs) { return attrs.integer("axis", 0); }

// The dims from the first normalised axis on.
Dims normalised(const Dims& d, std::int64_t axis) { return {d.begin() + axis, d.end()}; }

// Shape of the statistics: the normalised dims are 1.
Dims statistics(Dims d, std::int64_t axis) {
  for (auto i = static_cast<std::size_t>(axis); i < d.size(); ++i) d[i] = 1;
  return d;
}

std::vector<std::int64_t> axes_from(std::int64_t axis, std::size_t rank) {
  std::vector<std::int64_t> axes;
  for (std::int64_t a = axis; a < static_cast<std::int64_t>(rank); ++a) axes.push_back(a);
  return axes;
}

void expect_axis(const InferCtx& c, std::size_t x) {
  const std::int64_t axis = axis_of(c.attrs);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(x)), "axis ", axis, " is out of range for shape ",
                to_string(c.dims(x)));
}

// An optional input of a given shape and x's dtype.
void expect_shape(const InferCtx& c, std::size_t x, std::size_t i, const Dims& expected, const char* what) {
  if (!c.has(i)) return;
  c.expect_same_dtype(x, i);
  ONNXRAY_CHECK(c.dims(i) == expected, what, " has shape ", to_string(c.dims(i)), ", expected ", to_string(expected));
}

double epsilon_of(const Attrs& attrs) { return attrs.real("epsilon", 1e-5); }

void expect_epsilon(const InferCtx& c) {
  ONNXRAY_CHECK(epsilon_of(c.attrs) >= 0, "epsilon is ", epsilon_of(c.attrs), ", expected at least 0");
}

void infer_layer_norm(InferCtx& c) {
  c.expect_inputs(1, 3);
  c.expect_float(0);
  expect_axis(c, 0);
  expect_epsilon(c);
  const Dims n = normalised(c.dims(0), axis_of(c.attrs));
  expect_shape(c, 0, 1, n, "scale");
  expect_shape(c, 0, 2, n, "bias");
  c.output(c.dtype(0), c.dims(0));
  c.output(c.dtype(0), statistics(c.dims(0), axis_of(c.attrs)));
  c.output(c.dtype(0), statistics(c.dims(0), axis_of(c.attrs)));
}

void infer_rms_norm(InferCtx& c) {
  c.expect_inputs(1, 2);
  c.expect_float(0);
  expect_axis(c, 0);
  expect_epsilon(c);
  expect_shape(c, 0, 1, normalised(c.dims(0), axis_of(c.attrs)), "scale");
  c.output(c.dtype(0), c.dims(0));
  c.output(c.dtype(0), statistics(c.dims(0), axis_of(c.attrs)));
}

void infer_layer_norm_grad(InferCtx& c) {
  ONNXRAY_CHECK(c.count() == 5 && c.has(0) && c.has(1) && c.has(4),
                "expected dy, x, scale or none, mean or none, rstd");
  c.expect_float(1);
  expect_axis(c, 1);
  const Dims n = normalised(c.dims(1), axis_of(c.attrs)), s = statistics(c.dims(1), axis_of(c.attrs));
  expect_shape(c, 1, 0, c.dims(1), "dy");
  expect_shape(c, 1, 2, n, "scale");
  expect_shape(c, 1, 3, s, "mean");
  expect_shape(c, 1, 4, s, "rstd");
  c.output(c.dtype(1), c.dims(1));
}

// Inputs `per_row` and all outputs share one row axis before the normalised ones; the others must not carry rows.
void rows_before_axis(RowsCtx& c, std::initializer_list<std::size_t> per_row) {
  RowMap rows = RowMap::none();
  std::vector<char> may(c.inputs.size(), 0);
  for (const std::size_t i : per_row) {
    if (i < may.size()) may[i] = 1;
  }
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const RowsCtx::Input& in = c.inputs[i];
    if (in.dims == nullptr || in.rows.is_none()) continue;
    if (in.rows.is_mixed() || may[i] == 0 || in.rows.axis >= axis_of(c.attrs)) return;
    if (rows.is_rows() && !(rows == in.rows)) return;
    rows = in.rows;
  }
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    if (may[i] != 0 && c.inputs[i].dims != nullptr && c.inputs[i].rows.is_none()) c.expand[i] = rows;
  }
  for (RowMap& o : c.outputs) o = rows;
}

std::vector<ValueId> expand_layer_norm(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId x = in[0];
  const auto axes = axes_from(axis_of(node.attrs), b.rank(x));
  const ValueId mean = b.reduce("reduce_mean", x, axes, true);
  const ValueId d = b.sub(x, mean);
  const ValueId var = b.reduce("reduce_mean", b.mul(d, d), axes, true);
  const ValueId rstd = b.div(b.scalar_like(x, 1), b.op("sqrt", {b.add(var, epsilon_of(node.attrs))}));
  ValueId y = b.mul(d, rstd);
  if (in.size() > 1 && in[1] != kNoValue) y = b.mul(y, in[1]);
  if (in.size() > 2 && in[2] != kNoValue) y = b.add(y, in[2]);
  return {y, mean, rstd};
}

std::vector<ValueId> expand_rms_norm(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId x = in[0];
  const ValueId square = b.reduce("reduce_mean", b.mul(x, x), axes_from(axis_of(node.attrs), b.rank(x)), true);
  const ValueId rstd = b.div(b.scalar_like(x, 1), b.op("sqrt", {b.add(square, epsilon_of(node.attrs))}));
  ValueId y = b.mul(x, rstd);
  if (in.size() > 1 && in[1] != kNoValue) y = b.mul(y, in[1]);
  return {y, rstd};
}

ValueId centred(Builder& b, ValueId x, ValueId mean, ValueId rstd) {
  return b.mul(mean == kNoValue ? x : b.sub(x, mean), rstd);
}

// With g = dy scale and xh = (x - mean) rstd: dx = rstd (g - mean(g) - xh mean(g xh)); without `mean` (RMS) the middle
// term is absent.
std::vector<ValueId> expand_layer_norm_grad(Builder& b, const Node& node, std::span<const ValueId> in) {
  const auto axes = axes_from(axis_of(node.attrs), b.rank(in[1]));
  const ValueId g = in[2] == kNoValue ? in[0] : b.mul(in[0], in[2]);
  const ValueId xh = centred(b, in[1], in[3], in[4]);
  ValueId d = b.sub(g, b.mul(xh, b.reduce("reduce_mean", b.mul(g, xh), axes, true)));
  if (in[3] != kNoValue) d = b.sub(d, b.reduce("reduce_mean", g, axes, true));
  return {b.mul(d, in[4])};
}

void add_to(Builder& b, ValueId& sum, ValueId v) { sum = sum == kNoValue ? v : b.add(sum, v); }

// Inputs x, scale, bias; `mean` is absent for RMS. d_mean and d_rstd are the cotangents of the statistics.
void grad_norm(GradCtx& c, ValueId mean, ValueId rstd, ValueId d_mean, ValueId d_rstd) {
  Builder& b = c.b;
  const ValueId dy = c.dy(0), x = c.x(0);
  const bool scaled = c.node.inputs.size() > 1 && c.node.inputs[1] != kNoValue;
  double n = 1;
  const Dims dims = b.dims(x);
  for (const std::int64_t e : normalised(dims, axis_of(c.attrs))) n *= static_cast<double>(e);
  if (n == 0) n = 1;
  if (c.wanted(0)) {
    ValueId dx = kNoValue;
    if (dy != kNoValue) {
      dx = b.op("layer_norm_grad", {dy, x, scaled ? c.x(1) : kNoValue, mean, rstd}, {{"axis", axis_of(c.attrs)}});
    }
    if (d_mean != kNoValue) add_to(b, dx, b.expand(b.mul(d_mean, 1 / n), dims));
    if (d_rstd != kNoValue) {
      // d rstd / dx = -rstd^2 xh / n
      const ValueId s = b.mul(b.mul(d_rstd, b.mul(rstd, rstd)), -1 / n);
      add_to(b, dx, b.mul(centred(b, x, mean, rstd), s));
    }
    c.set(0, dx);
  }
  if (dy == kNoValue) return;
  if (c.wanted(1)) c.set(1, b.mul(dy, centred(b, x, mean, rstd)));
  if (c.wanted(2)) c.set(2, dy);
}

void infer_batch_norm(InferCtx& c) {
  c.expect_inputs(5, 5);
  c.expect_float(0);
  ONNXRAY_CHECK(c.rank(0) >= 2, "batch_norm: x has shape ", to_string(c.dims(0)), ", expected [N, C, ...]");
  expect_epsilon(c);
  const Dims channels{c.dims(0)[1]};
  const char* names[] = {"x", "scale", "bias", "mean", "variance"};
  for (std::size_t i = 1; i < 5; ++i) expect_shape(c, 0, i, channels, names[i]);
  c.output(c.dtype(0), c.dims(0));
}

// Per-channel values [C] as [C, 1, ...], broadcasting against [N, C, ...].
ValueId per_channel(Builder& b, ValueId v, std::size_t rank) {
  Dims d(rank - 1, 1);
  d[0] = b.dims(v)[0];
  return b.reshape(v, d);
}

ValueId batch_rstd(Builder& b, ValueId var, const Attrs& attrs) {
  return b.div(b.scalar_like(var, 1), b.op("sqrt", {b.add(var, epsilon_of(attrs))}));
}

// x a + (bias - mean a) with a = scale / sqrt(var + epsilon)
std::vector<ValueId> expand_batch_norm(Builder& b, const Node& node, std::span<const ValueId> in) {
  const std::size_t rank = b.rank(in[0]);
  const ValueId a = b.mul(in[1], batch_rstd(b, in[4], node.attrs));
  const ValueId shift = b.sub(in[2], b.mul(in[3], a));
  return {b.add(b.mul(in[0], per_channel(b, a, rank)), per_channel(b, shift, rank))};
}

void grad_batch_norm(GradCtx& c) {
  Builder& b = c.b;
  const ValueId dy = c.dy();
  const std::size_t rank = b.rank(dy);
  const ValueId rstd = batch_rstd(b, c.x(4), c.attrs), a = b.mul(c.x(1), rstd);
  if (c.wanted(0)) c.set(0, b.mul(dy, per_channel(b, a, rank)));
  std::vector<std::int64_t> others{0};
  for (std::size_t i = 2; i < rank; ++i) others.push_back(static_cast<std::int64_t>(i));
  const auto per_channel_sum = [&](ValueId v) { return b.reduce("reduce_sum", v, others, false); };
  if (c.wanted(2) || c.wanted(3)) {
    const ValueId sum = per_channel_sum(dy);
    c.set(2, sum);
    if (c.wanted(3)) c.set(3, b.neg(b.mul(sum, a)));
  }
  if (c.wanted(1) || c.wanted(4)) {
    const ValueId xh = b.mul(b.sub(c.x(0), per_channel(b, c.x(3), rank)), per_channel(b, rstd, rank));
    const ValueId sum = per_channel_sum(b.mul(dy, xh));
    c.set(1, sum);
    if (c.wanted(4)) c.set(4, b.mul(b.mul(sum, a), b.mul(rstd, -0.5)));
  }
}

void rows_batch_norm(RowsCtx& c) {
  for (std::size_t i = 1; i < c.inputs.size(); ++i) {
    if (!c.inputs[i].rows.is_none()) return;
  }
  const RowMap x = c.inputs[0].rows;
  c.outputs[0] = x.is_rows() && x.axis == 1 ? RowMap::mixed() : x;
}

}  // namespace

void register_normalisation_ops(OpRegistry& r) {
  // y = (x - mean) rstd scale + bias over the axes from `axis` on; also mean and rstd = 1 / sqrt(var + epsilon).
  r.add({.name = "layer_norm",
         .infer = infer_layer_norm,
         .grad = [](GradCtx& c) { grad_norm(c, c.y(1), c.y(2), c.dy(1), c.dy(2)); },
         .rows = [](RowsCtx& c) { rows_before_axis(c, {0}); },
         .expand = expand_layer_norm});
  // y = x rstd scale; also rstd = 1 / sqrt(mean(x^2) + epsilon).
  r.add({.name = "rms_norm",
         .infer = infer_rms_norm,
         .grad = [](GradCtx& c) { grad_norm(c, kNoValue, c.y(1), kNoValue, c.dy(1)); },
         .rows = [](RowsCtx& c) { rows_before_axis(c, {0}); },
         .expand = expand_rms_norm});
  // dx from dy, x, scale, mean, rstd; no scale, or no mean (rms_norm), where absent.
  r.add({.name = "layer_norm_grad",
         .infer = infer_layer_norm_grad,
         .grad = grad_through_expansion,
         .rows =
             [](RowsCtx& c) {
               rows_before_axis(c, {0, 1, 3, 4});
             },
         .expand = expand_layer_norm_grad});
  // Inference: (x - mean) / sqrt(var + epsilon) scale + bias per channel (axis 1).
  r.add({.name = "batch_norm",
         .infer = infer_batch_norm,
         .grad = grad_batch_norm,
         .rows = rows_batch_norm,
         .expand = expand_batch_norm,
         .traits = {.linear = true}});
}

}  // namespace onnxray
