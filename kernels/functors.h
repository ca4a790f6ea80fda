// Elementwise arithmetic: ONE source for CPU float32, CPU float64 and CUDA. Each functor has `f`, a pure function of
// scalars and of the node's parameters; `kParams` names the attributes that become p.a, p.b and p.c. visit_unary,
// visit_binary and visit_ternary list them with the names of their ops.
#pragma once
#include <array>

#include "kernels/vector_math.h"

namespace onnxray::fn {

template <class T>
struct Params {
  T a = 0, b = 0, c = 0;
};

struct ParamSpec {
  const char* name = nullptr;
  double otherwise = 0;
};
using ParamSpecs = std::array<ParamSpec, 3>;

struct NoParams {
  static constexpr ParamSpecs kParams{};
};

#define ONNXRAY_UNARY(Name, Base, expr)              \
  struct Name : Base {                               \
    template <class T>                               \
    ONNXRAY_HD static T f(T x, const Params<T>& p) { \
      (void)p;                                       \
      return expr;                                   \
    }                                                \
  };
#define ONNXRAY_BINARY(Name, Base, expr)                  \
  struct Name : Base {                                    \
    template <class T>                                    \
    ONNXRAY_HD static T f(T x, T y, const Params<T>& p) { \
      (void)p;                                            \
      return expr;                                        \
    }                                                     \
  };

struct WithAlpha {
  static constexpr ParamSpecs kParams{{{"alpha", 1}, {}, {}}};
};
struct WithBounds {
  static constexpr ParamSpecs kParams{{{"min", -HUGE_VAL}, {"max", HUGE_VAL}, {}}};
};
struct WithElu {
  static constexpr ParamSpecs kParams{{{"alpha", 1}, {"beta", 1}, {"gamma", 1}}};
};
struct WithLine {
  static constexpr ParamSpecs kParams{{{"alpha", 0.2}, {"beta", 0.5}, {}}};
};
struct WithShrink {
  static constexpr ParamSpecs kParams{{{"bias", 0}, {"lambd", 0.5}, {}}};
};

inline constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
inline constexpr double kGeluCubic = 0.044715;

template <class T>
ONNXRAY_HD T gelu_slope(T x) {
  const vmath::Normal<T> n = vmath::normal(x);
  return n.cdf + x * n.pdf;
}
// sigmoid(x) and its derivative s (1 - s), without cancellation.
template <class T>
struct Logistic {
  T value, slope;
};
template <class T>
ONNXRAY_HD Logistic<T> logistic(T x) {
  const T e = vmath::exp(x < T(0) ? x : -x);  // e^-|x|
  const T r = T(1) / (T(1) + e);
  return {x < T(0) ? e * r : r, e * r * r};
}
// tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2); from e^20 on it is 1.
template <class T>
ONNXRAY_HD T softplus_power(T x) {
  const T e = vmath::exp(x > T(20) ? T(20) : x);
  return e * (e + T(2));
}
template <class T>
ONNXRAY_HD T tanh_softplus(T x) {
  const T n = softplus_power(x);
  return n / (n + T(2));
}
// Gelu's approximation is x sigmoid(v), v = sqrt(8 / pi) (x + 0.044715 x^3).
template <class T>
ONNXRAY_HD T gelu_inner(T x) {
  return T(2 * kSqrtTwoOverPi) * (x + T(kGeluCubic) * x * x * x);
}
template <class T>
ONNXRAY_HD T gelu_tanh_slope(T x) {
  const Logistic<T> s = logistic(gelu_inner(x));
  const T inner_slope = T(2 * kSqrtTwoOverPi) * (T(1) + T(3 * kGeluCubic) * x * x);
  return s.value + x * s.slope * inner_slope;
}
template <class T>
ONNXRAY_HD T swish_slope(T x, T alpha) {
  const Logistic<T> s = logistic(alpha * x);
  return s.value + alpha * x * s.slope;
}
template <class T>
ONNXRAY_HD T mish_slope(T x) {
  const T n = softplus_power(x), r = T(1) / (n + T(2));
  // 1 - t^2 = 4 (n + 1) / (n + 2)^2.
  return n * r + x * (T(4) * (n + T(1)) * r * r) * vmath::sigmoid(x);
}

// Arithmetic.
ONNXRAY_UNARY(Neg, NoParams, -x)
ONNXRAY_UNARY(Abs, NoParams, std::fabs(x))
ONNXRAY_UNARY(Sign, NoParams, x > T(0) ? T(1) : (x < T(0) ? T(-1) : x))
ONNXRAY_UNARY(Sqrt, NoParams, std::sqrt(x))
ONNXRAY_UNARY(Exp, NoParams, vmath::exp(x))
ONNXRAY_UNARY(Log, NoParams, vmath::log(x))
ONNXRAY_UNARY(Reciprocal, NoParams, T(1) / x)
ONNXRAY_UNARY(Square, NoParams, x* x)
ONNXRAY_UNARY(Erf, NoParams, vmath::erf(x))
ONNXRAY_UNARY(Floor, NoParams, std::floor(x))
ONNXRAY_UNARY(Ceil, NoParams, std::ceil(x))
ONNXRAY_UNARY(Round, NoParams, std::nearbyint(x))
ONNXRAY_UNARY(Sin, NoParams, std::sin(x))
ONNXRAY_UNARY(Cos, NoParams, std::cos(x))
ONNXRAY_UNARY(Tan, NoParams, std::tan(x))
ONNXRAY_UNARY(Asin, NoParams, std::asin(x))
ONNXRAY_UNARY(Acos, NoParams, std::acos(x))
ONNXRAY_UNARY(Atan, NoParams, std::atan(x))
ONNXRAY_UNARY(Sinh, NoParams, std::sinh(x))
ONNXRAY_UNARY(Cosh, NoParams, std::cosh(x))
ONNXRAY_UNARY(Asinh, NoParams, std::asinh(x))
ONNXRAY_UNARY(Acosh, NoParams, std::acosh(x))
ONNXRAY_UNARY(Atanh, NoParams, std::atanh(x))

ONNXRAY_BINARY(Add, NoParams, x + y)
ONNXRAY_BINARY(Sub, NoParams, x - y)
ONNXRAY_BINARY(Mul, NoParams, x* y)
ONNXRAY_BINARY(Div, NoParams, x / y)
ONNXRAY_BINARY(Pow, NoParams, std::pow(x, y))
// A NaN on either side is the result.
ONNXRAY_BINARY(Max, NoParams, x > y || x != x ? x : y)
ONNXRAY_BINARY(Min, NoParams, x < y || x != x ? x : y)
ONNXRAY_BINARY(Fmod, NoParams, std::fmod(x, y))
ONNXRAY_BINARY(FloorMod, NoParams, x - std::floor(x / y) * y)

// Activations.
ONNXRAY_UNARY(Relu, NoParams, x > T(0) || x != x ? x : T(0))
ONNXRAY_UNARY(LeakyRelu, WithAlpha, x > T(0) ? x : p.a * x)
// gamma (x > 0 ? x : alpha (e^(beta x) - 1)): Elu, Selu and Celu.
ONNXRAY_UNARY(Elu, WithElu, p.c*(x > T(0) ? x : p.a * vmath::expm1(p.b * x)))
ONNXRAY_UNARY(Sigmoid, NoParams, vmath::sigmoid(x))
ONNXRAY_UNARY(Tanh, NoParams, vmath::tanh(x))
ONNXRAY_UNARY(Softplus, NoParams, (x > T(0) ? x : T(0)) + vmath::log1p_unit(vmath::exp(x > T(0) ? -x : x)))
ONNXRAY_UNARY(Softsign, NoParams, x / (T(1) + (x < T(0) ? -x : x)))
ONNXRAY_UNARY(Gelu, NoParams, x* vmath::normal(x).cdf)
ONNXRAY_UNARY(GeluTanh, NoParams, x* vmath::sigmoid(gelu_inner(x)))
ONNXRAY_UNARY(Swish, WithAlpha, x* vmath::sigmoid(p.a* x))
ONNXRAY_UNARY(Mish, NoParams, x* tanh_softplus(x))
struct Clip : WithBounds {
  template <class T>
  ONNXRAY_HD static T f(T x, const Params<T>& p) {
    const T t = x < p.a ? p.a : x;
    return t > p.b ? p.b : t;
  }
};
struct HardSigmoid : WithLine {
  template <class T>
  ONNXRAY_HD static T f(T x, const Params<T>& p) {
    const T t = p.a * x + p.b, u = t < T(0) ? T(0) : t;
    return u > T(1) ? T(1) : u;
  }
};
ONNXRAY_UNARY(HardSwish, NoParams, (x * HardSigmoid::f(x, Params<T>{T(1.0 / 6), T(0.5), T(0)})))
ONNXRAY_UNARY(ThresholdedRelu, WithAlpha, x > p.a ? x : T(0))
ONNXRAY_UNARY(Shrink, WithShrink, x < -p.b ? x + p.a : (x > p.b ? x - p.a : T(0)))

// Activations of two inputs, and gradients (x is the cotangent dy of the result; they are linear in it).
ONNXRAY_BINARY(Prelu, NoParams, x > T(0) ? x : y * x)
ONNXRAY_BINARY(ReluGrad, NoParams, y > T(0) ? x : T(0))           // y = relu(x)
ONNXRAY_BINARY(LeakyReluGrad, WithAlpha, y > T(0) ? x : p.a * x)  // y = input
ONNXRAY_BINARY(EluGrad, WithElu, x* p.c*(y > T(0) ? T(1) : p.a * p.b * vmath::exp(p.b * (y > T(0) ? T(0) : y))))
ONNXRAY_BINARY(SigmoidGrad, NoParams, x*(y*(T(1) - y)))  // y = sigmoid(x)
ONNXRAY_BINARY(TanhGrad, NoParams, x*(T(1) - y * y))     // y = tanh(x)
ONNXRAY_BINARY(GeluGrad, NoParams, x* gelu_slope(y))
ONNXRAY_BINARY(GeluTanhGrad, NoParams, x* gelu_tanh_slope(y))
ONNXRAY_BINARY(SwishGrad, WithAlpha, x* swish_slope(y, p.a))
ONNXRAY_BINARY(MishGrad, NoParams, x* mish_slope(y))
ONNXRAY_BINARY(ClipGrad, WithBounds, y >= p.a && y <= p.b ? x : T(0))
ONNXRAY_BINARY(HardSigmoidGrad, WithLine, p.a* y + p.b > T(0) && p.a * y + p.b < T(1) ? p.a * x : T(0))
ONNXRAY_BINARY(HardSwishGrad, NoParams, y <= T(-3) ? T(0) : (y < T(3) ? x * (y * T(1.0 / 3) + T(0.5)) : x))

// Fused programs hold masks as 1 or 0 in the float type.
ONNXRAY_UNARY(Cube, NoParams, x* x* x)
ONNXRAY_UNARY(MaskNot, NoParams, x == T(0) ? T(1) : T(0))
ONNXRAY_BINARY(MaskAnd, NoParams, x* y)
ONNXRAY_BINARY(MaskOr, NoParams, x > y ? x : y)
ONNXRAY_BINARY(MaskXor, NoParams, x == y ? T(0) : T(1))
ONNXRAY_BINARY(MaskEqual, NoParams, x == y ? T(1) : T(0))
ONNXRAY_BINARY(MaskGreater, NoParams, x > y ? T(1) : T(0))
ONNXRAY_BINARY(MaskGreaterEqual, NoParams, x >= y ? T(1) : T(0))
ONNXRAY_BINARY(MaskLess, NoParams, x < y ? T(1) : T(0))
ONNXRAY_BINARY(MaskLessEqual, NoParams, x <= y ? T(1) : T(0))

#undef ONNXRAY_UNARY
#undef ONNXRAY_BINARY

struct MaskWhere {
  template <class T>
  ONNXRAY_HD static T f(T mask, T x, T y) {
    return mask != T(0) ? x : y;
  }
};
// dy where x wins, half of it where both are equal: the gradient of max(x, y) towards x.
struct MaxGrad {
  template <class T>
  ONNXRAY_HD static T f(T dy, T x, T y) {
    return x > y ? dy : (x == y ? dy * T(0.5) : T(0));
  }
};

// Comparisons of any ordered type.
struct Equal {
  template <class T>
  ONNXRAY_HD static bool f(T x, T y) {
    return x == y;
  }
};
struct Greater {
  template <class T>
  ONNXRAY_HD static bool f(T x, T y) {
    return x > y;
  }
};
struct GreaterEqual {
  template <class T>
  ONNXRAY_HD static bool f(T x, T y) {
    return x >= y;
  }
};

struct Less {
  template <class T>
  ONNXRAY_HD static bool f(T x, T y) {
    return x < y;
  }
};
struct LessEqual {
  template <class T>
  ONNXRAY_HD static bool f(T x, T y) {
    return x <= y;
  }
};

// A visitor may belong to the host or to a kernel.
#if defined(__CUDACC__)
#define ONNXRAY_ANY_VISITOR _Pragma("nv_exec_check_disable")
#else
#define ONNXRAY_ANY_VISITOR
#endif

// Calls v.template operator()<Functor>(op name) for every float op of one input.
ONNXRAY_ANY_VISITOR
template <class V>
ONNXRAY_HD void visit_unary(V&& v) {
  v.template operator()<Neg>("neg");
  v.template operator()<Abs>("abs");
  v.template operator()<Sign>("sign");
  v.template operator()<Sqrt>("sqrt");
  v.template operator()<Exp>("exp");
  v.template operator()<Log>("log");
  v.template operator()<Reciprocal>("reciprocal");
  v.template operator()<Erf>("erf");
  v.template operator()<Floor>("floor");
  v.template operator()<Ceil>("ceil");
  v.template operator()<Round>("round");
  v.template operator()<Sin>("sin");
  v.template operator()<Cos>("cos");
  v.template operator()<Tan>("tan");
  v.template operator()<Asin>("asin");
  v.template operator()<Acos>("acos");
  v.template operator()<Atan>("atan");
  v.template operator()<Sinh>("sinh");
  v.template operator()<Cosh>("cosh");
  v.template operator()<Asinh>("asinh");
  v.template operator()<Acosh>("acosh");
  v.template operator()<Atanh>("atanh");
  v.template operator()<Relu>("relu");
  v.template operator()<LeakyRelu>("leaky_relu");
  v.template operator()<Elu>("elu");
  v.template operator()<Sigmoid>("sigmoid");
  v.template operator()<Tanh>("tanh");
  v.template operator()<Softplus>("softplus");
  v.template operator()<Softsign>("softsign");
  v.template operator()<Gelu>("gelu");
  v.template operator()<GeluTanh>("gelu_tanh");
  v.template operator()<Swish>("swish");
  v.template operator()<Mish>("mish");
  v.template operator()<Clip>("clip");
  v.template operator()<HardSigmoid>("hard_sigmoid");
  v.template operator()<HardSwish>("hard_swish");
  v.template operator()<ThresholdedRelu>("thresholded_relu");
  v.template operator()<Shrink>("shrink");
  v.template operator()<Square>("square");
  v.template operator()<Cube>("cube");
  v.template operator()<MaskNot>("not");
}

// The same for every float op of two broadcasting inputs.
ONNXRAY_ANY_VISITOR
template <class V>
ONNXRAY_HD void visit_binary(V&& v) {
  v.template operator()<Add>("add");
  v.template operator()<Sub>("sub");
  v.template operator()<Mul>("mul");
  v.template operator()<Div>("div");
  v.template operator()<Pow>("pow");
  v.template operator()<Max>("max");
  v.template operator()<Min>("min");
  v.template operator()<Fmod>("fmod");
  v.template operator()<FloorMod>("mod");
  v.template operator()<Prelu>("prelu");
  v.template operator()<ReluGrad>("relu_grad");
  v.template operator()<LeakyReluGrad>("leaky_relu_grad");
  v.template operator()<EluGrad>("elu_grad");
  v.template operator()<SigmoidGrad>("sigmoid_grad");
  v.template operator()<TanhGrad>("tanh_grad");
  v.template operator()<GeluGrad>("gelu_grad");
  v.template operator()<GeluTanhGrad>("gelu_tanh_grad");
  v.template operator()<SwishGrad>("swish_grad");
  v.template operator()<MishGrad>("mish_grad");
  v.template operator()<ClipGrad>("clip_grad");
  v.template operator()<HardSigmoidGrad>("hard_sigmoid_grad");
  v.template operator()<HardSwishGrad>("hard_swish_grad");
  v.template operator()<MaskAnd>("and");
  v.template operator()<MaskOr>("or");
  v.template operator()<MaskXor>("xor");
  v.template operator()<MaskEqual>("equal");
  v.template operator()<MaskGreater>("greater");
  v.template operator()<MaskGreaterEqual>("greater_equal");
  v.template operator()<MaskLess>("less");
  v.template operator()<MaskLessEqual>("less_equal");
}

ONNXRAY_ANY_VISITOR
template <class V>
ONNXRAY_HD void visit_ternary(V&& v) {
  v.template operator()<MaskWhere>("where");
  v.template operator()<MaxGrad>("max_grad");
}

#undef ONNXRAY_ANY_VISITOR

}  // namespace onnxray::fn
