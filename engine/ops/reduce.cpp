// Reductions over axes, arg reductions and cumulative sums.
#include <algorithm>

#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

bool reduces(const std::vector<std::int64_t>& axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

// Reduced axes become 1, or vanish without keepdims.
Dims reduced_dims(const Dims& d, const std::vector<std::int64_t>& axes, bool keepdims) {
  Dims out;
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (!reduces(axes, static_cast<std::int64_t>(i))) out.push_back(d[i]);
    else if (keepdims) out.push_back(1);
  }
  return out;
}

std::vector<std::int64_t> checked_axes(const InferCtx& c) {
  const std::vector<std::int64_t> axes = c.attrs.ints("axes");
  const auto rank = static_cast<std::int64_t>(c.rank(0));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ONNXRAY_CHECK(axes[i] >= 0 && axes[i] < rank, "axis ", axes[i], " is out of range for shape ",
                  to_string(c.dims(0)));
    ONNXRAY_CHECK(i == 0 || axes[i] > axes[i - 1], "axes ", to_string(axes), " must increase");
  }
  return axes;
}

void infer_reduce(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::vector<std::int64_t> axes = checked_axes(c);
  c.output(c.dtype(0), reduced_dims(c.dims(0), axes, c.attrs.integer("keepdims", 1) != 0));
}

void infer_reduce_number(InferCtx& c) {
  infer_reduce(c);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected a number type, got bool");
}

void infer_mean(InferCtx& c) {
  infer_reduce_number(c);
  std::int64_t n = 1;
  for (const std::int64_t a : c.attrs.ints("axes")) n *= c.dims(0)[static_cast<std::size_t>(a)];
  ONNXRAY_CHECK(n > 0 || is_float(c.dtype(0)), "the integer mean of no elements, shape ", to_string(c.dims(0)));
}

// Where the row axis of the input stands in the output; mixed when it is reduced.
RowMap rows_after(const RowMap& in, const std::vector<std::int64_t>& axes, bool keepdims) {
  if (!in.is_rows()) return in;
  if (reduces(axes, in.axis)) return RowMap::mixed();
  if (keepdims) return in;
  const auto before = std::count_if(axes.begin(), axes.end(), [&](std::int64_t a) { return a < in.axis; });
  return RowMap::rows(in.axis - before, in.inner);
}

void rows_reduce(RowsCtx& c) {
  c.outputs[0] = rows_after(c.inputs[0].rows, c.attrs.ints("axes"), c.attrs.integer("keepdims", 1) != 0);
}

void rows_arg(RowsCtx& c) {
  c.outputs[0] = rows_after(c.inputs[0].rows, {c.attrs.integer("axis", 0)}, c.attrs.integer("keepdims", 1) != 0);
}

void rows_along_axis(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  c.outputs[0] = in.is_rows() && in.axis == c.attrs.integer("axis", 0) ? RowMap::mixed() : in;
}

// v, one value per reduction, as [.., 1, ..] so that it broadcasts against the input.
ValueId kept(GradCtx& c, ValueId v) { return c.b.reshape(v, reduced_dims(c.dims(0), c.attrs.ints("axes"), true)); }

void grad_sum(GradCtx& c) { c.set(0, c.b.expand(kept(c, c.dy()), c.dims(0))); }

void grad_mean(GradCtx& c) {
  double n = 1;
  for (const std::int64_t a : c.attrs.ints("axes")) n *= static_cast<double>(c.dims(0)[static_cast<std::size_t>(a)]);
  if (n == 0) n = 1;  // nothing to receive the gradient
  c.set(0, c.b.expand(c.b.mul(kept(c, c.dy()), 1 / n), c.dims(0)));
}

// Elements equal to the extremum share the gradient equally.
void grad_extremum(GradCtx& c) {
  Builder& b = c.b;
  const ValueId hit = b.cast(b.op("equal", {c.x(0), kept(c, c.y())}), b.dtype(c.dy()));
  const ValueId hits = b.reduce("reduce_sum", hit, c.attrs.ints("axes"), true);
  c.set(0, b.mul(hit, b.div(kept(c, c.dy()), hits)));
}

// The derivative of a product is the product of all other elements, exact where elements are zero: the product is built
// as a binary tree of multiplications (halves of an axis against each other) and the tree is differentiated.
void grad_prod(GradCtx& c) {
  Builder& b = c.b;
  struct Level {
    std::int64_t axis, extent;
    ValueId left, right;
  };
  std::vector<Level> levels;
  ValueId v = c.x(0);
  for (const std::int64_t axis : c.attrs.ints("axes")) {
    const auto extent = [&] { return b.dims(v)[static_cast<std::size_t>(axis)]; };
    if (extent() == 0) return c.set(0, b.mul(c.x(0), kept(c, c.dy())));  // no elements, no gradient
    while (extent() > 1) {
      const std::int64_t n = extent(), half = n / 2;
      levels.push_back({axis, n, b.slice(v, axis, 0, half), b.slice(v, axis, half, 2 * half)});
      const ValueId products = b.mul(levels.back().left, levels.back().right);
      v = n % 2 == 0 ? products : b.op("concat", {products, b.slice(v, axis, n - 1, n)}, {{"axis", axis}});
    }
  }
  ValueId d = kept(c, c.dy());
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    const std::int64_t half = level->extent / 2;
    const ValueId products = b.slice(d, level->axis, 0, half);
    std::vector<ValueId> parts{b.mul(products, level->right), b.mul(products, level->left)};
    if (level->extent % 2 != 0) parts.push_back(b.slice(d, level->axis, half, half + 1));
    d = b.op("concat", parts, {{"axis", level->axis}});
  }
  c.set(0, d);
}

void grad_cumsum(GradCtx& c) {
  Attrs attrs = c.attrs;
  attrs.set("reverse", std::int64_t{c.attrs.integer("reverse", 0) == 0});
  c.set(0, c.b.op("cumsum", {c.dy()}, std::move(attrs)));
}

void infer_arg(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(0)), "axis ", axis, " is out of range for shape ",
                to_string(c.dims(0)));
  ONNXRAY_CHECK(c.dims(0)[static_cast<std::size_t>(axis)] > 0, "axis ", axis, " of shape ", to_string(c.dims(0)),
                " has no elements to choose from");
  c.output(DType::i64, reduced_dims(c.dims(0), {axis}, c.attrs.integer("keepdims", 1) != 0));
}

void infer_cumsum(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  ONNXRAY_CHECK(axis >= 0 && axis < static_cast<std::int64_t>(c.rank(0)), "axis ", axis, " is out of range for shape ",
                to_string(c.dims(0)));
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected a number type, got bool");
  c.output(c.dtype(0), c.dims(0));
}

}  // namespace

void register_reduce_ops(OpRegistry& r) {
  r.add({.name = "reduce_sum",
         .infer = infer_reduce_number,
         .grad = grad_sum,
         .rows = rows_reduce,
         .channels_last = channels_last_reduce,
         .traits = {.linear = true}});
  r.add({.name = "reduce_mean",
         .infer = infer_mean,
         .grad = grad_mean,
         .rows = rows_reduce,
         .channels_last = channels_last_reduce,
         .traits = {.linear = true}});
  r.add({.name = "reduce_max",
         .infer = infer_reduce,
         .grad = grad_extremum,
         .rows = rows_reduce,
         .channels_last = channels_last_reduce});
  r.add({.name = "reduce_min",
         .infer = infer_reduce,
         .grad = grad_extremum,
         .rows = rows_reduce,
         .channels_last = channels_last_reduce});
  r.add({.name = "reduce_prod",
         .infer = infer_reduce_number,
         .grad = grad_prod,
         .rows = rows_reduce,
         .channels_last = channels_last_reduce});
  r.add({.name = "argmax", .infer = infer_arg, .rows = rows_arg, .traits = {.piecewise_constant = true}});
  r.add({.name = "argmin", .infer = infer_arg, .rows = rows_arg, .traits = {.piecewise_constant = true}});
  r.add({.name = "cumsum",
         .infer = infer_cumsum,
         .grad = grad_cumsum,
         .rows = rows_along_axis,
         .traits = {.linear = true}});
}

}  // namespace onnxray
