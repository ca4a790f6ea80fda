// top_k.
#include <algorithm>

#include "kernels/cpu/index.h"

namespace onnxray::cpu {
namespace {

// Whether a comes before b when the largest come first; NaN first of all.
template <class T>
bool above(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a || b != b) return a != a && b == b;
  }
  return a > b;
}

template <class T>
Step top_k(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::int64_t k = c.attrs.integer("k", 1);
  const bool largest = c.attrs.integer("largest", 1) != 0;
  const Dims& x_dims = c.dims(0);
  const std::int64_t outer = product(x_dims, 0, axis), n = x_dims[axis];
  const std::int64_t inner = product(x_dims, axis + 1, x_dims.size());
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* values = static_cast<T*>(a.out[0]);
    auto* indices = static_cast<std::int64_t*>(a.out[1]);
    parallel_for(outer * inner, std::max<std::int64_t>(1, kGrain / n), [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::int64_t> order(static_cast<std::size_t>(n));
      for (std::int64_t lane = begin; lane < end; ++lane) {
        const T* from = x + lane / inner * n * inner + lane % inner;
        for (std::int64_t i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
        std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](std::int64_t i, std::int64_t j) {
          const T u = from[i * inner], v = from[j * inner];
          if (largest ? above(u, v) : above(v, u)) return true;
          if (largest ? above(v, u) : above(u, v)) return false;
          return i < j;
        });
        const std::int64_t to = lane / inner * k * inner + lane % inner;
        for (std::int64_t i = 0; i < k; ++i) {
          const std::int64_t j = order[static_cast<std::size_t>(i)];
          if (values != nullptr) values[to + i * inner] = from[j * inner];
          if (indices != nullptr) indices[to + i * inner] = j;
        }
      }
    });
  }};
}

}  // namespace

void register_index_select(Backend& b) {
  b.add("top_k", [](const PrepareCtx& c) { return visit_compute(c.dtype(0), [&]<class T>() { return top_k<T>(c); }); });
}

}  // namespace onnxray::cpu
