#include "tests/ops/elementwise_samples.h"

#include "tests/ops/reference/pointwise.h"

namespace onnxray::testing {
namespace {

using F2 = double (*)(const Attrs&, double, double);

// Errors of an op of two numbers.
std::vector<OpSample> binary_errors() {
  return {{{floats({2, 3}), floats({2})}, {}},  // no broadcast
          {{floats({3}), ints({3})}, {}},       // two types
          {{floats({3})}, {}},                  // one input
          {{bools({3}), bools({3})}, {}}};
}

void add_binary(std::vector<OpCase>& cases, const char* op, F2 f, const std::vector<OpSample>& samples, bool kinks) {
  cases.push_back(
      {.op = op, .reference = pointwise(f), .samples = samples, .errors = binary_errors(), .has_kinks = kinks});
}

std::vector<OpSample> integer_pairs(double lo = -9, double hi = 10) {
  std::vector<OpSample> out;
  for (const DType t : {DType::i64, DType::i32}) {
    for (const auto& [x, y] : {std::pair<Dims, Dims>{{}, {}}, {{33}, {33}}, {{3, 5}, {5}}, {{7, 1}, {1, 50}}}) {
      out.push_back({{ints(x, lo, hi, t), ints(y, lo, hi, t)}, {}});
    }
  }
  return out;
}

std::vector<OpSample> with_integers(std::vector<OpSample> samples) {
  append(samples, integer_pairs());
  return samples;
}

double integer_divide(double x, double y) { return y == 0 ? 0 : std::trunc(x / y); }

void add_arithmetic(std::vector<OpCase>& cases) {
  const std::vector<OpSample> plain = with_integers(binary_samples(-2, 2, -2, 2));
  add_binary(
      cases, "add", [](const Attrs&, double x, double y) { return x + y; }, plain, false);
  add_binary(
      cases, "sub", [](const Attrs&, double x, double y) { return x - y; }, plain, false);
  add_binary(
      cases, "mul", [](const Attrs&, double x, double y) { return x * y; }, plain, false);
  add_binary(
      cases, "div", [](const Attrs&, double x, double y) { return x / y; }, binary_samples(-2, 2, 0.5, 2), false);
  // Integers truncate towards zero, and by zero give 0; the smallest one over -1 wraps.
  OpCase& div = cases.back();
  div.reference = [](const std::vector<Array>& in, const Attrs& attrs) {
    bool whole = true;
    for (const Array& a : in) {
      for (const double v : a.v) whole = whole && v == std::floor(v);
    }
    if (whole) return pointwise([](const Attrs&, double x, double y) { return integer_divide(x, y); })(in, attrs);
    return pointwise([](const Attrs&, double x, double y) { return x / y; })(in, attrs);
  };
  append(div.samples, integer_pairs());
  div.samples.push_back({{given({3}, {7, -7, 5}, DType::i32), given({3}, {0, 2, -2}, DType::i32)}, {}});

  const std::vector<OpSample> kinked = with_integers(binary_samples(-2, 2, -2, 2));
  const auto with_nan = [&](std::vector<OpSample> samples) {
    samples.push_back({{given({4}, {NAN, 1, INFINITY, 2}), given({4}, {1, NAN, 2, 2})}, {}});
    return samples;
  };
  add_binary(
      cases, "max",
      [](const Attrs&, double x, double y) { return std::isnan(x) || std::isnan(y) ? NAN : std::max(x, y); }, kinked,
      true);
  add_binary(
      cases, "min",
      [](const Attrs&, double x, double y) { return std::isnan(x) || std::isnan(y) ? NAN : std::min(x, y); }, kinked,
      true);
  for (OpCase* c : {&cases[cases.size() - 2], &cases[cases.size() - 1]}) c->samples = with_nan(c->samples);
}

void add_max_grad(std::vector<OpCase>& cases) {
  OpCase c{.op = "max_grad",
           .reference = pointwise(
               [](const Attrs&, double dy, double x, double y) { return dy * (x > y ? 1 : (x == y ? 0.5 : 0)); }),
           .has_kinks = true};
  for (const auto& [x, y] : broadcast_pairs()) c.samples.push_back({{floats(x), floats(x), floats(y)}, {}});
  c.samples.push_back({{floats({4}), given({4}, {1, 2, 3, 3}), given({4}, {1, 3, 2, 3})}, {}});
  c.errors = {{{floats({3}), floats({3})}, {}},
              {{floats({3}), ints({3}), floats({3})}, {}},
              {{ints({3}), ints({3}), ints({3})}, {}},
              {{floats({3}), floats({3}), floats({2})}, {}}};
  cases.push_back(c);
}

void add_pow(std::vector<OpCase>& cases) {
  OpCase c{.op = "pow", .reference = pointwise([](const Attrs&, double x, double y) { return std::pow(x, y); })};
  c.samples = binary_samples(0.5, 2, -2, 2);
  for (const double k : {0., 1., 2., 3., -1., 4., 0.5}) {
    c.samples.push_back({{floats({3, 5}, k == 0.5 ? 0.1 : 0.3, 2), constant_of({}, {k})}, {}});
  }
  // A negative base has no gradient towards the exponent: float32 inputs are not differentiated.
  for (const double k : {2., 3., -3.}) {
    SampleInput base = floats({7}, -2, -0.5), exponent = given({1}, {k}, DType::f32);
    base.dtype = DType::f32;
    exponent.constant = true;
    c.samples.push_back({{base, exponent}, {}});
  }
  // A constant exponent of more dims than the base, and one entry per channel.
  c.samples.push_back({{floats({3}, 0.5, 2), constant_of({1, 1}, {2})}, {}});
  c.samples.push_back({{floats({2, 3}, 0.5, 2), constant_of({3}, {0, 2, -1})}, {}});
  append(c.samples, integer_pairs(0, 6));
  c.samples.push_back({{given({5}, {1, -1, -1, 2, 0}, DType::i64), given({5}, {-3, -3, -2, -1, 0}, DType::i64)}, {}});
  c.reference = [](const std::vector<Array>& in, const Attrs& attrs) {
    std::vector<Array> y = pointwise([](const Attrs&, double a, double b) { return std::pow(a, b); })(in, attrs);
    // Integers: the truncated power.
    bool whole = true;
    for (const Array& a : in) {
      for (const double v : a.v) whole = whole && v == std::floor(v);
    }
    if (whole) {
      for (double& v : y[0].v) v = std::trunc(v);
    }
    return y;
  };
  c.errors = binary_errors();
  cases.push_back(c);
}

void add_mod(std::vector<OpCase>& cases) {
  OpCase c{.op = "mod",
           .reference = pointwise([](const Attrs& a, double x, double y) {
             const bool c_style = a.integer("fmod", 0) != 0;
             if (y == 0) return 0.0;  // of integers
             return c_style ? std::fmod(x, y) : x - std::floor(x / y) * y;
           }),
           .has_kinks = true};
  const Attrs c_style{{"fmod", std::int64_t{1}}};
  c.samples = binary_samples(-5, 5, 0.5, 2);
  append(c.samples, binary_samples(-5, 5, -3, -1));
  append(c.samples, binary_samples(-5, 5, 0.5, 2, c_style));
  append(c.samples, integer_pairs());
  for (OpSample s : integer_pairs()) c.samples.push_back({s.inputs, c_style});
  c.errors = binary_errors();
  cases.push_back(c);
}

void add_comparisons(std::vector<OpCase>& cases) {
  const auto add = [&](const char* op, F2 f, bool bool_too) {
    OpCase c{.op = op, .reference = pointwise(f)};
    c.samples = with_integers(binary_samples(-2, 2, -2, 2));
    append(c.samples, integer_pairs(0, 2));
    c.samples.push_back({{given({4}, {NAN, 1, INFINITY, -0.0}), given({4}, {NAN, 1, INFINITY, 0.0})}, {}});
    c.errors = binary_errors();
    if (bool_too) {
      c.samples.push_back({{bools({3, 5}), bools({5})}, {}});
      c.errors.pop_back();
    }
    cases.push_back(c);
  };
  add(
      "equal", [](const Attrs&, double x, double y) { return x == y ? 1. : 0.; }, true);
  add(
      "greater", [](const Attrs&, double x, double y) { return x > y ? 1. : 0.; }, false);
  add(
      "less", [](const Attrs&, double x, double y) { return x < y ? 1. : 0.; }, false);
  add(
      "greater_equal", [](const Attrs&, double x, double y) { return x >= y ? 1. : 0.; }, false);
  add(
      "less_equal", [](const Attrs&, double x, double y) { return x <= y ? 1. : 0.; }, false);
}

void add_logic(std::vector<OpCase>& cases) {
  const auto add = [&](const char* op, F2 f) {
    OpCase c{.op = op, .reference = pointwise(f)};
    for (const auto& [x, y] : broadcast_pairs()) c.samples.push_back({{bools(x), bools(y)}, {}});
    c.errors = {{{bools({3}), floats({3})}, {}}, {{bools({3}), bools({2})}, {}}, {{bools({3})}, {}}};
    cases.push_back(c);
  };
  add("and", [](const Attrs&, double x, double y) { return x != 0 && y != 0 ? 1. : 0.; });
  add("or", [](const Attrs&, double x, double y) { return x != 0 || y != 0 ? 1. : 0.; });
  add("xor", [](const Attrs&, double x, double y) { return (x != 0) != (y != 0) ? 1. : 0.; });
  OpCase c{.op = "not", .reference = pointwise([](const Attrs&, double x) { return x == 0 ? 1. : 0.; })};
  for (const Dims& d : unary_shapes()) c.samples.push_back({{bools(d)}, {}});
  c.errors = {{{floats({3})}, {}}, {{bools({3}), bools({3})}, {}}};
  cases.push_back(c);
}

void add_where(std::vector<OpCase>& cases) {
  OpCase c{.op = "where",
           .reference = pointwise([](const Attrs&, double k, double x, double y) { return k != 0 ? x : y; })};
  for (const auto& [x, y] : broadcast_pairs()) {
    c.samples.push_back({{bools(x), floats(y), floats({})}, {}});
    c.samples.push_back({{bools(y), floats(x), floats(x)}, {}});
    c.samples.push_back({{bools({}), floats(x), floats(y)}, {}});
  }
  for (const DType t : {DType::i64, DType::i32, DType::u8, DType::i16, DType::u64}) {
    c.samples.push_back({{bools({3, 5}), ints({5}, 0, 9, t), ints({3, 1}, 0, 9, t)}, {}});
  }
  c.samples.push_back({{bools({7}), bools({7}), bools({})}, {}});
  c.errors = {{{floats({3}), floats({3}), floats({3})}, {}},
              {{bools({3}), floats({3}), ints({3})}, {}},
              {{bools({3}), floats({3})}, {}},
              {{bools({3}), floats({2}), floats({3})}, {}}};
  cases.push_back(c);
}

// What a cast gives, written from the definitions of the types.
double cast_value(const Attrs& attrs, double x) {
  const std::string to = attrs.text("to");
  if (to == "bool") return x != 0 ? 1 : 0;
  if (to == "float64") return x;
  if (to == "float32") return static_cast<float>(x);
  const double t = std::trunc(x);
  if (to == "uint8") return t - 256 * std::floor(t / 256);  // integers wrap
  return t;
}

void add_cast(std::vector<OpCase>& cases) {
  OpCase c{.op = "cast", .reference = pointwise(cast_value)};
  const auto to = [](const char* name) { return Attrs{{"to", std::string(name)}}; };
  for (const Dims& d : unary_shapes()) c.samples.push_back({{floats(d)}, to("float64")});
  for (const char* name : {"float32", "int64", "int32", "bool", "int8", "int16"}) {
    c.samples.push_back({{floats({3, 70}, -9, 9)}, to(name)});
    c.samples.push_back({{ints({33}, 0, 100)}, to(name)});
    c.samples.push_back({{ints({33}, 0, 2, DType::u8)}, to(name)});
    c.samples.push_back({{bools({5})}, to(name)});
    c.samples.push_back({{given({3}, {0.5, -2, 3}, DType::f16)}, to(name)});
    c.samples.push_back({{given({3}, {0.5, -2, 3}, DType::bf16)}, to(name)});
    c.samples.push_back({{ints({5}, 0, 100, DType::u32)}, to(name)});
  }
  c.samples.push_back({{ints({33}, -500, 500)}, to("uint8")});
  c.samples.push_back({{floats({33}, 0, 200)}, to("uint64")});
  c.samples.push_back({{given({4}, {0.5, 1, -2, 0})}, to("float16")});
  c.samples.push_back({{given({4}, {0.5, 1, -2, 0})}, to("bfloat16")});
  c.reference = [](const std::vector<Array>& in, const Attrs& attrs) {
    if (attrs.text("to").find("float16") != std::string::npos) return std::vector<Array>{in[0]};  // exact values above
    return pointwise(cast_value)(in, attrs);
  };
  c.errors = {{{floats({3})}, to("string")}, {{floats({3})}, {}}, {{floats({3}), floats({3})}, to("float32")}};
  c.second_order = false;
  cases.push_back(c);
}

}  // namespace

void add_elementwise_cases(std::vector<OpCase>& cases) {
  add_arithmetic(cases);
  add_max_grad(cases);
  add_pow(cases);
  add_mod(cases);
  add_comparisons(cases);
  add_logic(cases);
  add_where(cases);
  add_cast(cases);
  add_unary_cases(cases);
  add_map_cases(cases);
}

}  // namespace onnxray::testing
