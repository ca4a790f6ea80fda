// Arithmetic, comparison, logic, selection and casts, all broadcasting by numpy's rule. Gradients are PyTorch's.
#include <cmath>
#include <optional>

#include "engine/builder.h"
#include "engine/ops/elementwise_family.h"
#include "engine/ops/families.h"

namespace onnxray {
namespace {

constexpr OpTraits kBinary{.elementwise = true, .inplace = true};
constexpr OpTraits kLinear{.elementwise = true, .linear = true, .inplace = true};
constexpr OpTraits kLinearCommutative{.elementwise = true, .linear = true, .inplace = true, .commutative = true};
constexpr OpTraits kDiscrete{.elementwise = true, .inplace = true, .piecewise_constant = true};

void infer_arithmetic(InferCtx& c) {
  infer_binary(c);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected numbers, got bool");
}

void infer_arithmetic_unary(InferCtx& c) {
  infer_unary(c);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected numbers, got bool");
}

void infer_ordered(InferCtx& c) {
  infer_compare(c);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "expected numbers, got bool");
}

void infer_logic(InferCtx& c) {
  c.expect_inputs(2, 2);
  for (std::size_t i = 0; i < 2; ++i) {
    ONNXRAY_CHECK(c.dtype(i) == DType::boolean, "input ", i, " is ", name_of(c.dtype(i)), ", expected bool");
  }
  c.output(DType::boolean, broadcast(c.dims(0), c.dims(1)));
}

void infer_where(InferCtx& c) {
  c.expect_inputs(3, 3);
  ONNXRAY_CHECK(c.dtype(0) == DType::boolean, "the condition is ", name_of(c.dtype(0)), ", expected bool");
  c.expect_same_dtype(1, 2);
  c.output(c.dtype(1), broadcast(c.dims(0), broadcast(c.dims(1), c.dims(2))));
}

void infer_max_grad(InferCtx& c) {
  c.expect_inputs(3, 3);
  c.expect_float(0);
  c.expect_same_dtype(0, 1);
  c.expect_same_dtype(0, 2);
  c.output(c.dtype(0), broadcast(c.dims(0), broadcast(c.dims(1), c.dims(2))));
}

void infer_cast(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.output(dtype_named(c.attrs.text("to")), c.dims(0));
}

void infer_float_test(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  c.output(DType::boolean, c.dims(0));
}

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

std::optional<double> scalar_constant(const Graph& g, ValueId v) {
  if (!g.is_constant(v) || g.value(v).constant.size() != 1) return std::nullopt;
  return g.value(v).constant.to_doubles()[0];
}

// d x^k = k x^(k-1) dx + x^k log(x) dk; both terms are 0 where their factor k, or 0^k, is (no NaN from 0^0).
void grad_pow(GradCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.x(0), k = c.x(1), dy = c.dy();
  if (c.wanted(0)) {
    if (const std::optional<double> e = scalar_constant(b.graph, k)) {
      if (*e == 1) {
        c.set(0, dy);
      } else if (*e == 2) {
        c.set(0, b.mul(dy, b.mul(x, 2.0)));
      } else if (*e != 0) {
        c.set(0, b.mul(b.mul(dy, *e), b.op("pow", {x, b.scalar_like(x, *e - 1)})));
      }
    } else {
      const ValueId both_zero =
          b.op("and", {b.op("equal", {k, b.scalar_like(k, 0)}), b.op("equal", {x, b.scalar_like(x, 0)})});
      const ValueId base = b.where(both_zero, b.scalar_like(x, 1), x);
      c.set(0, b.mul(b.mul(dy, k), b.op("pow", {base, b.add(k, -1.0)})));
    }
  }
  if (c.wanted(1)) {
    const ValueId vanishes =
        b.op("and", {b.op("equal", {x, b.scalar_like(x, 0)}), b.op("greater_equal", {k, b.scalar_like(k, 0)})});
    c.set(1, b.mul(b.mul(dy, c.y()), b.op("log", {b.where(vanishes, b.scalar_like(x, 1), x)})));
  }
}

void grad_max(GradCtx& c) {
  if (c.wanted(0)) c.set(0, c.b.op("max_grad", {c.dy(), c.x(0), c.x(1)}));
  if (c.wanted(1)) c.set(1, c.b.op("max_grad", {c.dy(), c.x(1), c.x(0)}));
}

void grad_min(GradCtx& c) {
  if (c.wanted(0)) c.set(0, c.b.op("max_grad", {c.dy(), c.x(1), c.x(0)}));
  if (c.wanted(1)) c.set(1, c.b.op("max_grad", {c.dy(), c.x(0), c.x(1)}));
}

// x mod y = x - q y with an integer q that is locally constant.
void grad_mod(GradCtx& c) {
  c.set(0, c.dy());
  if (!c.wanted(1)) return;
  Builder& b = c.b;
  const ValueId q = b.op("round", {b.div(b.sub(c.x(0), c.y()), c.x(1))});
  c.set(1, b.neg(b.mul(c.dy(), q)));
}

void grad_where(GradCtx& c) {
  const ValueId zero = c.b.scalar_like(c.dy(), 0);
  if (c.wanted(1)) c.set(1, c.b.where(c.x(0), c.dy(), zero));
  if (c.wanted(2)) c.set(2, c.b.where(c.x(0), zero, c.dy()));
}

void grad_cast(GradCtx& c) {
  const DType from = c.b.dtype(c.x(0));
  if (is_float(from)) c.set(0, c.b.cast(c.dy(), from));
}

void add_discrete(OpRegistry& r, const char* name, InferFn infer) {
  r.add({.name = name, .infer = infer, .rows = rows_elementwise, .traits = kDiscrete});
}

}  // namespace

DType dtype_named(std::string_view name) {
  for (const DType t : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16, DType::i8,
                        DType::u64, DType::u32, DType::u16, DType::u8, DType::boolean}) {
    if (name == name_of(t)) return t;
  }
  fail("'", name, "' is no dtype");
}

void register_elementwise_ops(OpRegistry& r) {
  const auto add = [&](const char* name, InferFn infer, GradFn grad, const OpTraits& traits) {
    r.add({.name = name, .infer = infer, .grad = grad, .rows = rows_elementwise, .traits = traits});
  };
  add("add", infer_arithmetic, grad_add, kLinearCommutative);
  add("sub", infer_arithmetic, grad_sub, kLinear);
  add("mul", infer_arithmetic, grad_mul, kLinearCommutative);
  add("div", infer_arithmetic, grad_div, kBinary);
  add("pow", infer_arithmetic, grad_pow, kBinary);
  OpTraits commutative = kBinary;
  commutative.commutative = true;
  add("max", infer_arithmetic, grad_max, commutative);
  add("min", infer_arithmetic, grad_min, commutative);
  // max_grad(dy, x, y): dy where x > y, half of it where they are equal.
  add(
      "max_grad", infer_max_grad,
      [](GradCtx& c) {
        c.set(0, c.b.op("max_grad", {c.dy(), c.x(1), c.x(2)}));
      },
      kBinary);
  // mod(x, y; fmod): the sign of the divisor, or with fmod = 1 of the dividend.
  add("mod", infer_arithmetic, grad_mod, kBinary);
  add(
      "neg", infer_arithmetic_unary, [](GradCtx& c) { c.set(0, c.b.neg(c.dy())); }, kLinear);
  add(
      "abs", infer_arithmetic_unary, [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.b.op("sign", {c.x(0)}))); }, kBinary);
  add_discrete(r, "sign", infer_arithmetic_unary);
  for (const char* name : {"floor", "ceil", "round"}) add_discrete(r, name, infer_unary_float);
  for (const char* name : {"greater", "less", "greater_equal", "less_equal"}) add_discrete(r, name, infer_ordered);
  add_discrete(r, "equal", infer_compare);
  for (const char* name : {"and", "or", "xor"}) add_discrete(r, name, infer_logic);
  add_discrete(r, "not", [](InferCtx& c) {
    infer_unary(c);
    ONNXRAY_CHECK(c.dtype(0) == DType::boolean, "expected bool, got ", name_of(c.dtype(0)));
  });
  add_discrete(r, "is_nan", infer_float_test);
  // is_inf(x; positive, negative): which signs count.
  add_discrete(r, "is_inf", infer_float_test);
  add("where", infer_where, grad_where, kLinear);
  add("cast", infer_cast, grad_cast, kLinear);
  register_unary_ops(r);
  register_map_op(r);
}

}  // namespace onnxray
