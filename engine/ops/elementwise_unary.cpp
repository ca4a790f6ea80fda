// Smooth functions of one float, with gradients in terms of x or y.
#include "engine/builder.h"
#include "engine/ops/elementwise_family.h"

namespace onnxray {
namespace {

constexpr double kTwoOverSqrtPi = 1.12837916709551257390;

// 1 + s v^2.
ValueId one_plus_square(Builder& b, ValueId v, double s) {
  const ValueId square = b.mul(v, v);
  return b.add(s == 1 ? square : b.neg(square), 1.0);
}

ValueId square_minus_one(Builder& b, ValueId v) { return b.add(b.mul(v, v), -1.0); }

ValueId sqrt(Builder& b, ValueId v) { return b.op("sqrt", {v}); }

}  // namespace

void register_unary_ops(OpRegistry& r) {
  const auto add = [&](const char* name, GradFn grad) {
    r.add({.name = name,
           .infer = infer_unary_float,
           .grad = grad,
           .rows = rows_elementwise,
           .traits = {.elementwise = true, .inplace = true}});
  };
  add("exp", [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.y())); });
  add("log", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), c.x(0))); });
  add("sqrt", [](GradCtx& c) { c.set(0, c.b.div(c.b.mul(c.dy(), 0.5), c.y())); });
  add("reciprocal", [](GradCtx& c) { c.set(0, c.b.neg(c.b.mul(c.dy(), c.b.mul(c.y(), c.y())))); });
  add("erf", [](GradCtx& c) {
    const ValueId density = c.b.op("exp", {c.b.neg(c.b.mul(c.x(0), c.x(0)))});
    c.set(0, c.b.mul(c.b.mul(c.dy(), kTwoOverSqrtPi), density));
  });
  add("sin", [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.b.op("cos", {c.x(0)}))); });
  add("cos", [](GradCtx& c) { c.set(0, c.b.neg(c.b.mul(c.dy(), c.b.op("sin", {c.x(0)})))); });
  add("tan", [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), one_plus_square(c.b, c.y(), 1))); });
  add("asin", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), sqrt(c.b, one_plus_square(c.b, c.x(0), -1)))); });
  add("acos", [](GradCtx& c) { c.set(0, c.b.neg(c.b.div(c.dy(), sqrt(c.b, one_plus_square(c.b, c.x(0), -1))))); });
  add("atan", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), one_plus_square(c.b, c.x(0), 1))); });
  add("sinh", [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.b.op("cosh", {c.x(0)}))); });
  add("cosh", [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.b.op("sinh", {c.x(0)}))); });
  add("asinh", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), sqrt(c.b, one_plus_square(c.b, c.x(0), 1)))); });
  add("acosh", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), sqrt(c.b, square_minus_one(c.b, c.x(0))))); });
  add("atanh", [](GradCtx& c) { c.set(0, c.b.div(c.dy(), one_plus_square(c.b, c.x(0), -1))); });
}

}  // namespace onnxray
