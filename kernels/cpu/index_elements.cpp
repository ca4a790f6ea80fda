// gather_elements, scatter_elements, gather_nd, scatter_nd.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/index.h"
#include "kernels/cpu/layout_copy.h"

namespace onnxray::cpu {
namespace {

// For each position of the indices (row-major) its offset in x, in elements, without the part along `axis`.
class ElementWalk {
 public:
  ElementWalk(const Dims& x, const Dims& index, std::int64_t axis)
      : index_(index), strides_(strides_of(x)), axis_(static_cast<std::size_t>(axis)), at_(index.size(), 0) {}
  void seek(std::int64_t position) {
    offset_ = 0;
    for (std::size_t d = index_.size(); d-- > 0;) {
      at_[d] = position % index_[d];
      position /= index_[d];
      if (d != axis_) offset_ += at_[d] * strides_[d];
    }
  }
  [[nodiscard]] std::int64_t offset() const { return offset_; }
  void next() {
    for (std::size_t d = index_.size(); d-- > 0;) {
      const std::int64_t stride = d == axis_ ? 0 : strides_[d];
      offset_ += stride;
      if (++at_[d] < index_[d]) return;
      offset_ -= stride * index_[d];
      at_[d] = 0;
    }
  }

 private:
  Dims index_, strides_;
  std::size_t axis_;
  Dims at_;
  std::int64_t offset_ = 0;
};

Step gather_elements(const PrepareCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0), n = count_of(c.out_dims());
  const std::int64_t extent = c.dims(0)[static_cast<std::size_t>(axis)];
  const std::int64_t stride = strides_of(c.dims(0))[static_cast<std::size_t>(axis)];
  const ElementWalk start(c.dims(0), c.dims(1), axis);
  const std::size_t size = size_of(c.dtype(0));
  return {[=](const RunArgs& a) {
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    visit_bytes(size, [&]<class U>() {
      const U* x = static_cast<const U*>(a.in[0]);
      U* y = static_cast<U*>(a.out[0]);
      parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
        ElementWalk w = start;
        w.seek(begin);
        for (std::int64_t i = begin; i < end; ++i, w.next()) {
          y[i] = x[w.offset() + wrapped_index(index[i], extent) * stride];
        }
      });
    });
  }};
}

struct Write {
  template <class T>
  static T f(T, T b) {
    return b;
  }
};
struct AddTo {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct MulBy {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a * b);
  }
};
// A NaN on either side stays.
struct MaxOf {
  template <class T>
  static T f(T a, T b) {
    return b > a || b != b ? b : a;
  }
};
struct MinOf {
  template <class T>
  static T f(T a, T b) {
    return b < a || b != b ? b : a;
  }
};

// Calls f.template operator()<T, Fold>() for the element type and the reduction; writing needs only the element size.
template <class F>
Step with_fold(const PrepareCtx& c, F&& f) {
  const std::string r = c.attrs.text("reduction", "none");
  if (r == "none")
    return visit_bytes(size_of(c.dtype(0)), [&]<class U>() { return f.template operator()<U, Write>(); });
  return visit_compute(c.dtype(0), [&]<class T>() {
    if (r == "add") return f.template operator()<T, AddTo>();
    if (r == "mul") return f.template operator()<T, MulBy>();
    if (r == "max") return f.template operator()<T, MaxOf>();
    return f.template operator()<T, MinOf>();
  });
}

// One after another: updates that meet are folded in their order.
template <class T, class Fold>
Step scatter_elements(const PrepareCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0), n = count_of(c.dims(1)), total = count_of(c.out_dims());
  const std::int64_t extent = c.dims(0)[static_cast<std::size_t>(axis)];
  const std::int64_t stride = strides_of(c.dims(0))[static_cast<std::size_t>(axis)];
  const ElementWalk start(c.dims(0), c.dims(1), axis);
  return {[=](const RunArgs& a) {
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    const T* updates = static_cast<const T*>(a.in[2]);
    T* y = static_cast<T*>(a.out[0]);
    std::memcpy(y, a.in[0], static_cast<std::size_t>(total) * sizeof(T));
    ElementWalk w = start;
    for (std::int64_t i = 0; i < n; ++i, w.next()) {
      T& to = y[w.offset() + wrapped_index(index[i], extent) * stride];
      to = Fold::f(to, updates[i]);
    }
  }};
}

// The tuples of indices [batches, per_batch, tuple] and the blocks of x that they name.
struct NdView {
  std::int64_t batches = 1, per_batch = 1, block = 1, batch_size = 1;  // sizes in elements of x
  Dims extents, strides;                                               // per entry of a tuple

  NdView(const Dims& x, const Dims& index, std::int64_t batch_dims) {
    const auto b = static_cast<std::size_t>(batch_dims), k = static_cast<std::size_t>(index.back());
    batches = product(x, 0, b);
    per_batch = product(index, b, index.size() - 1);
    batch_size = product(x, b, x.size());
    block = product(x, b + k, x.size());
    const Dims s = strides_of(x);
    for (std::size_t i = b; i < b + k; ++i) {
      extents.push_back(x[i]);
      strides.push_back(s[i]);
    }
  }
  [[nodiscard]] std::int64_t tuples() const { return batches * per_batch; }
  // Where tuple t's block begins in x.
  [[nodiscard]] std::int64_t offset(const std::int64_t* index, std::int64_t t) const {
    const auto k = static_cast<std::int64_t>(extents.size());
    std::int64_t o = t / per_batch * batch_size;
    for (std::int64_t i = 0; i < k; ++i) {
      const auto e = static_cast<std::size_t>(i);
      o += wrapped_index(index[t * k + i], extents[e]) * strides[e];
    }
    return o;
  }
};

Step gather_nd(const PrepareCtx& c) {
  const NdView v(c.dims(0), c.dims(1), c.attrs.integer("batch_dims", 0));
  const std::size_t size = size_of(c.dtype(0)), bytes = static_cast<std::size_t>(v.block) * size;
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  return {[=](const RunArgs& a) {
    const auto* x = static_cast<const std::byte*>(a.in[0]);
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    auto* y = static_cast<std::byte*>(a.out[0]);
    parallel_for(v.tuples(), std::max<std::int64_t>(1, kGrain / v.block), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        std::memcpy(y + static_cast<std::size_t>(t) * bytes, x + static_cast<std::size_t>(v.offset(index, t)) * size,
                    bytes);
      }
    });
  }};
}

template <class T, class Fold>
Step scatter_nd(const PrepareCtx& c) {
  const NdView v(c.dims(0), c.dims(1), c.attrs.integer("batch_dims", 0));
  const std::int64_t total = count_of(c.out_dims());
  const bool none = count_of(c.dims(2)) == 0;
  return {[=](const RunArgs& a) {
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    const T* updates = static_cast<const T*>(a.in[2]);
    T* y = static_cast<T*>(a.out[0]);
    std::memcpy(y, a.in[0], static_cast<std::size_t>(total) * sizeof(T));
    if (none) return;
    for (std::int64_t t = 0; t < v.tuples(); ++t) {
      T* to = y + v.offset(index, t);
      const T* from = updates + t * v.block;
      for (std::int64_t i = 0; i < v.block; ++i) to[i] = Fold::f(to[i], from[i]);
    }
  }};
}

}  // namespace

void register_index_elements(Backend& b) {
  b.add("gather_elements", gather_elements);
  b.add("scatter_elements", [](const PrepareCtx& c) {
    return with_fold(c, [&]<class T, class Fold>() { return scatter_elements<T, Fold>(c); });
  });
  b.add("gather_nd", gather_nd);
  b.add("scatter_nd", [](const PrepareCtx& c) {
    return with_fold(c, [&]<class T, class Fold>() { return scatter_nd<T, Fold>(c); });
  });
}

}  // namespace onnxray::cpu
