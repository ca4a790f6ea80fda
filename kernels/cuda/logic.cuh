// Comparisons, logic, selection and tests for special values.
#pragma once
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/functors.h"

namespace onnxray::cuda {

template <class F>
struct CompareFunctor {
  template <class T>
  ONNXRAY_HD bool operator()(T x, T y) const {
    return F::f(x, y);
  }
};
template <class F>
Step compare(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return binary_step<CompareFunctor<F>, float, float, bool>(c, {});
    case DType::f64: return binary_step<CompareFunctor<F>, double, double, bool>(c, {});
    case DType::i64: return binary_step<CompareFunctor<F>, std::int64_t, std::int64_t, bool>(c, {});
    case DType::i32: return binary_step<CompareFunctor<F>, std::int32_t, std::int32_t, bool>(c, {});
    case DType::boolean: return binary_step<CompareFunctor<F>, bool, bool, bool>(c, {});
    default: return {};
  }
}

struct And {
  ONNXRAY_HD bool operator()(bool x, bool y) const { return x && y; }
};
struct Or {
  ONNXRAY_HD bool operator()(bool x, bool y) const { return x || y; }
};
struct Xor {
  ONNXRAY_HD bool operator()(bool x, bool y) const { return x != y; }
};
struct Not {
  ONNXRAY_HD bool operator()(bool x) const { return !x; }
};
struct Select {
  template <class T>
  ONNXRAY_HD T operator()(bool c, T x, T y) const {
    return c ? x : y;
  }
};
struct IsNan {
  template <class T>
  ONNXRAY_HD bool operator()(T x) const {
    return x != x;
  }
};
struct IsInf {
  bool positive, negative;
  template <class T>
  ONNXRAY_HD bool operator()(T x) const {
    // Only an infinity is x - x = NaN without being NaN itself.
    return x == x && x - x != x - x && (x > T(0) ? positive : negative);
  }
};

void register_logic(Backend& b) {
  b.add("equal", compare<fn::Equal>);
  b.add("greater", compare<fn::Greater>);
  b.add("greater_equal", compare<fn::GreaterEqual>);
  b.add("less", compare<fn::Less>);
  b.add("less_equal", compare<fn::LessEqual>);
  b.add("and", [](const PrepareCtx& c) { return binary_step<And, bool, bool, bool>(c, {}); });
  b.add("or", [](const PrepareCtx& c) { return binary_step<Or, bool, bool, bool>(c, {}); });
  b.add("xor", [](const PrepareCtx& c) { return binary_step<Xor, bool, bool, bool>(c, {}); });
  b.add("not", [](const PrepareCtx& c) { return unary_step<Not, bool, bool>(c, {}); });
  b.add("where", [](const PrepareCtx& c) {
    return visit_bytes(size_of(c.dtype(1)), [&]<class U>() { return ternary_step<Select, bool, U, U>(c, {}); });
  });
  b.add("is_nan", [](const PrepareCtx& c) {
    return visit_float(c.dtype(0), [&]<class T>() { return unary_step<IsNan, T, bool>(c, {}); });
  });
  b.add("is_inf", [](const PrepareCtx& c) {
    const IsInf f{c.attrs.integer("positive", 1) != 0, c.attrs.integer("negative", 1) != 0};
    return visit_float(c.dtype(0), [&]<class T>() { return unary_step<IsInf, T, bool>(c, f); });
  });
}

}  // namespace onnxray::cuda
