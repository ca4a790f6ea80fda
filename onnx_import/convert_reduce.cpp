// Reductions, ArgMax and ArgMin, CumSum.
#include <limits>

#include "onnx_import/convert.h"

namespace onnxray::onnx_import {
namespace {

// The axes to reduce: all when none are given, unless noop_with_empty_axes says none.
std::vector<std::int64_t> reduced_axes(ConvertCtx& c, std::int64_t input_since) {
  const auto given = c.axes(input_since, 1, c.rank(0));
  if (given && !given->empty()) return *given;
  std::vector<std::int64_t> all;
  if (c.attr_int("noop_with_empty_axes", 0) != 0) return all;
  for (std::size_t i = 0; i < c.rank(0); ++i) all.push_back(static_cast<std::int64_t>(i));
  return all;
}

bool keepdims(ConvertCtx& c) { return c.attr_int("keepdims", 1) != 0; }

// The dtype a reduction runs in: integers that are storage only go through int64.
DType compute_type(DType t) {
  switch (t) {
    case DType::u64:
    case DType::u32:
    case DType::u16:
    case DType::i16: return DType::i64;
    default: return t;
  }
}

// before(x), reduced by `op`, then after(x).
template <class Before, class After>
void reduce(ConvertCtx& c, std::string_view op, Before before, After after) {
  const std::vector<std::int64_t> axes = reduced_axes(c, op == "reduce_sum" && c.node.op_type == "ReduceSum" ? 13 : 18);
  Builder& b = c.b;
  const DType declared = c.dtype(0);
  const ValueId x = before(b, b.cast(c.in(0), compute_type(declared)));
  c.out(b.cast(after(b, b.reduce(op, x, axes, keepdims(c))), declared));
}

ValueId same(Builder&, ValueId v) { return v; }
ValueId absolute(Builder& b, ValueId v) { return b.op("abs", {v}); }
ValueId square(Builder& b, ValueId v) { return b.mul(v, v); }

// f on floats; integers go through float64.
template <class F>
ValueId in_float(Builder& b, ValueId v, F f) {
  const DType t = b.dtype(v);
  if (is_float(t)) return f(v);
  return b.cast(f(b.cast(v, DType::f64)), t);
}
ValueId root(Builder& b, ValueId v) {
  return in_float(b, v, [&](ValueId x) { return b.op("sqrt", {x}); });
}
ValueId logarithm(Builder& b, ValueId v) {
  return in_float(b, v, [&](ValueId x) { return b.op("log", {x}); });
}

void reduce_sum(ConvertCtx& c) { reduce(c, "reduce_sum", same, same); }
void reduce_mean(ConvertCtx& c) { reduce(c, "reduce_mean", same, same); }
void reduce_max(ConvertCtx& c) { reduce(c, "reduce_max", same, same); }
void reduce_min(ConvertCtx& c) { reduce(c, "reduce_min", same, same); }
void reduce_prod(ConvertCtx& c) { reduce(c, "reduce_prod", same, same); }
void reduce_l1(ConvertCtx& c) { reduce(c, "reduce_sum", absolute, same); }
void reduce_l2(ConvertCtx& c) { reduce(c, "reduce_sum", square, root); }
void reduce_log_sum(ConvertCtx& c) { reduce(c, "reduce_sum", same, logarithm); }
void reduce_sum_square(ConvertCtx& c) { reduce(c, "reduce_sum", square, same); }

// log(sum(exp(x - m))) + m with m the maximum, or 0 where that is infinite.
void reduce_log_sum_exp(ConvertCtx& c) {
  Builder& b = c.b;
  const std::vector<std::int64_t> axes = reduced_axes(c, 18);
  const auto value = [&](ValueId x) {
    const double infinity = std::numeric_limits<double>::infinity();
    const ValueId top = b.reduce("reduce_max", x, axes, true);
    const ValueId infinite = b.op("equal", {b.op("abs", {top}), b.scalar_like(x, infinity)});
    const ValueId m = b.where(infinite, b.scalar_like(x, 0), top);
    const ValueId sum = b.reduce("reduce_sum", b.op("exp", {b.sub(x, m)}), axes, true);
    const ValueId y = b.add(b.op("log", {sum}), m);
    return keepdims(c) ? y : b.reduce("reduce_sum", y, axes, false);  // drops axes of extent 1
  };
  c.out(in_float(b, c.in(0), value));
}

template <bool kMax>
void arg(ConvertCtx& c) {
  c.out(c.b.op(kMax ? "argmax" : "argmin", {c.b.cast(c.in(0), compute_type(c.dtype(0)))},
               {{"axis", normalize_axis(c.attr_int("axis", 0), c.rank(0), c.node.op_type.c_str())},
                {"keepdims", std::int64_t{keepdims(c)}},
                {"select_last", c.attr_int("select_last_index", 0)}}));
}

void cumsum(ConvertCtx& c) {
  const std::vector<std::int64_t> axis = c.constant_ints(1);
  ONNXRAY_CHECK(axis.size() == 1, "the axis input has ", axis.size(), " elements, expected 1");
  const DType declared = c.dtype(0);
  const ValueId y = c.b.op("cumsum", {c.b.cast(c.in(0), compute_type(declared))},
                           {{"axis", normalize_axis(axis[0], c.rank(0), "CumSum")},
                            {"exclusive", c.attr_int("exclusive", 0)},
                            {"reverse", c.attr_int("reverse", 0)}});
  c.out(c.b.cast(y, declared));
}

}  // namespace

void add_reduce_rows(OpTable& t) {
  t.add({.op_type = "ReduceSum", .convert = reduce_sum});
  t.add({.op_type = "ReduceMean", .convert = reduce_mean});
  t.add({.op_type = "ReduceMax", .convert = reduce_max});
  t.add({.op_type = "ReduceMin", .convert = reduce_min});
  t.add({.op_type = "ReduceProd", .convert = reduce_prod});
  t.add({.op_type = "ReduceL1", .convert = reduce_l1});
  t.add({.op_type = "ReduceL2", .convert = reduce_l2});
  t.add({.op_type = "ReduceLogSum", .convert = reduce_log_sum});
  t.add({.op_type = "ReduceLogSumExp", .convert = reduce_log_sum_exp});
  t.add({.op_type = "ReduceSumSquare", .convert = reduce_sum_square});
  t.add({.op_type = "ArgMax", .convert = arg<true>, .has_gradient = false});
  t.add({.op_type = "ArgMin", .convert = arg<false>, .has_gradient = false});
  t.add({.op_type = "CumSum", .since = 11, .convert = cumsum});
}

}  // namespace onnxray::onnx_import
