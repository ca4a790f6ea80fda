// gather and index_add, and the table of all ops that read or write by index. Where indices may meet, one thread takes
// all updates of an element in their order.
#pragma once
#include "kernels/cuda/index_elements.cuh"
#include "kernels/cuda/index_select.cuh"
#include "kernels/cuda/resample.cuh"
#include "kernels/index_views.h"

namespace onnxray::cuda {

template <class U>
ONNXRAY_KERNEL(void)
gather_kernel(GatherView v, Divider block, Divider count, FaultSlot fault, const U* x, const std::int64_t* index,
              U* y) {
  for (std::int64_t i = first_item(); i < v.outer * v.count * v.block; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::int64_t e = block.take(rest), j = count.take(rest);
    y[i] = x[(rest * v.extent + wrapped_index(index[j], v.extent, fault)) * v.block + e];
  }
}

inline Step gather(const PrepareCtx& c) {
  const GatherView v = gather_view(c.dims(0), c.dims(1), c.attrs.integer("axis", 0));
  const std::int64_t n = count_of(c.out_dims());
  if (n >= kMaxElements) return {};
  if (n == 0) return no_work();
  const Divider block(v.block), count(v.count);
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() -> Step {
    return {[=](const RunArgs& a) {
      launch(gather_kernel<U>, grid_of(n), Dim3{kThreads}, 0, a.stream, v, block, count, fault_of(a),
             static_cast<const U*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<U*>(a.out[0]));
    }};
  });
}

template <class T>
ONNXRAY_KERNEL(void)
index_add_kernel(GatherView v, FaultSlot fault, const T* dy, const std::int64_t* index, T* y) {
  // An element of [outer, block], all its indices.
  for (std::int64_t i = first_item(); i < v.outer * v.block; i += item_step()) {
    const std::int64_t o = i / v.block, e = i % v.block;
    T* to = y + o * v.extent * v.block + e;
    for (std::int64_t k = 0; k < v.extent; ++k) to[k * v.block] = T(0);
    for (std::int64_t j = 0; j < v.count; ++j) {
      T& at = to[wrapped_index(index[j], v.extent, fault) * v.block];
      at = static_cast<T>(at + dy[(o * v.count + j) * v.block + e]);
    }
  }
}

inline Step index_add(const PrepareCtx& c) {
  GatherView v = gather_view(c.out_dims(), c.dims(1), c.attrs.integer("axis", 0));
  if (count_of(c.dims(0)) == 0) v.count = 0;
  if (count_of(c.out_dims()) == 0) return no_work();
  return with_number(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(index_add_kernel<T>, grid_of(v.outer * v.block), Dim3{kThreads}, 0, a.stream, v, fault_of(a),
             static_cast<const T*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<T*>(a.out[0]));
    }};
  });
}

void register_index(Backend& b) {
  b.add("gather", gather);
  b.add("index_add", index_add);
  b.add("gather_elements", gather_elements);
  b.add("scatter_elements", scatter_elements);
  b.add("gather_nd", gather_nd);
  b.add("scatter_nd", scatter_nd);
  b.add("top_k", top_k);
  b.add("resample", resample);
}

}  // namespace onnxray::cuda
