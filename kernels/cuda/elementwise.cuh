// Float arithmetic over functors.h and integer arithmetic over integer_functors.h, broadcasting.
#pragma once
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/mask_bits.cuh"
#include "kernels/functors.h"
#include "kernels/integer_functors.h"

namespace onnxray::cuda {

template <class F, class T>
struct UnaryFunctor {
  fn::Params<T> p;
  ONNXRAY_HD T operator()(T x) const { return F::f(x, p); }
};
template <class F, class T>
struct BinaryFunctor {
  fn::Params<T> p;
  ONNXRAY_HD T operator()(T x, T y) const { return F::f(x, y, p); }
};
template <class F, class T>
struct TernaryFunctor {
  ONNXRAY_HD T operator()(T x, T y, T z) const { return F::f(x, y, z); }
};

template <class F, class T>
[[nodiscard]] fn::Params<T> params_of(const Attrs& attrs) {
  T v[3] = {};
  for (std::size_t i = 0; i < 3; ++i) {
    const fn::ParamSpec& spec = F::kParams[i];
    if (spec.name != nullptr) v[i] = static_cast<T>(attrs.real(spec.name, spec.otherwise));
  }
  return {v[0], v[1], v[2]};
}

template <class F>
Step unary_float(const PrepareCtx& c) {
  return visit_float(c.dtype(0),
                     [&]<class T>() { return unary_step<UnaryFunctor<F, T>, T, T>(c, {params_of<F, T>(c.attrs)}); });
}
template <class F>
Step binary_float(const PrepareCtx& c) {
  return visit_float(
      c.dtype(0), [&]<class T>() { return binary_step<BinaryFunctor<F, T>, T, T, T>(c, {params_of<F, T>(c.attrs)}); });
}

template <class F>
Step unary_integer(const PrepareCtx& c) {
  if (c.dtype(0) == DType::i64) return unary_step<F, std::int64_t, std::int64_t>(c, {});
  if (c.dtype(0) == DType::i32) return unary_step<F, std::int32_t, std::int32_t>(c, {});
  return {};
}
template <class F>
Step binary_integer(const PrepareCtx& c) {
  if (c.dtype(0) == DType::i64) return binary_step<F, std::int64_t, std::int64_t, std::int64_t>(c, {});
  if (c.dtype(0) == DType::i32) return binary_step<F, std::int32_t, std::int32_t, std::int32_t>(c, {});
  return {};
}

template <class Float, class Integer>
Step unary_number(const PrepareCtx& c) {
  return is_float(c.dtype(0)) ? unary_float<Float>(c) : unary_integer<Integer>(c);
}
template <class Float, class Integer>
Step binary_number(const PrepareCtx& c) {
  return is_float(c.dtype(0)) ? binary_float<Float>(c) : binary_integer<Integer>(c);
}

inline Step power(const PrepareCtx& c) {
  if (!is_float(c.dtype(0))) return binary_integer<integer::Pow>(c);
  // A power whose exponent is one small constant needs no logarithm.
  const Tensor e = c.constant(1);
  if (e.defined() && e.size() == 1 && count_of(c.out_dims()) == count_of(c.dims(0))) {
    const double exponent = e.to_doubles()[0];
    if (exponent == 2) return unary_float<fn::Square>(c);
    if (exponent == 3) return unary_float<fn::Cube>(c);
    if (exponent == -1) return unary_float<fn::Reciprocal>(c);
  }
  return binary_float<fn::Pow>(c);
}

inline Step modulo(const PrepareCtx& c) {
  const bool truncates = c.attrs.integer("fmod", 0) != 0;
  if (truncates) return binary_number<fn::Fmod, integer::Fmod>(c);
  return binary_number<fn::FloorMod, integer::FloorMod>(c);
}

// Everything functors.h lists but its masks, which belong to fused programs; their ops are in logic.cuh.
struct AddUnary {
  Backend& b;
  template <class F>
  void operator()(const char* op) const {
    if constexpr (!std::is_same_v<F, fn::Square> && !std::is_same_v<F, fn::Cube> && !std::is_same_v<F, fn::MaskNot>) {
      b.add(op, unary_float<F>);
    }
  }
};
template <class F, class... Masks>
inline constexpr bool is_one_of = (std::is_same_v<F, Masks> || ...);
struct AddBinary {
  Backend& b;
  template <class F>
  void operator()(const char* op) const {
    if constexpr (!is_one_of<F, fn::Fmod, fn::MaskAnd, fn::MaskOr, fn::MaskXor, fn::MaskEqual, fn::MaskGreater,
                             fn::MaskGreaterEqual, fn::MaskLess, fn::MaskLessEqual>) {
      b.add(op, binary_float<F>);
    }
  }
};

// y = relu(x) and its mask; y may be x, or null.
template <class T>
ONNXRAY_KERNEL(void)
relu_mask_kernel(std::int64_t n, bool aligned, const T* x, T* y, std::uint32_t* bits) {
  constexpr int W = kWidth<T>;
  // All threads of a warp go on together.
  for (std::int64_t i = first_item() * W; i - threadIdx.x % 32 * W < n; i += item_step() * W) {
    T a[W], r[W];
    load_flat<W>(x, i, n, 1, aligned, a);
    for (int k = 0; k < W; ++k) r[k] = fn::Relu::f(a[k], fn::Params<T>{});
    if (y != nullptr) store_flat<W>(y, i, n, aligned, r);
    store_mask<W>(bits, i, n, r);
  }
}

inline Step relu(const PrepareCtx& c) {
  if (!gives_mask_output(c.attrs) || !c.output_read(1)) return unary_number<fn::Relu, integer::Relu>(c);
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[n](const RunArgs& a) {
      launch(relu_mask_kernel<T>, grid_of(ceil_div(n, kWidth<T>)), Dim3{kThreads}, 0, a.stream, n,
             aligned16({a.in[0], a.out[0]}), static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]),
             static_cast<std::uint32_t*>(a.out[1]));
    }};
  });
}

// dy where the mask's bit is set, else 0; y may be dy.
template <class T>
ONNXRAY_KERNEL(void)
relu_grad_mask_kernel(std::int64_t n, bool aligned, const T* dy, const std::uint32_t* bits, T* y) {
  constexpr int W = kWidth<T>;
  for (std::int64_t i = first_item() * W; i < n; i += item_step() * W) {
    T a[W], r[W];
    load_flat<W>(dy, i, n, 1, aligned, a);
    const std::uint32_t word = bits[i / 32] >> i % 32;
    for (int k = 0; k < W; ++k) r[k] = (word >> k & 1) != 0 ? a[k] : T(0);
    store_flat<W>(y, i, n, aligned, r);
  }
}

inline Step relu_grad(const PrepareCtx& c) {
  if (c.dtype(1) != DType::i32) return binary_float<fn::ReluGrad>(c);
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[n](const RunArgs& a) {
      launch(relu_grad_mask_kernel<T>, grid_of(ceil_div(n, kWidth<T>)), Dim3{kThreads}, 0, a.stream, n,
             aligned16({a.in[0], a.out[0]}), static_cast<const T*>(a.in[0]), static_cast<const std::uint32_t*>(a.in[1]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

void register_elementwise(Backend& b) {
  fn::visit_unary(AddUnary{b});
  fn::visit_binary(AddBinary{b});
  b.add("neg", unary_number<fn::Neg, integer::Neg>);
  b.add("abs", unary_number<fn::Abs, integer::Abs>);
  b.add("sign", unary_number<fn::Sign, integer::Sign>);
  b.add("relu", relu);
  b.add("relu_grad", relu_grad);
  b.add("add", binary_number<fn::Add, integer::Add>);
  b.add("sub", binary_number<fn::Sub, integer::Sub>);
  b.add("mul", binary_number<fn::Mul, integer::Mul>);
  b.add("div", binary_number<fn::Div, integer::Div>);
  b.add("max", binary_number<fn::Max, integer::Max>);
  b.add("min", binary_number<fn::Min, integer::Min>);
  b.add("pow", power);
  b.add("mod", modulo);
  b.add("max_grad", [](const PrepareCtx& c) {
    return visit_float(c.dtype(0),
                       [&]<class T>() { return ternary_step<TernaryFunctor<fn::MaxGrad, T>, T, T, T>(c, {}); });
  });
}

}  // namespace onnxray::cuda
