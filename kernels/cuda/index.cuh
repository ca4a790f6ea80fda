// gather, index_add, gather_elements, scatter_elements, gather_nd, scatter_nd, top_k, resample. Where indices may meet,
// one thread takes all updates of an element in their order.
#pragma once
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// x as [outer, extent, block] around `axis`, and the number of indices.
struct GatherView {
  std::int64_t outer = 1, extent = 1, block = 1, count = 1;
};
[[nodiscard]] inline GatherView gather_view(const Dims& x, const Dims& index, std::int64_t axis) {
  const auto a = static_cast<std::size_t>(axis);
  return {product(x, 0, a), x[a], product(x, a + 1, x.size()), count_of(index)};
}

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

template <class F>
Step with_index_number(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    default: return {};
  }
}

inline Step index_add(const PrepareCtx& c) {
  GatherView v = gather_view(c.out_dims(), c.dims(1), c.attrs.integer("axis", 0));
  if (count_of(c.dims(0)) == 0) v.count = 0;
  if (count_of(c.out_dims()) == 0) return no_work();
  return with_index_number(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(index_add_kernel<T>, grid_of(v.outer * v.block), Dim3{kThreads}, 0, a.stream, v, fault_of(a),
             static_cast<const T*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<T*>(a.out[0]));
    }};
  });
}

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
  return with_index_number(c.dtype(0), [&]<class T>() -> Step {
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
  const auto with_type = [&](auto&& f) -> Step {
    if (c.dtype(0) == DType::i8) return f.template operator()<std::int8_t>();
    if (c.dtype(0) == DType::u8 || c.dtype(0) == DType::boolean) return f.template operator()<std::uint8_t>();
    return with_index_number(c.dtype(0), f);
  };
  return with_type([&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(top_k_kernel<T>, grid_of(lines), Dim3{kThreads}, 0, a.stream, lines, n, inner, k, largest,
             static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]), static_cast<std::int64_t*>(a.out[1]));
    }};
  });
}

// A sparse matrix along one axis: y[o, k, e] = sum over j in [offsets[k], offsets[k + 1]) of weight[j] x[o, index[j],
// e].
template <class T>
ONNXRAY_KERNEL(void)
resample_kernel(std::int64_t n, std::int64_t nx, Divider ny, Divider inner, const std::int64_t* offsets,
                const std::int64_t* index, const T* weight, const T* x, T* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::int64_t e = inner.take(rest), k = ny.take(rest);
    const T* from = x + rest * nx * std::int64_t{inner.divisor} + e;
    T sum = T(0);
    for (std::int64_t j = offsets[k]; j < offsets[k + 1]; ++j) sum += weight[j] * from[index[j] * inner.divisor];
    y[i] = sum;
  }
}

template <class T>
Step resample_of(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims &x = c.dims(0), &y = c.out_dims();
  const std::int64_t n = count_of(y), nx = x[axis];
  if (n >= kMaxElements) return {};
  if (n == 0) return no_work();
  const Tensor offsets = c.attrs.tensor("offsets"), index = c.attrs.tensor("index"), weight = c.attrs.tensor("weight");
  const auto o = offsets.data<std::int64_t>(), i = index.data<std::int64_t>();
  const auto w = weight.data<double>();
  // A zero weight skips its source, so that an infinity there does not become NaN.
  std::vector<std::int64_t> first{0}, source;
  std::vector<T> factor;
  for (std::size_t row = 0; row + 1 < o.size(); ++row) {
    for (auto j = static_cast<std::size_t>(o[row]); j < static_cast<std::size_t>(o[row + 1]); ++j) {
      if (w[j] == 0) continue;
      source.push_back(i[j]);
      factor.push_back(static_cast<T>(w[j]));
    }
    first.push_back(static_cast<std::int64_t>(source.size()));
  }
  const auto offset_table = device_table(c, first), index_table = device_table(c, source);
  const auto weight_table = device_table(c, factor);
  const Divider ny(y[axis]), inner(product(x, axis + 1, x.size()));
  return {[=](const RunArgs& a) {
    launch(resample_kernel<T>, grid_of(n), Dim3{kThreads}, 0, a.stream, n, nx, ny, inner, offset_table.get(),
           index_table.get(), weight_table.get(), static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]));
  }};
}
inline Step resample(const PrepareCtx& c) {
  return visit_float(c.dtype(0), [&]<class T>() { return resample_of<T>(c); });
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
