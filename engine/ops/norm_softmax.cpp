// softmax and log_softmax along one axis.
#include <limits>

#include "engine/builder.h"
#include "engine/ops/layout.h"
#include "engine/ops/norm.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

std::int64_t axis_of(const Attrs& attrs) { return attrs.integer("axis", 0); }

void expect_axis(const InferCtx& c) {
  const std::int64_t axis = axis_of(c.attrs);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(0)), "axis ", axis, " is out of range for shape ",
                to_string(c.dims(0)));
}

void infer_softmax(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  expect_axis(c);
  c.output(c.dtype(0), c.dims(0));
}

void infer_softmax_grad(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.expect_float(0);
  c.expect_same_dtype(0, 1);
  expect_axis(c);
  ONNXRAY_CHECK(c.dims(0) == c.dims(1), "dy has shape ", to_string(c.dims(0)), ", y ", to_string(c.dims(1)));
  c.output(c.dtype(0), c.dims(0));
}

void rows_softmax(RowsCtx& c) {
  const RowMap rows = rows_same_axis(c);
  if (!rows.is_rows() || rows.axis != axis_of(c.attrs)) c.outputs[0] = rows;
}

ValueId sum_along(Builder& b, ValueId v, std::int64_t axis) { return b.reduce("reduce_sum", v, {axis}, true); }

// x minus its maximum along the axis. The maximum is a constant to the gradient of what follows (it cancels).
ValueId shifted(Builder& b, ValueId x, std::int64_t axis) { return b.sub(x, b.reduce("reduce_max", x, {axis}, true)); }

// With `masked` a line of nothing but -infinity becomes zeros.
std::vector<ValueId> expand_softmax(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId x = in[0];
  const std::int64_t axis = axis_of(node.attrs);
  if (node.attrs.integer("masked", 0) == 0) {
    const ValueId e = b.op("exp", {shifted(b, x, axis)});
    return {b.div(e, sum_along(b, e, axis))};
  }
  const ValueId top = b.reduce("reduce_max", x, {axis}, true);
  const ValueId none = b.op("equal", {top, b.scalar_like(x, -std::numeric_limits<double>::infinity())});
  const ValueId e = b.op("exp", {b.sub(x, b.where(none, b.scalar_like(x, 0), top))});
  return {b.div(e, b.where(none, b.scalar_like(x, 1), sum_along(b, e, axis)))};
}

std::vector<ValueId> expand_log_softmax(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId z = shifted(b, in[0], axis_of(node.attrs));
  return {b.sub(z, b.op("log", {sum_along(b, b.op("exp", {z}), axis_of(node.attrs))}))};
}

// dx = y (dy - sum(dy y))
std::vector<ValueId> expand_softmax_grad(Builder& b, const Node& node, std::span<const ValueId> in) {
  return {b.mul(in[1], b.sub(in[0], sum_along(b, b.mul(in[0], in[1]), axis_of(node.attrs))))};
}

// With u the cotangent of dx: d/d(dy) is the same symmetric map of u; d/dy = u (dy - s) - dy sum(u y), s = sum(dy y).
void grad_softmax_grad(GradCtx& c) {
  Builder& b = c.b;
  const std::int64_t axis = axis_of(c.attrs);
  const ValueId u = c.dy(), dy = c.x(0), y = c.x(1);
  if (c.wanted(0)) c.set(0, b.op("softmax_grad", {u, y}, c.attrs));
  if (c.wanted(1)) {
    const ValueId s = sum_along(b, b.mul(dy, y), axis);
    c.set(1, b.sub(b.mul(u, b.sub(dy, s)), b.mul(dy, sum_along(b, b.mul(u, y), axis))));
  }
}

}  // namespace

void register_softmax_ops(OpRegistry& r) {
  // softmax(x; axis[, masked]).
  r.add({.name = "softmax",
         .infer = infer_softmax,
         .grad =
             [](GradCtx& c) {
               c.set(0, c.b.op("softmax_grad", {c.dy(), c.y()}, c.attrs));
             },
         .rows = rows_softmax,
         .expand = expand_softmax,
         .channels_last = channels_last_axis});
  // dx from dy and the softmax y.
  r.add({.name = "softmax_grad",
         .infer = infer_softmax_grad,
         .grad = grad_softmax_grad,
         .rows = rows_softmax,
         .expand = expand_softmax_grad,
         .channels_last = channels_last_axis});
  // dx = dy - exp(y) sum(dy)
  r.add({.name = "log_softmax",
         .infer = infer_softmax,
         .grad =
             [](GradCtx& c) {
               Builder& b = c.b;
               const ValueId p = b.op("exp", {c.y()});
               c.set(0, b.sub(c.dy(), b.mul(p, sum_along(b, c.dy(), axis_of(c.attrs)))));
             },
         .rows = rows_softmax,
         .expand = expand_log_softmax,
         .channels_last = channels_last_axis});
}

}  // namespace onnxray
