// Elementwise kernels of one, two and three operands for any functor and element types. Operands of the result's shape
// and scalars are read along the flat index, 16 bytes at a time; others through a Walk.
#pragma once
#include <type_traits>

#include "kernels/cuda/common.cuh"

namespace onnxray::cuda {

// Elements a thread handles at once: 16 bytes of the widest type.
template <class... Ts>
inline constexpr int kWidth = 16 / static_cast<int>(std::max({sizeof(Ts)...}));

[[nodiscard]] inline bool aligned16(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

// W neighbours from x on, of which `left` are there; step 0: x[0] for each.
template <int W, class T>
ONNXRAY_DEVICE void load_group(const T* x, std::int64_t left, int step, bool aligned, T (&v)[W]) {
  if (step == 0) {
    const T s = x[0];
    for (int k = 0; k < W; ++k) v[k] = s;
  } else if (aligned && left >= W) {
    const Pack<T, W> p = *reinterpret_cast<const Pack<T, W>*>(x);
    for (int k = 0; k < W; ++k) v[k] = p.v[k];
  } else {
    for (int k = 0; k < W; ++k) v[k] = k < left ? x[k] : T{};
  }
}
// Elements [i, i + W) of an operand with flat step 1 or 0 (a scalar); `n` ends the array.
template <int W, class T>
ONNXRAY_DEVICE void load_flat(const T* x, std::int64_t i, std::int64_t n, int step, bool aligned, T (&v)[W]) {
  load_group<W>(x + i * step, n - i, step, aligned, v);
}
template <int W, class T>
ONNXRAY_DEVICE void store_flat(T* y, std::int64_t i, std::int64_t n, bool aligned, const T (&v)[W]) {
  if (aligned && i + W <= n) {
    Pack<T, W> p;
    for (int k = 0; k < W; ++k) p.v[k] = v[k];
    *reinterpret_cast<Pack<T, W>*>(y + i) = p;
  } else {
    for (int k = 0; k < W; ++k) {
      if (i + k < n) y[i + k] = v[k];
    }
  }
}

// y may be x.
template <class F, class X, class Y>
ONNXRAY_KERNEL(void)
unary_kernel(F f, std::int64_t n, bool aligned, const X* x, Y* y) {
  constexpr int W = kWidth<X, Y>;
  for (std::int64_t i = first_item() * W; i < n; i += item_step() * W) {
    X a[W];
    Y r[W];
    load_flat<W>(x, i, n, 1, aligned, a);
    for (int k = 0; k < W; ++k) r[k] = f(a[k]);
    store_flat<W>(y, i, n, aligned, r);
  }
}

template <class F, class X, class Y>
Step unary_step(const PrepareCtx& c, F f) {
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  return {[f, n](const RunArgs& a) {
    launch(unary_kernel<F, X, Y>, grid_of(ceil_div(n, kWidth<X, Y>)), Dim3{kThreads}, 0, a.stream, f, n,
           aligned16({a.in[0], a.out[0]}), static_cast<const X*>(a.in[0]), static_cast<Y*>(a.out[0]));
  }};
}

// How the operands of a result are read: in groups of neighbours, which lie side by side (step 1) or are one element
// (step 0), or one by one.
template <int K>
struct Operands {
  bool flat = false;  // group after group along the flat index
  bool grouped = false, can_align = true;
  int step[K] = {};
  Walk<K> walk;

  ONNXRAY_HD void at(std::int64_t i, std::int64_t (&offset)[K]) const {
    if (flat) {
      for (int k = 0; k < K; ++k) offset[k] = i * step[k];
    } else {
      walk.at(static_cast<std::uint32_t>(i), offset);
    }
  }
};
template <int K>
[[nodiscard]] std::optional<Operands<K>> operands_of(const PrepareCtx& c, int width) {
  const Dims& out = c.out_dims();
  std::vector<Dims> strides;
  for (std::size_t k = 0; k < K; ++k) strides.push_back(broadcast_strides(c.dims(k), out));
  Operands<K> o;
  const MergedAxes m = merged(out, strides);
  o.flat = m.dims.size() <= 1;
  if (o.flat) {
    o.grouped = true;
    for (std::size_t k = 0; k < K; ++k) o.step[k] = m.dims.empty() || m.strides[k][0] != 0 ? 1 : 0;
    return o;
  }
  const auto walk = walk_of<K>(out, strides);
  if (!walk) return std::nullopt;
  o.walk = *walk;
  o.grouped = walks_in_groups(o.walk, width);
  for (int k = 0; k < K && o.grouped; ++k) {
    o.step[k] = o.walk.stride[k][o.walk.axes - 1];
    o.can_align = o.can_align && (o.step[k] == 0 || groups_are_aligned(o.walk, width, k));
  }
  return o;
}

template <class F, class X, class Y, class Z>
ONNXRAY_KERNEL(void)
binary_kernel(F f, std::int64_t n, bool aligned, Operands<2> o, const X* x, const Y* y, Z* z) {
  constexpr int W = kWidth<X, Y, Z>;
  if (o.grouped) {
    for (std::int64_t i = first_item() * W; i < n; i += item_step() * W) {
      std::int64_t at[2];
      o.at(i, at);
      X a[W];
      Y b[W];
      Z r[W];
      load_group<W>(x + at[0], n - i, o.step[0], aligned, a);
      load_group<W>(y + at[1], n - i, o.step[1], aligned, b);
      for (int k = 0; k < W; ++k) r[k] = f(a[k], b[k]);
      store_flat<W>(z, i, n, aligned, r);
    }
    return;
  }
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    std::int64_t at[2];
    o.walk.at(static_cast<std::uint32_t>(i), at);
    z[i] = f(x[at[0]], y[at[1]]);
  }
}

template <class F, class X, class Y, class Z>
Step binary_step(const PrepareCtx& c, F f) {
  constexpr int W = kWidth<X, Y, Z>;
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  const auto o = operands_of<2>(c, W);
  if (!o) return {};
  return {[f, n, o = *o](const RunArgs& a) {
    launch(binary_kernel<F, X, Y, Z>, grid_of(o.grouped ? ceil_div(n, W) : n), Dim3{kThreads}, 0, a.stream, f, n,
           o.can_align && aligned16({a.in[0], a.in[1], a.out[0]}), o, static_cast<const X*>(a.in[0]),
           static_cast<const Y*>(a.in[1]), static_cast<Z*>(a.out[0]));
  }};
}

template <class F, class X, class Y, class Z>
ONNXRAY_KERNEL(void)
ternary_kernel(F f, std::int64_t n, bool aligned, Operands<3> o, const X* x, const Y* y, const Y* z, Z* w) {
  constexpr int W = kWidth<X, Y, Z>;
  if (o.grouped) {
    for (std::int64_t i = first_item() * W; i < n; i += item_step() * W) {
      std::int64_t at[3];
      o.at(i, at);
      X a[W];
      Y b[W], d[W];
      Z r[W];
      load_group<W>(x + at[0], n - i, o.step[0], aligned, a);
      load_group<W>(y + at[1], n - i, o.step[1], aligned, b);
      load_group<W>(z + at[2], n - i, o.step[2], aligned, d);
      for (int k = 0; k < W; ++k) r[k] = f(a[k], b[k], d[k]);
      store_flat<W>(w, i, n, aligned, r);
    }
    return;
  }
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    std::int64_t at[3];
    o.walk.at(static_cast<std::uint32_t>(i), at);
    w[i] = f(x[at[0]], y[at[1]], z[at[2]]);
  }
}

template <class F, class X, class Y, class Z>
Step ternary_step(const PrepareCtx& c, F f) {
  constexpr int W = kWidth<X, Y, Z>;
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  const auto o = operands_of<3>(c, W);
  if (!o) return {};
  return {[f, n, o = *o](const RunArgs& a) {
    launch(ternary_kernel<F, X, Y, Z>, grid_of(o.grouped ? ceil_div(n, W) : n), Dim3{kThreads}, 0, a.stream, f, n,
           o.can_align && aligned16({a.in[0], a.in[1], a.in[2], a.out[0]}), o, static_cast<const X*>(a.in[0]),
           static_cast<const Y*>(a.in[1]), static_cast<const Y*>(a.in[2]), static_cast<Z*>(a.out[0]));
  }};
}

}  // namespace onnxray::cuda
