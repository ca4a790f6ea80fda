// Reductions. A fixed number of lanes shares each output: lane l takes terms l, l + lanes, ... in ascending order, then
// the lanes are folded in halves. The number of lanes depends on the length of one reduction alone, so the result has
// the same bits however many outputs there are.
#pragma once
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/fold.cuh"
#include "kernels/cuda/number_types.cuh"

namespace onnxray::cuda {

struct AsIs {
  template <class T>
  ONNXRAY_HD T operator()(T v) const {
    return v;
  }
};
struct DividedBy {
  std::int64_t n;
  template <class T>
  ONNXRAY_HD T operator()(T v) const {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<std::int64_t>(v) / n);
    else return v / static_cast<T>(n);
  }
};

struct Reduction {
  Walk<1> kept, reduced;
  std::int64_t outputs = 1, terms = 1;
  unsigned lanes = 1;          // a power of two
  bool lanes_adjacent = true;  // neighbouring threads share an output; else they have neighbouring outputs
};

template <class F, class T, class Finish>
ONNXRAY_KERNEL(void)
reduce_kernel(Reduction r, T start, Finish finish, const T* x, T* y) {
  ONNXRAY_SHARED(T, part);
  const Team team(r.lanes, r.lanes_adjacent);
  for (std::int64_t first = std::int64_t{blockIdx.x} * team.teams; first < r.outputs;
       first += std::int64_t{gridDim.x} * team.teams) {
    const std::int64_t o = first + team.number;
    T total = start;
    if (o < r.outputs) {
      std::int64_t base[1], at[1];
      r.kept.at(static_cast<std::uint32_t>(o), base);
      for (std::int64_t k = team.lane; k < r.terms; k += r.lanes) {
        r.reduced.at(static_cast<std::uint32_t>(k), at);
        total = F::f(total, x[base[0] + at[0]]);
      }
    }
    total = team.fold<F>(part, total);
    if (team.lane == 0 && o < r.outputs) y[o] = finish(total);
  }
}

[[nodiscard]] inline std::optional<Reduction> reduction_of(const Dims& dims, const std::vector<std::int64_t>& axes) {
  Reduction r;
  const Dims strides = strides_of(dims);
  Dims kept, reduced, kept_strides, reduced_strides;
  bool inner_reduced = false;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const bool reduce = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    (reduce ? reduced : kept).push_back(dims[i]);
    (reduce ? reduced_strides : kept_strides).push_back(strides[i]);
    if (dims[i] != 1) inner_reduced = reduce;
  }
  r.outputs = count_of(kept);
  r.terms = count_of(reduced);
  r.lanes_adjacent = inner_reduced;
  r.lanes = lanes_for(r.terms);
  const auto walk_kept = walk_of<1>(kept, {kept_strides}), walk_reduced = walk_of<1>(reduced, {reduced_strides});
  if (!walk_kept || !walk_reduced) return std::nullopt;
  r.kept = *walk_kept;
  r.reduced = *walk_reduced;
  return r;
}

template <class F, class T, class Finish>
Step reduce_step(const PrepareCtx& c, Finish finish) {
  const auto r = reduction_of(c.dims(0), c.attrs.ints("axes"));
  if (!r) return {};
  if (r->outputs == 0) return no_work();
  return {[r = *r, finish](const RunArgs& a) {
    launch(reduce_kernel<F, T, Finish>, grid_of(r.outputs, kThreads / r.lanes), Dim3{kThreads}, kThreads * sizeof(T),
           a.stream, r, F::template start<T>(), finish, static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]));
  }};
}

template <class F>
Step reduce_ordered(const PrepareCtx& c) {
  return with_ordered(c.dtype(0), [&]<class T>() { return reduce_step<F, T>(c, AsIs{}); });
}
template <class F>
Step reduce_numbers(const PrepareCtx& c) {
  return with_number(c.dtype(0), [&]<class T>() { return reduce_step<F, T>(c, AsIs{}); });
}

inline Step reduce_mean(const PrepareCtx& c) {
  const auto r = reduction_of(c.dims(0), c.attrs.ints("axes"));
  if (!r || (is_integer(c.dtype(0)) && r->terms == 0)) return {};
  return with_number(c.dtype(0), [&]<class T>() { return reduce_step<SumOf, T>(c, DividedBy{r->terms}); });
}

template <bool kMax, class T>
ONNXRAY_KERNEL(void)
arg_kernel(Lines l, bool last, const T* x, std::int64_t* y) {
  for (std::int64_t o = first_item(); o < l.count; o += item_step()) {
    const T* p = x + o / l.inner * l.n * l.inner + o % l.inner;
    T best = p[0];
    std::int64_t at = 0;
    for (std::int64_t i = 1; i < l.n; ++i) {
      const T v = p[i * l.inner];
      // A NaN beats every number.
      const bool nan = v != v, best_nan = best != best;
      const bool better = nan ? !best_nan : !best_nan && (kMax ? v > best : v < best);
      if (better || (last && (v == best || (nan && best_nan)))) {
        best = v;
        at = i;
      }
    }
    y[o] = at;
  }
}

template <bool kMax>
Step arg(const PrepareCtx& c) {
  const Lines l = lines_of(c.dims(0), c.attrs.integer("axis", 0));
  const bool last = c.attrs.integer("select_last", 0) != 0;
  if (l.count == 0) return no_work();
  return with_ordered(c.dtype(0), [&]<class T>() -> Step {
    return {[l, last](const RunArgs& a) {
      launch(arg_kernel<kMax, T>, grid_of(l.count), Dim3{kThreads}, 0, a.stream, l, last,
             static_cast<const T*>(a.in[0]), static_cast<std::int64_t*>(a.out[0]));
    }};
  });
}

template <class T>
ONNXRAY_KERNEL(void)
cumsum_kernel(Lines l, bool exclusive, bool reverse, const T* x, T* y) {
  for (std::int64_t o = first_item(); o < l.count; o += item_step()) {
    const std::int64_t base = o / l.inner * l.n * l.inner + o % l.inner;
    T sum = T(0);
    for (std::int64_t k = 0; k < l.n; ++k) {
      const std::int64_t i = base + (reverse ? l.n - 1 - k : k) * l.inner;
      const T v = x[i];
      if (exclusive) y[i] = sum;
      sum = SumOf::f(sum, v);
      if (!exclusive) y[i] = sum;
    }
  }
}

inline Step cumsum(const PrepareCtx& c) {
  const Lines l = lines_of(c.dims(0), c.attrs.integer("axis", 0));
  const bool exclusive = c.attrs.integer("exclusive", 0) != 0, reverse = c.attrs.integer("reverse", 0) != 0;
  if (l.count == 0 || l.n == 0) return no_work();
  return with_number(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(cumsum_kernel<T>, grid_of(l.count), Dim3{kThreads}, 0, a.stream, l, exclusive, reverse,
             static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]));
    }};
  });
}

void register_reduce(Backend& b) {
  b.add("reduce_sum", reduce_numbers<SumOf>);
  b.add("reduce_prod", reduce_numbers<ProductOf>);
  b.add("reduce_mean", reduce_mean);
  b.add("reduce_max", reduce_ordered<Greatest>);
  b.add("reduce_min", reduce_ordered<Least>);
  b.add("argmax", arg<true>);
  b.add("argmin", arg<false>);
  b.add("cumsum", cumsum);
}

}  // namespace onnxray::cuda
