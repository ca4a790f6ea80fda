// top_k.
#pragma once
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/number_types.cuh"

namespace onnxray::cuda {

// Whether a comes before b when the largest come first; NaN first of all.
template <class T>
ONNXRAY_HD bool above(T a, T b) {
  if (a != a || b != b) return a != a && b == b;
  return a > b;
}

// A thread finds the k first elements of its line one after another: each is the first of those behind the last one.
template <class T>
ONNXRAY_KERNEL(void)
top_k_kernel(std::int64_t lines, std::int64_t n, std::int64_t inner, std::int64_t k, bool largest, const T* x,
             T* values, std::int64_t* indices) {
  for (std::int64_t l = first_item(); l < lines; l += item_step()) {
    const T* from = x + l / inner * n * inner + l % inner;
    const std::int64_t to = l / inner * k * inner + l % inner;
    // (value, index) pairs are totally ordered: by value, equal values by index.
    const auto before = [&](std::int64_t i, std::int64_t j) {
      const T u = from[i * inner], v = from[j * inner];
      if (largest ? above(u, v) : above(v, u)) return true;
      if (largest ? above(v, u) : above(u, v)) return false;
      return i < j;
    };
    std::int64_t last = -1;
    for (std::int64_t r = 0; r < k; ++r) {
      std::int64_t best = -1;
      for (std::int64_t i = 0; i < n; ++i) {
        if (last >= 0 && !before(last, i)) continue;
        if (best < 0 || before(i, best)) best = i;
      }
      if (values != nullptr) values[to + r * inner] = from[best * inner];
      if (indices != nullptr) indices[to + r * inner] = best;
      last = best;
    }
  }
}

inline Step top_k(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::int64_t k = c.attrs.integer("k", 1);
  const bool largest = c.attrs.integer("largest", 1) != 0;
  const Dims& d = c.dims(0);
  const std::int64_t n = d[axis], inner = product(d, axis + 1, d.size()), lines = product(d, 0, axis) * inner;
  if (count_of(c.out_dims()) == 0) return no_work();
  return with_ordered(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(top_k_kernel<T>, grid_of(lines), Dim3{kThreads}, 0, a.stream, lines, n, inner, k, largest,
             static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]), static_cast<std::int64_t*>(a.out[1]));
    }};
  });
}

}  // namespace onnxray::cuda
