// gather_elements, scatter_elements, gather_nd, scatter_nd. Where indices may meet, one thread takes all updates of an
// element in their order.
#pragma once
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/number_types.cuh"

namespace onnxray::cuda {

// Positions of the indices and their offsets in x, in elements, without the part along the axis.
struct ElementView {
  Walk<1> walk;
  std::int64_t count = 0, extent = 1, stride = 1;
};
[[nodiscard]] inline std::optional<ElementView> element_view(const Dims& x, const Dims& index, std::int64_t axis) {
  ElementView v;
  Dims strides = strides_of(x);
  const auto a = static_cast<std::size_t>(axis);
  v.extent = x[a];
  v.stride = strides[a];
  strides[a] = 0;
  v.count = count_of(index);
  const auto walk = walk_of<1>(index, {strides});
  if (!walk) return std::nullopt;
  v.walk = *walk;
  return v;
}

template <class U>
ONNXRAY_KERNEL(void)
gather_elements_kernel(ElementView v, FaultSlot fault, const U* x, const std::int64_t* index, U* y) {
  for (std::int64_t i = first_item(); i < v.count; i += item_step()) {
    std::int64_t at[1];
    v.walk.at(static_cast<std::uint32_t>(i), at);
    y[i] = x[at[0] + wrapped_index(index[i], v.extent, fault) * v.stride];
  }
}

inline Step gather_elements(const PrepareCtx& c) {
  const auto v = element_view(c.dims(0), c.dims(1), c.attrs.integer("axis", 0));
  if (!v) return {};
  if (v->count == 0) return no_work();
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() -> Step {
    return {[v = *v](const RunArgs& a) {
      launch(gather_elements_kernel<U>, grid_of(v.count), Dim3{kThreads}, 0, a.stream, v, fault_of(a),
             static_cast<const U*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<U*>(a.out[0]));
    }};
  });
}

struct Write {
  template <class T>
  ONNXRAY_HD static T f(T, T b) {
    return b;
  }
};
struct AddTo {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct MulBy {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return static_cast<T>(a * b);
  }
};
// A NaN on either side stays.
struct MaxOf {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return b > a || b != b ? b : a;
  }
};
struct MinOf {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return b < a || b != b ? b : a;
  }
};
// Calls f.template operator()<T, Fold>(); writing needs only the element's size.
template <class F>
Step with_fold(const PrepareCtx& c, F&& f) {
  const std::string r = c.attrs.text("reduction", "none");
  if (r == "none") {
    return visit_bytes(size_of(c.dtype(0)), [&]<class U>() { return f.template operator()<U, Write>(); });
  }
  return with_number(c.dtype(0), [&]<class T>() -> Step {
    if (r == "add") return f.template operator()<T, AddTo>();
    if (r == "mul") return f.template operator()<T, MulBy>();
    if (r == "max") return f.template operator()<T, MaxOf>();
    return f.template operator()<T, MinOf>();
  });
}

template <class U>
ONNXRAY_KERNEL(void)
copy_kernel(std::int64_t n, const U* x, U* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) y[i] = x[i];
}
// Unless the output took over the input's memory.
template <class U>
void copy_all(const void* x, void* y, std::int64_t n, Stream stream) {
  if (x == y || n == 0) return;
  launch(copy_kernel<U>, grid_of(n), Dim3{kThreads}, 0, stream, n, static_cast<const U*>(x), static_cast<U*>(y));
}

// One thread for all indices of a line along the axis: [outer, lines of the index, inner].
template <class T, class Fold>
ONNXRAY_KERNEL(void)
scatter_elements_kernel(ElementView v, std::int64_t lines, std::int64_t length, std::int64_t inner, FaultSlot fault,
                        const std::int64_t* index, const T* updates, T* y) {
  for (std::int64_t l = first_item(); l < lines; l += item_step()) {
    const std::int64_t first = l / inner * length * inner + l % inner;
    for (std::int64_t k = 0; k < length; ++k) {
      const std::int64_t i = first + k * inner;
      std::int64_t at[1];
      v.walk.at(static_cast<std::uint32_t>(i), at);
      T& to = y[at[0] + wrapped_index(index[i], v.extent, fault) * v.stride];
      to = Fold::f(to, updates[i]);
    }
  }
}

inline Step scatter_elements(const PrepareCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0), total = count_of(c.out_dims());
  const auto v = element_view(c.dims(0), c.dims(1), axis);
  if (!v) return {};
  const Dims& d = c.dims(1);
  const std::int64_t length = d[static_cast<std::size_t>(axis)];
  const std::int64_t inner = product(d, static_cast<std::size_t>(axis) + 1, d.size());
  const std::int64_t lines = v->count == 0 ? 0 : v->count / length;
  return with_fold(c, [&]<class T, class Fold>() -> Step {
    return {[=, v = *v](const RunArgs& a) {
      copy_all<T>(a.in[0], a.out[0], total, a.stream);
      if (lines == 0) return;
      launch(scatter_elements_kernel<T, Fold>, grid_of(lines), Dim3{kThreads}, 0, a.stream, v, lines, length, inner,
             fault_of(a), static_cast<const std::int64_t*>(a.in[1]), static_cast<const T*>(a.in[2]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

// The tuples of indices [batches, per_batch, tuple] and the blocks of x that they name.
struct TupleView {
  std::int64_t batches = 1, per_batch = 1, block = 1, batch_size = 1;  // sizes in elements of x
  int length = 0;
  std::int64_t extent[kMaxAxes] = {}, stride[kMaxAxes] = {};
};
[[nodiscard]] inline std::optional<TupleView> tuple_view(const Dims& x, const Dims& index, std::int64_t batch_dims) {
  const auto b = static_cast<std::size_t>(batch_dims), k = static_cast<std::size_t>(index.back());
  if (k > kMaxAxes) return std::nullopt;
  TupleView v;
  v.batches = product(x, 0, b);
  v.per_batch = product(index, b, index.size() - 1);
  v.batch_size = product(x, b, x.size());
  v.block = product(x, b + k, x.size());
  v.length = static_cast<int>(k);
  const Dims s = strides_of(x);
  for (std::size_t i = 0; i < k; ++i) {
    v.extent[i] = x[b + i];
    v.stride[i] = s[b + i];
  }
  return v;
}
// Where tuple t's block begins in x.
ONNXRAY_DEVICE std::int64_t tuple_offset(const TupleView& v, const std::int64_t* index, std::int64_t t,
                                         FaultSlot fault) {
  std::int64_t o = t / v.per_batch * v.batch_size;
  for (int i = 0; i < v.length; ++i) o += wrapped_index(index[t * v.length + i], v.extent[i], fault) * v.stride[i];
  return o;
}

template <class U>
ONNXRAY_KERNEL(void)
gather_nd_kernel(TupleView v, FaultSlot fault, const U* x, const std::int64_t* index, U* y) {
  for (std::int64_t i = first_item(); i < v.batches * v.per_batch * v.block; i += item_step()) {
    y[i] = x[tuple_offset(v, index, i / v.block, fault) + i % v.block];
  }
}

inline Step gather_nd(const PrepareCtx& c) {
  const auto v = tuple_view(c.dims(0), c.dims(1), c.attrs.integer("batch_dims", 0));
  if (!v) return {};
  const std::int64_t n = count_of(c.out_dims());
  if (n == 0) return no_work();
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() -> Step {
    return {[v = *v, n](const RunArgs& a) {
      launch(gather_nd_kernel<U>, grid_of(n), Dim3{kThreads}, 0, a.stream, v, fault_of(a),
             static_cast<const U*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<U*>(a.out[0]));
    }};
  });
}

// One thread for an element of the blocks of a batch, all tuples in their order.
template <class T, class Fold>
ONNXRAY_KERNEL(void)
scatter_nd_kernel(TupleView v, FaultSlot fault, const std::int64_t* index, const T* updates, T* y) {
  for (std::int64_t i = first_item(); i < v.batches * v.block; i += item_step()) {
    const std::int64_t batch = i / v.block, e = i % v.block;
    for (std::int64_t k = 0; k < v.per_batch; ++k) {
      const std::int64_t t = batch * v.per_batch + k;
      T& to = y[tuple_offset(v, index, t, fault) + e];
      to = Fold::f(to, updates[t * v.block + e]);
    }
  }
}

inline Step scatter_nd(const PrepareCtx& c) {
  const auto v = tuple_view(c.dims(0), c.dims(1), c.attrs.integer("batch_dims", 0));
  if (!v) return {};
  const std::int64_t total = count_of(c.out_dims());
  const bool none = count_of(c.dims(2)) == 0;
  return with_fold(c, [&]<class T, class Fold>() -> Step {
    return {[v = *v, total, none](const RunArgs& a) {
      copy_all<T>(a.in[0], a.out[0], total, a.stream);
      if (none) return;
      launch(scatter_nd_kernel<T, Fold>, grid_of(v.batches * v.block), Dim3{kThreads}, 0, a.stream, v, fault_of(a),
             static_cast<const std::int64_t*>(a.in[1]), static_cast<const T*>(a.in[2]), static_cast<T*>(a.out[0]));
    }};
  });
}

}  // namespace onnxray::cuda
