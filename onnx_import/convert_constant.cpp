// Constants, shapes and ranges (all known here, so all become constants), casts and what passes its input through.
#include <algorithm>
#include <cmath>

#include "onnx_import/convert_types.h"

namespace onnxray::onnx_import {
namespace {

void convert_constant(ConvertCtx& c) {
  Builder& b = c.b;
  if (c.has_attr("value")) return c.out(b.constant(c.attr_tensor("value")));
  if (c.has_attr("value_float")) {
    return c.out(b.constant(Tensor::scalar(static_cast<float>(c.attr_float("value_float", 0)))));
  }
  if (c.has_attr("value_int")) return c.out(b.constant(Tensor::scalar(c.attr_int("value_int", 0))));
  if (c.has_attr("value_floats")) {
    const std::vector<double> v = c.attr_floats("value_floats");
    return c.out(b.constant(Tensor::from<double>({static_cast<std::int64_t>(v.size())}, v).to(DType::f32)));
  }
  if (c.has_attr("value_ints")) return c.out(b.constant(Tensor::ints(c.attr_ints("value_ints"))));
  for (const char* name : {"value_string", "value_strings", "sparse_value"}) {
    if (c.has_attr(name)) fail_unsupported("attribute '", name, "' is not supported");
  }
  fail("no value given");
}

// `value` (one element, default float32 0) everywhere.
void convert_constant_of_shape(ConvertCtx& c) {
  const std::vector<std::int64_t> dims = c.constant_ints(0);
  (void)count_of(dims);
  Tensor value = c.attr_tensor("value");
  if (!value.defined()) value = Tensor::zeros(DType::f32, {});
  ONNXRAY_CHECK(value.size() == 1, "value has shape ", to_string(value.dims()), ", expected one element");
  c.out(c.b.expand(c.b.constant(value.reshaped({})), dims));
}

// dims[start, end), opset 15 on; out-of-range ends are clamped.
void convert_shape(ConvertCtx& c) {
  const Dims& dims = c.dims(0);
  const auto rank = static_cast<std::int64_t>(dims.size());
  const auto clamp = [&](std::int64_t i) { return std::clamp<std::int64_t>(i < 0 ? i + rank : i, 0, rank); };
  const std::int64_t start = clamp(c.attr_int("start", 0)), end = std::max(start, clamp(c.attr_int("end", rank)));
  c.out(c.b.constant(
      Tensor::ints(std::span(dims).subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(end - start)))));
}

void convert_size(ConvertCtx& c) { c.out(c.b.constant(Tensor::scalar(count_of(c.dims(0))))); }

template <class T>
Tensor range_of(T start, T limit, T delta) {
  ONNXRAY_CHECK(delta != 0, "delta is 0");
  const double n = std::ceil((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta));
  ONNXRAY_CHECK(n <= (1 << 26), "a range of ", n, " elements is too long");
  const std::int64_t count = n > 0 ? static_cast<std::int64_t>(n) : 0;
  Tensor out(dtype_of<T>, {count});
  const auto values = out.template mutable_data<T>();
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_integral_v<T>) {
      // In unsigned arithmetic: i * delta may leave the type although the sum does not.
      using U = std::make_unsigned_t<T>;
      values[static_cast<std::size_t>(i)] =
          static_cast<T>(static_cast<U>(start) + static_cast<U>(i) * static_cast<U>(delta));
    } else {
      values[static_cast<std::size_t>(i)] = start + static_cast<T>(i) * delta;
    }
  }
  return out;
}

void convert_range(ConvertCtx& c) {
  const DType dtype = c.dtype(0);
  for (const std::size_t i : {0, 1, 2}) {
    ONNXRAY_CHECK(count_of(c.dims(i)) == 1 && c.dtype(i) == dtype,
                  "start, limit and delta must be scalars of one type");
  }
  if (is_float(dtype)) {
    const auto value = [&](std::size_t i) { return c.constant(i).to_doubles()[0]; };
    return c.out(c.b.constant(range_of(value(0), value(1), value(2)).to(dtype)));
  }
  const auto value = [&](std::size_t i) { return c.constant_ints(i)[0]; };
  c.out(c.b.constant(range_of(value(0), value(1), value(2)).to(dtype)));
}

// Ones on the k-th diagonal.
void convert_eye_like(ConvertCtx& c) {
  const Dims dims = c.dims(0);
  ONNXRAY_CHECK(dims.size() == 2, "input of shape ", to_string(dims), ", expected a matrix");
  const DType dtype = c.has_attr("dtype") ? dtype_for(c.attr_int("dtype", 1)) : c.dtype(0);
  const std::int64_t k = c.attr_int("k", 0);
  Tensor eye = Tensor::zeros(DType::f32, dims);
  const auto v = eye.mutable_data<float>();
  for (std::int64_t i = 0; i < dims[0] && k < dims[1]; ++i) {
    const std::int64_t j = k < -dims[0] ? -1 : i + k;
    if (j >= 0 && j < dims[1]) v[static_cast<std::size_t>(i * dims[1] + j)] = 1;
  }
  c.out(c.b.constant(eye.to(dtype)));
}

void convert_identity(ConvertCtx& c) { c.out(c.in(0)); }

// Inference: x itself and a mask of ones (of x's type before opset 10).
void pass_through(ConvertCtx& c) {
  c.out(0, c.in(0));
  if (!c.wants(1)) return;
  const DType mask = c.version < 10 ? c.dtype(0) : DType::boolean;
  const Dims dims = c.dims(0);
  c.out(1, c.b.expand(c.b.constant(Tensor::full(mask, {}, 1)), dims));
}

[[noreturn]] void refuse_training() {
  fail_unsupported("training mode draws random numbers; export the model for inference");
}

void convert_dropout_1(ConvertCtx& c) {
  if (c.attr_int("is_test", 0) == 0 && c.attr_float("ratio", 0.5) != 0) refuse_training();
  pass_through(c);
}

void convert_dropout_12(ConvertCtx& c) {
  const auto scalar = [&](std::size_t i) {
    ONNXRAY_CHECK(count_of(c.dims(i)) == 1, "input ", i, " has shape ", to_string(c.dims(i)), ", expected a scalar");
    return c.constant(i).to_doubles()[0];
  };
  if (c.has(2) && scalar(2) != 0 && (!c.has(1) || scalar(1) != 0)) refuse_training();
  pass_through(c);
}

// A string in opset 1 ("FLOAT"), a code since.
DType cast_target(ConvertCtx& c) {
  if (c.version >= 6) return dtype_for(c.attr_int("to", 0));
  const std::string name = c.attr_string("to", "");
  const std::pair<const char*, std::int64_t> codes[] = {
      {"FLOAT", 1}, {"UINT8", 2}, {"INT8", 3},     {"UINT16", 4},  {"INT16", 5},   {"INT32", 6},
      {"INT64", 7}, {"BOOL", 9},  {"FLOAT16", 10}, {"DOUBLE", 11}, {"UINT32", 12}, {"UINT64", 13}};
  for (const auto& [text, code] : codes) {
    if (name == text) return dtype_for(code);
  }
  fail_unsupported("element type '", name, "' is not supported");
}

void convert_cast(ConvertCtx& c) { c.out(c.b.cast(c.in(0), cast_target(c))); }
void convert_cast_like(ConvertCtx& c) { c.out(c.b.cast(c.in(0), c.dtype(1))); }

}  // namespace

void add_constant_rows(OpTable& t) {
  const auto add = [&](const char* op, ConvertFn f, bool gradient, std::int64_t since = 1) {
    t.add({.op_type = op, .since = since, .convert = f, .has_gradient = gradient});
  };
  add("Constant", convert_constant, false);
  add("ConstantOfShape", convert_constant_of_shape, false, 9);
  add("Shape", convert_shape, false);
  add("Size", convert_size, false);
  add("Range", convert_range, false, 11);
  add("EyeLike", convert_eye_like, false, 9);
  add("Identity", convert_identity, true);
  add("Dropout", convert_dropout_1, true);
  add("Dropout", pass_through, true, 7);
  add("Dropout", convert_dropout_12, true, 12);
  add("Cast", convert_cast, true);
  add("CastLike", convert_cast_like, true, 15);
}

}  // namespace onnxray::onnx_import
