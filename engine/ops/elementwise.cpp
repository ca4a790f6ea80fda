// Arithmetic, comparison, logic, selection and casts, all broadcasting by numpy's rule.
#include "engine/builder.h"
#include "engine/ops/families.h"

namespace onnxray {
namespace {

void grad_add(GradCtx& c) {
  c.set(0, c.dy());
  c.set(1, c.dy());
}

void grad_sub(GradCtx& c) {
  c.set(0, c.dy());
  if (c.wanted(1)) c.set(1, c.b.neg(c.dy()));
}

void grad_mul(GradCtx& c) {
  if (c.wanted(0)) c.set(0, c.b.mul(c.dy(), c.x(1)));
  if (c.wanted(1)) c.set(1, c.b.mul(c.dy(), c.x(0)));
}

void grad_div(GradCtx& c) {
  const ValueId q = c.b.div(c.dy(), c.x(1));
  c.set(0, q);
  if (c.wanted(1)) c.set(1, c.b.neg(c.b.mul(q, c.y())));
}

}  // namespace

void register_elementwise_ops(OpRegistry& r) {
  const OpTraits binary{.elementwise = true, .inplace = true};
  const OpTraits linear{.elementwise = true, .linear = true, .inplace = true};
  const OpTraits unary_linear{.elementwise = true, .linear = true, .inplace = true};
  const OpTraits unary{.elementwise = true, .inplace = true};
  OpTraits linear_commutative = linear;
  linear_commutative.commutative = true;

  r.add(
      {.name = "add", .infer = infer_binary, .grad = grad_add, .rows = rows_elementwise, .traits = linear_commutative});
  r.add({.name = "sub", .infer = infer_binary, .grad = grad_sub, .rows = rows_elementwise, .traits = linear});
  r.add(
      {.name = "mul", .infer = infer_binary, .grad = grad_mul, .rows = rows_elementwise, .traits = linear_commutative});
  r.add({.name = "div", .infer = infer_binary, .grad = grad_div, .rows = rows_elementwise, .traits = binary});
  r.add({.name = "neg",
         .infer = infer_unary,
         .grad = [](GradCtx& c) { c.set(0, c.b.neg(c.dy())); },
         .rows = rows_elementwise,
         .traits = unary_linear});
  r.add({.name = "exp",
         .infer = infer_unary_float,
         .grad = [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.y())); },
         .rows = rows_elementwise,
         .traits = unary});
}

}  // namespace onnxray
