#include "tests/ops/elementwise_samples.h"
#include "tests/ops/reference/pointwise.h"

namespace onnxray::testing {
namespace {

using F1 = double (*)(double);

Reference of(F1 f) {
  return pointwise([f](const Attrs&, double x) { return f(x); });
}

std::vector<OpSample> float_errors() { return {{{ints({3})}, {}}, {{bools({3})}, {}}, {{}, {}}}; }

void add_float(std::vector<OpCase>& cases, const char* op, F1 f, double lo, double hi, bool kinks = false,
               std::initializer_list<double> special = {}) {
  OpCase c{.op = op, .reference = of(f), .samples = unary_samples(lo, hi), .errors = float_errors()};
  c.has_kinks = kinks;
  if (special.size() > 0) c.samples.push_back({{given({static_cast<std::int64_t>(special.size())}, special)}, {}});
  cases.push_back(c);
}

void add_number(std::vector<OpCase>& cases, const char* op, F1 f) {
  OpCase c{.op = op, .reference = of(f), .samples = unary_samples(-3, 3), .has_kinks = true};
  for (const DType t : {DType::i64, DType::i32}) {
    c.samples.push_back({{ints({3, 7}, -9, 10, t)}, {}});
    c.samples.push_back({{ints({}, -9, 10, t)}, {}});
  }
  c.samples.push_back({{given({4}, {0.0, -0.0, INFINITY, -INFINITY})}, {}});
  c.errors = {{{bools({3})}, {}}, {{floats({3}), floats({3})}, {}}};
  cases.push_back(c);
}

double sign(double x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }
double even(double x) {
  const double below = std::floor(x), rest = x - below;
  if (rest != 0.5) return rest < 0.5 ? below : below + 1;
  return std::fmod(below, 2) == 0 ? below : below + 1;
}

}  // namespace

void add_unary_cases(std::vector<OpCase>& cases) {
  add_number(cases, "neg", [](double x) { return 0 - x; });
  add_number(cases, "abs", [](double x) { return x < 0 ? -x : x; });
  add_number(cases, "sign", sign);
  add_float(cases, "exp", std::exp, -3, 3, false, {0, -100, 1, 80, -80, -INFINITY, NAN});
  add_float(cases, "log", std::log, 0.1, 5, false, {1, 1e-30, 1e30, 0, INFINITY, 1.0001, NAN});
  add_float(cases, "sqrt", std::sqrt, 0.1, 4, false, {4, 0.25, 1e20});
  add_float(
      cases, "reciprocal", [](double x) { return 1 / x; }, 0.3, 3);
  add_float(cases, "erf", std::erf, -4, 4, false, {0, 1e-10, 6, -6, INFINITY, -INFINITY, NAN});
  add_float(cases, "sin", std::sin, -4, 4);
  add_float(cases, "cos", std::cos, -4, 4);
  add_float(cases, "tan", std::tan, -1.2, 1.2);
  add_float(cases, "asin", std::asin, -0.9, 0.9);
  add_float(cases, "acos", std::acos, -0.9, 0.9);
  add_float(cases, "atan", std::atan, -3, 3);
  add_float(cases, "sinh", std::sinh, -2, 2);
  add_float(cases, "cosh", std::cosh, -2, 2);
  add_float(cases, "asinh", std::asinh, -3, 3);
  add_float(cases, "acosh", std::acosh, 1.3, 4);
  add_float(cases, "atanh", std::atanh, -0.9, 0.9);
  add_float(cases, "floor", std::floor, -3, 3, true, {-0.5, 2, 1e10, NAN});
  add_float(cases, "ceil", std::ceil, -3, 3, true, {-0.5, 2, 1e10, NAN});
  add_float(cases, "round", even, -3, 3, true, {0.5, 1.5, 2.5, -0.5, -1.5, 1e10});
  add_float(cases, "is_nan", [](double x) { return std::isnan(x) ? 1. : 0.; }, -1, 1, false, {NAN, INFINITY, 0});

  OpCase inf{.op = "is_inf",
             .reference = pointwise([](const Attrs& a, double x) {
               const bool up = a.integer("positive", 1) != 0, down = a.integer("negative", 1) != 0;
               return std::isinf(x) && (x > 0 ? up : down) ? 1. : 0.;
             }),
             .samples = unary_samples(-1, 1),
             .errors = float_errors()};
  for (const std::int64_t up : {0, 1}) {
    for (const std::int64_t down : {0, 1}) {
      inf.samples.push_back({{given({4}, {INFINITY, -INFINITY, NAN, 3})}, Attrs{{"positive", up}, {"negative", down}}});
    }
  }
  cases.push_back(inf);
}

}  // namespace onnxray::testing
