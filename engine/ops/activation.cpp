// Activation functions, each one node with its own kernel. The gradient of op `f` is a node `f_grad(dy, x)` (of y for
// relu, sigmoid and tanh) that is linear in dy; where f is smooth, f_grad is differentiable in x too.
#include <numbers>

#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/ops/packed_mask.h"

namespace onnxray {
namespace {

constexpr OpTraits kTraits{.elementwise = true, .inplace = true};

constexpr double kSqrtHalf = std::numbers::sqrt2 / 2;
constexpr double kInvSqrtTwoPi = kSqrtHalf * std::numbers::inv_sqrtpi;
constexpr double kSqrtTwoOverPi = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
constexpr double kGeluCubic = 0.044715;

void infer_number(InferCtx& c) {
  infer_unary(c);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected numbers, got bool");
}

void infer_relu(InferCtx& c) {
  infer_number(c);
  infer_mask_output(c);
}

void infer_grad(InferCtx& c) {
  infer_binary(c);
  c.expect_float(0);
}

// relu_grad(dy, y), or the mask of y.
void infer_relu_grad(InferCtx& c) {
  if (!c.has(1) || c.dtype(1) != DType::i32) return infer_grad(c);
  c.expect_inputs(2, 2);
  c.expect_float(0);
  check_packed_mask(c, 1, c.dims(0));
  c.output(c.dtype(0), c.dims(0));
}

void rows_elementwise_masks(RowsCtx& c) {
  rows_elementwise(c);
  rows_of_masks(c);
}

// f_grad(dy, x) with f's attributes; `of_y` hands over y instead.
ValueId f_grad(GradCtx& c, bool of_y) {
  return c.b.op(c.node.op->name + "_grad", {c.dy(), of_y ? c.y() : c.x(0)}, c.attrs);
}
void grad_of_x(GradCtx& c) { c.set(0, f_grad(c, false)); }
void grad_of_y(GradCtx& c) { c.set(0, f_grad(c, true)); }
void grad_relu(GradCtx& c) { c.set(0, c.b.op("relu_grad", {c.dy(), c.y()})); }

// The gradient of f_grad towards dy: the node itself on another cotangent.
void grad_linear(GradCtx& c) {
  if (c.wanted(0)) c.set(0, c.b.op(c.node.op->name, {c.dy(), c.x(1)}, c.attrs));
}

// The same and, towards x, cotangent * dy * slope.
void grad_with_slope(GradCtx& c, ValueId (*slope)(GradCtx&, ValueId)) {
  grad_linear(c);
  if (c.wanted(1)) c.set(1, c.b.mul(c.b.mul(c.dy(), c.x(0)), slope(c, c.x(1))));
}

ValueId sigmoid(Builder& b, ValueId x) { return b.op("sigmoid", {x}); }
ValueId tanh(Builder& b, ValueId x) { return b.op("tanh", {x}); }
ValueId square(Builder& b, ValueId x) { return b.mul(x, x); }
// 1 - x.
ValueId one_minus(Builder& b, ValueId x) { return b.add(b.neg(x), 1.0); }
ValueId positive(Builder& b, ValueId x) { return b.op("greater", {x, b.scalar_like(x, 0)}); }

// Second derivatives.
ValueId elu_slope(GradCtx& c, ValueId x) {
  const double alpha = c.attrs.real("alpha", 1), beta = c.attrs.real("beta", 1), gamma = c.attrs.real("gamma", 1);
  Builder& b = c.b;
  const ValueId zero = b.scalar_like(x, 0), p = positive(b, x);
  const ValueId e = b.op("exp", {b.mul(b.where(p, zero, x), beta)});
  return b.where(p, zero, b.mul(e, gamma * alpha * beta * beta));
}
// phi(x) (2 - x^2), phi the normal density.
ValueId gelu_slope(GradCtx& c, ValueId x) {
  Builder& b = c.b;
  const ValueId x2 = square(b, x);
  return b.mul(b.mul(b.op("exp", {b.mul(x2, -0.5)}), kInvSqrtTwoPi), b.add(b.neg(x2), 2.0));
}
// With u the argument of tanh and t = tanh(u): (1 - t^2) (u' + x u''/2 - x t u'^2).
ValueId gelu_tanh_slope(GradCtx& c, ValueId x) {
  Builder& b = c.b;
  const double k = kSqrtTwoOverPi, cubic = kGeluCubic;
  const ValueId x2 = square(b, x);
  const ValueId u = b.mul(b.mul(x, k), b.add(b.mul(x2, cubic), 1.0));
  const ValueId du = b.mul(b.add(b.mul(x2, 3 * cubic), 1.0), k);
  const ValueId t = tanh(b, u);
  const ValueId inner = b.sub(b.add(du, b.mul(x2, 3 * cubic * k)), b.mul(b.mul(x, t), square(b, du)));
  return b.mul(one_minus(b, square(b, t)), inner);
}
// alpha s (1 - s) (2 + alpha x (1 - 2 s)).
ValueId swish_slope(GradCtx& c, ValueId x) {
  Builder& b = c.b;
  const ValueId z = b.mul(x, c.attrs.real("alpha", 1)), s = sigmoid(b, z);
  const ValueId bend = b.add(b.mul(z, one_minus(b, b.mul(s, 2.0))), 2.0);
  return b.mul(b.mul(b.mul(s, one_minus(b, s)), bend), c.attrs.real("alpha", 1));
}
// With t = tanh(softplus(x)), d = 1 - t^2, s = sigmoid(x): d s (2 + x (1 - s - 2 t s)).
ValueId mish_slope(GradCtx& c, ValueId x) {
  Builder& b = c.b;
  const ValueId t = tanh(b, b.op("softplus", {x})), s = sigmoid(b, x);
  const ValueId bend = b.sub(one_minus(b, s), b.mul(b.mul(t, s), 2.0));
  return b.mul(b.mul(one_minus(b, square(b, t)), s), b.add(b.mul(x, bend), 2.0));
}
ValueId hard_swish_slope(GradCtx& c, ValueId x) {
  Builder& b = c.b;
  const ValueId inside = b.op("and", {b.op("greater", {x, b.scalar_like(x, -3)}),  //
                                      b.op("less", {x, b.scalar_like(x, 3)})});
  return b.where(inside, b.scalar_like(x, 1.0 / 3), b.scalar_like(x, 0));
}

// Composites in primitives.
std::vector<ValueId> expand_gelu(Builder& b, const Node&, std::span<const ValueId> in) {
  const ValueId e = b.op("erf", {b.mul(in[0], kSqrtHalf)});
  return {b.mul(b.mul(in[0], 0.5), b.add(e, 1.0))};
}
std::vector<ValueId> expand_gelu_tanh(Builder& b, const Node&, std::span<const ValueId> in) {
  const ValueId x = in[0];
  const ValueId u = b.mul(b.mul(x, kSqrtTwoOverPi), b.add(b.mul(square(b, x), kGeluCubic), 1.0));
  return {b.mul(b.mul(x, 0.5), b.add(tanh(b, u), 1.0))};
}
std::vector<ValueId> expand_swish(Builder& b, const Node& node, std::span<const ValueId> in) {
  const double alpha = node.attrs.real("alpha", 1);
  return {b.mul(in[0], sigmoid(b, alpha == 1 ? in[0] : b.mul(in[0], alpha)))};
}
std::vector<ValueId> expand_mish(Builder& b, const Node&, std::span<const ValueId> in) {
  return {b.mul(in[0], tanh(b, b.op("softplus", {in[0]})))};
}
std::vector<ValueId> expand_hard_swish(Builder& b, const Node&, std::span<const ValueId> in) {
  return {b.mul(in[0], b.op("hard_sigmoid", {in[0]}, {{"alpha", 1.0 / 6}, {"beta", 0.5}}))};
}

void grad_softplus(GradCtx& c) { c.set(0, c.b.mul(c.dy(), sigmoid(c.b, c.x(0)))); }

// 1 / (1 + |x|)^2.
void grad_softsign(GradCtx& c) {
  Builder& b = c.b;
  c.set(0, b.div(c.dy(), square(b, b.add(b.op("abs", {c.x(0)}), 1.0))));
}

void grad_prelu(GradCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.x(0), p = positive(b, x);
  if (c.wanted(0)) c.set(0, b.where(p, c.dy(), b.mul(c.dy(), c.x(1))));
  if (c.wanted(1)) c.set(1, b.mul(c.dy(), b.where(p, b.scalar_like(x, 0), x)));
}

void grad_thresholded_relu(GradCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.x(0);
  const ValueId above = b.op("greater", {x, b.scalar_like(x, c.attrs.real("alpha", 1))});
  c.set(0, b.where(above, c.dy(), b.scalar_like(x, 0)));
}

void grad_shrink(GradCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.x(0);
  const double lambd = c.attrs.real("lambd", 0.5);
  const ValueId outside = b.op("or", {b.op("less", {x, b.scalar_like(x, -lambd)}),  //
                                      b.op("greater", {x, b.scalar_like(x, lambd)})});
  c.set(0, b.where(outside, c.dy(), b.scalar_like(x, 0)));
}

}  // namespace

void register_activation_ops(OpRegistry& r) {
  const auto add = [&](const char* name, InferFn infer, GradFn grad, ExpandFn expand = nullptr) {
    r.add({.name = name, .infer = infer, .grad = grad, .rows = rows_elementwise, .expand = expand, .traits = kTraits});
  };
  r.add({.name = "relu", .infer = infer_relu, .grad = grad_relu, .rows = rows_elementwise_masks, .traits = kTraits});
  r.add({.name = "relu_grad",
         .infer = infer_relu_grad,
         .grad = grad_linear,
         .rows = rows_elementwise_masks,
         .traits = kTraits});
  // leaky_relu(x; alpha).
  add("leaky_relu", infer_unary_float, grad_of_x);
  add("leaky_relu_grad", infer_grad, grad_linear);
  // prelu(x, slope).
  add("prelu", infer_grad, grad_prelu);
  // elu(x; alpha, beta, gamma) = gamma (x > 0 ? x : alpha (e^(beta x) - 1)): Elu, Selu and Celu.
  add("elu", infer_unary_float, grad_of_x);
  add("elu_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, elu_slope); });
  add("sigmoid", infer_unary_float, grad_of_y);
  add("sigmoid_grad", infer_grad,
      [](GradCtx& c) { grad_with_slope(c, [](GradCtx& g, ValueId y) { return one_minus(g.b, g.b.mul(y, 2.0)); }); });
  add("tanh", infer_unary_float, grad_of_y);
  add("tanh_grad", infer_grad,
      [](GradCtx& c) { grad_with_slope(c, [](GradCtx& g, ValueId y) { return g.b.mul(y, -2.0); }); });
  add("softplus", infer_unary_float, grad_softplus);
  add("softsign", infer_unary_float, grad_softsign);
  add("gelu", infer_unary_float, grad_of_x, expand_gelu);
  add("gelu_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, gelu_slope); });
  add("gelu_tanh", infer_unary_float, grad_of_x, expand_gelu_tanh);
  add("gelu_tanh_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, gelu_tanh_slope); });
  // swish(x; alpha) = x sigmoid(alpha x); alpha = 1 is SiLU.
  add("swish", infer_unary_float, grad_of_x, expand_swish);
  add("swish_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, swish_slope); });
  add("mish", infer_unary_float, grad_of_x, expand_mish);
  add("mish_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, mish_slope); });
  // hard_sigmoid(x; alpha, beta) = clip(alpha x + beta, 0, 1).
  add("hard_sigmoid", infer_unary_float, grad_of_x);
  add("hard_sigmoid_grad", infer_grad, grad_linear);
  // x clip(x / 6 + 1/2, 0, 1).
  add("hard_swish", infer_unary_float, grad_of_x, expand_hard_swish);
  add("hard_swish_grad", infer_grad, [](GradCtx& c) { grad_with_slope(c, hard_swish_slope); });
  // clip(x; min, max); the gradient is 1 at the bounds, and max wins where min > max.
  add("clip", infer_unary_float, grad_of_x);
  add("clip_grad", infer_grad, grad_linear);
  // thresholded_relu(x; alpha) = x > alpha ? x : 0; shrink(x; bias, lambd) moves what lies outside +-lambd by bias.
  add("thresholded_relu", infer_unary_float, grad_thresholded_relu);
  add("shrink", infer_unary_float, grad_shrink);
}

}  // namespace onnxray
