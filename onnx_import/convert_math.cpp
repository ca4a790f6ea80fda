// Arithmetic: unary, binary and variadic. Broadcasting is numpy's; before opset 7 the attributes `broadcast` and `axis`
// say how the second operand lies in the first.
#include <cmath>
#include <unordered_map>

#include "onnx_import/convert_math.h"
#include "onnx_import/convert_types.h"

namespace onnxray::onnx_import {
namespace {

const std::string& engine_op(const std::string& op_type) {
  static const std::unordered_map<std::string, std::string> names = {
      {"Abs", "abs"},         {"Neg", "neg"},     {"Sqrt", "sqrt"},
      {"Exp", "exp"},         {"Log", "log"},     {"Reciprocal", "reciprocal"},
      {"Erf", "erf"},         {"Sin", "sin"},     {"Cos", "cos"},
      {"Tan", "tan"},         {"Asin", "asin"},   {"Acos", "acos"},
      {"Atan", "atan"},       {"Sinh", "sinh"},   {"Cosh", "cosh"},
      {"Asinh", "asinh"},     {"Acosh", "acosh"}, {"Atanh", "atanh"},
      {"Floor", "floor"},     {"Ceil", "ceil"},   {"Round", "round"},
      {"Sign", "sign"},       {"Add", "add"},     {"Sub", "sub"},
      {"Mul", "mul"},         {"Div", "div"},     {"Max", "max"},
      {"Min", "min"},         {"Sum", "add"},     {"Equal", "equal"},
      {"Greater", "greater"}, {"Less", "less"},   {"GreaterOrEqual", "greater_equal"},
      {"And", "and"},         {"Or", "or"},       {"LessOrEqual", "less_equal"},
      {"Xor", "xor"},
  };
  const auto it = names.find(op_type);
  ONNXRAY_ASSERT(it != names.end(), "no engine op for ", op_type);
  return it->second;
}

void convert_unary(ConvertCtx& c) {
  const ValueId y = c.b.op(engine_op(c.node.op_type), {widened(c, 0)});
  c.out(c.b.cast(y, c.dtype(0)));
}

void convert_binary(ConvertCtx& c) {
  const ValueId y = c.b.op(engine_op(c.node.op_type), {widened(c, 0), legacy_operand(c, widened(c, 1))});
  c.out(c.b.cast(y, c.dtype(0)));
}

void convert_compare(ConvertCtx& c) {
  c.out(c.b.op(engine_op(c.node.op_type), {widened(c, 0), legacy_operand(c, widened(c, 1))}));
}

void convert_logic(ConvertCtx& c) { c.out(c.b.op(engine_op(c.node.op_type), {c.in(0), legacy_operand(c, c.in(1))})); }

ValueId fold_inputs(ConvertCtx& c) {
  ONNXRAY_CHECK(c.count() > 0, "no inputs");
  ValueId y = widened(c, 0);
  for (std::size_t i = 1; i < c.count(); ++i) y = c.b.op(engine_op(c.node.op_type), {y, widened(c, i)});
  return y;
}

void convert_variadic(ConvertCtx& c) { c.out(c.b.cast(fold_inputs(c), c.dtype(0))); }

void convert_mean(ConvertCtx& c) {
  ValueId y = c.in(0);
  for (std::size_t i = 1; i < c.count(); ++i) y = c.b.add(y, c.in(i));
  const auto n = static_cast<double>(c.count());
  c.out(n == 1 ? y : c.b.div(y, c.b.scalar_like(y, n)));
}

// Base and exponent may differ in type; the result has the base's.
void convert_pow(ConvertCtx& c) {
  const DType base = c.dtype(0), exponent = c.dtype(1);
  ValueId x = c.in(0), k = legacy_operand(c, c.in(1));
  if (is_float(base)) {
    k = c.b.cast(k, base);
  } else {
    const bool wide = base == DType::i64 || exponent == DType::i64 || compute_dtype(base) == DType::i64 ||
                      compute_dtype(exponent) == DType::i64;
    const DType t = is_float(exponent) ? DType::f64 : (wide ? DType::i64 : DType::i32);
    x = c.b.cast(x, t);
    k = c.b.cast(k, t);
  }
  c.out(c.b.cast(c.b.op("pow", {x, k}), base));
}

void convert_mod(ConvertCtx& c) {
  const ValueId y = c.b.op("mod", {widened(c, 0), widened(c, 1)}, {{"fmod", c.attr_int("fmod", 0)}});
  c.out(c.b.cast(y, c.dtype(0)));
}

void convert_where(ConvertCtx& c) { c.out(c.b.where(c.in(0), c.in(1), c.in(2))); }
void convert_not(ConvertCtx& c) { c.out(c.b.op("not", {c.in(0)})); }
void convert_is_nan(ConvertCtx& c) { c.out(c.b.op("is_nan", {c.in(0)})); }
void convert_is_inf(ConvertCtx& c) {
  c.out(c.b.op("is_inf", {c.in(0)},
               {{"positive", c.attr_int("detect_positive", 1)}, {"negative", c.attr_int("detect_negative", 1)}}));
}

// A bound of Clip without dims, or kNoValue.
ValueId clip_bound(ConvertCtx& c, std::size_t i) {
  if (!c.has(i)) return kNoValue;
  ONNXRAY_CHECK(count_of(c.dims(i)) == 1, "bound ", i, " has shape ", to_string(c.dims(i)), ", expected a scalar");
  return c.b.reshape(widened(c, i), {});
}

// Bounds as inputs (opset 11 on). max wins where min > max.
void convert_clip_inputs(ConvertCtx& c) {
  Builder& b = c.b;
  const ValueId lo = clip_bound(c, 1), hi = clip_bound(c, 2);
  ValueId x = widened(c, 0);
  const auto constant = [&](ValueId v) { return v == kNoValue || b.graph.is_constant(v); };
  if (is_float(c.dtype(0)) && constant(lo) && constant(hi)) {
    const auto value = [&](ValueId v, double otherwise) {
      return v == kNoValue ? otherwise : b.graph.value(v).constant.to_doubles()[0];
    };
    c.out(clip(c, x, value(lo, -HUGE_VAL), value(hi, HUGE_VAL)));
    return;
  }
  // Written with `where`, so that the gradient at a bound belongs to x.
  if (lo != kNoValue) x = b.where(b.op("less", {x, lo}), lo, x);
  if (hi != kNoValue) x = b.where(b.op("greater", {x, hi}), hi, x);
  c.out(b.cast(x, c.dtype(0)));
}

void convert_clip_attributes(ConvertCtx& c) {
  c.out(clip(c, c.in(0), c.attr_float("min", -HUGE_VAL), c.attr_float("max", HUGE_VAL)));
}

// y = scale x + bias[channel].
void convert_image_scaler(ConvertCtx& c) {
  const std::vector<double> bias = c.attr_floats("bias");
  const auto channels = static_cast<std::int64_t>(bias.size());
  ONNXRAY_CHECK(c.rank(0) == 4 && c.dims(0)[1] == channels, "bias has ", channels, " entries for an input of shape ",
                to_string(c.dims(0)));
  const ValueId offset = c.b.constant(Tensor::from<double>({1, channels, 1, 1}, bias).to(c.dtype(0)));
  c.out(c.b.add(c.b.mul(c.in(0), c.attr_float("scale", 1)), offset));
}

// y = alpha x + beta.
void convert_affine(ConvertCtx& c) {
  c.out(c.b.add(c.b.mul(c.in(0), c.attr_float("alpha", 1)), c.attr_float("beta", 0)));
}

// Cuts `border` = (left, top, right, bottom) off an image; `scale` = (height, width) fixes the size instead.
void convert_crop(ConvertCtx& c) {
  const std::vector<std::int64_t> border = c.attr_ints("border"), scale = c.attr_ints("scale");
  ONNXRAY_CHECK(c.rank(0) == 4 && border.size() == 4 && (scale.empty() || scale.size() == 2),
                "expected an image batch of rank 4, border of 4 and scale of 2 entries");
  ValueId x = c.in(0);
  for (const std::int64_t axis : {2, 3}) {
    const auto k = static_cast<std::size_t>(axis - 2);
    const std::int64_t extent = c.dims(0)[static_cast<std::size_t>(axis)], begin = border[1 - k], cut = border[3 - k];
    const std::int64_t size = scale.empty() ? extent - begin - cut : scale[k];
    ONNXRAY_CHECK(begin >= 0 && begin <= extent && cut >= 0 && size >= 0 && size <= extent - begin, "border ",
                  to_string(border), " does not fit shape ", to_string(c.dims(0)));
    x = c.b.slice(x, axis, begin, begin + size);
  }
  c.out(x);
}

}  // namespace

ValueId legacy_operand(ConvertCtx& c, ValueId b) {
  if (c.version >= 7 || !c.node.domain.empty() || c.attr_int("broadcast", 0) == 0 || !c.has_attr("axis")) return b;
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 0), c.rank(0), "broadcast");
  Dims dims = c.b.dims(b);
  const std::size_t right = c.rank(0) - static_cast<std::size_t>(axis);
  ONNXRAY_CHECK(dims.size() <= right, "shape ", to_string(dims), " at axis ", axis, " exceeds ", to_string(c.dims(0)));
  dims.resize(right, 1);
  return c.b.reshape(b, std::move(dims));
}

ValueId clip(ConvertCtx& c, ValueId x, double lo, double hi) {
  if (lo == -HUGE_VAL && hi == HUGE_VAL) return x;
  return c.b.op("clip", {x}, {{"min", lo}, {"max", hi}});
}

void add_math_rows(OpTable& t) {
  const auto add = [&](const char* op, ConvertFn f, bool gradient = true, std::int64_t since = 1) {
    t.add({.op_type = op, .since = since, .convert = f, .has_gradient = gradient});
  };
  for (const char* op : {"Abs", "Neg", "Sqrt", "Exp", "Log", "Reciprocal", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos",
                         "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"}) {
    add(op, convert_unary);
  }
  for (const char* op : {"Floor", "Ceil", "Round", "Sign"}) add(op, convert_unary, false);
  for (const char* op : {"Add", "Sub", "Mul", "Div"}) add(op, convert_binary);
  for (const char* op : {"Max", "Min", "Sum"}) add(op, convert_variadic);
  add("Mean", convert_mean);
  add("Pow", convert_pow);
  add("Mod", convert_mod, false);
  for (const char* op : {"Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"}) add(op, convert_compare, false);
  for (const char* op : {"And", "Or", "Xor"}) add(op, convert_logic, false);
  add("Not", convert_not, false);
  add("IsNaN", convert_is_nan, false);
  add("IsInf", convert_is_inf, false);
  add("Where", convert_where);
  add("Clip", convert_clip_attributes);
  add("Clip", convert_clip_inputs, true, 11);
  // Experimental operators that old files still hold.
  add("ImageScaler", convert_image_scaler);
  add("Affine", convert_affine);
  add("Crop", convert_crop);
}

}  // namespace onnxray::onnx_import
