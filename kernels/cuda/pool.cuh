// Pooling in either layout. Forward and backward both gather: a thread owns one element of the result and takes its
// window, or the windows that cover it, in ascending order.
#pragma once
#include <limits>

#include "engine/ops/conv_window.h"
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// [N, C, space] or [N, space, C] with element strides.
struct PoolSide {
  std::int64_t space[3] = {1, 1, 1};
  std::int64_t batch_stride = 0, channel_stride = 0, unit = 0;  // unit: from one position to the next
  std::int64_t positions = 1;
};
struct Pool {
  PoolSide x, y;
  std::int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, begin[3] = {}, end[3] = {};
  std::int64_t divisor = 0;
  bool has_window = false, include_pad = false, channels_last = false;
  std::int64_t count = 0;  // elements of the result
  Divider channels, positions;

  // The element i of the result as batch row, channel, position.
  ONNXRAY_HD void split(std::int64_t i, std::int64_t& n, std::int64_t& c, std::int64_t& p) const {
    auto rest = static_cast<std::uint32_t>(i);
    if (channels_last) {
      c = channels.take(rest);
      p = positions.take(rest);
    } else {
      p = positions.take(rest);
      c = channels.take(rest);
    }
    n = rest;
  }
};

[[nodiscard]] inline PoolSide pool_side(const Dims& dims, bool channels_last) {
  const SpatialDims d = spatial_dims(dims, channels_last);
  const Extents space = align3(d.space, 1);
  PoolSide s;
  for (std::size_t a = 0; a < 3; ++a) {
    s.space[a] = space[a];
    s.positions *= space[a];
  }
  s.batch_stride = d.channels * s.positions;
  s.channel_stride = channels_last ? 1 : s.positions;
  s.unit = channels_last ? d.channels : 1;
  return s;
}

// `result`: the dims of what the kernel writes. None: declined.
[[nodiscard]] inline std::optional<Pool> pool_of(const PrepareCtx& c, const Dims& x, const Dims& y,
                                                 const Dims& result) {
  Pool p;
  p.channels_last = is_channels_last(c.attrs);
  p.x = pool_side(x, p.channels_last);
  p.y = pool_side(y, p.channels_last);
  p.count = count_of(result);
  if (p.count >= kMaxElements) return std::nullopt;
  if (p.count > 0) {
    p.channels = Divider(spatial_dims(result, p.channels_last).channels);
    p.positions = Divider(result == x ? p.x.positions : p.y.positions);
  }
  p.has_window = c.attrs.has("kernel");
  if (p.has_window) {
    const Window w = read_window(c.attrs, c.attrs.ints("kernel"));
    for (std::size_t a = 0; a < 3; ++a) {
      p.kernel[a] = w.kernel[a];
      p.stride[a] = w.stride[a];
      p.dilation[a] = w.dilation[a];
      p.begin[a] = w.begin[a];
      p.end[a] = w.end[a];
    }
  }
  p.include_pad = c.attrs.integer("count_include_pad", 0) != 0;
  p.divisor = c.attrs.integer("divisor", 0);
  return p;
}

// body(flat position in x) for every tap of window `o` inside x, in ascending order.
template <class F>
ONNXRAY_DEVICE void for_taps(const Pool& p, std::int64_t o, F&& body) {
  const std::int64_t w0 = o % p.y.space[2] * p.stride[2] - p.begin[2];
  const std::int64_t h0 = o / p.y.space[2] % p.y.space[1] * p.stride[1] - p.begin[1];
  const std::int64_t d0 = o / p.y.space[2] / p.y.space[1] * p.stride[0] - p.begin[0];
  for (std::int64_t i = 0; i < p.kernel[0]; ++i) {
    const std::int64_t d = d0 + i * p.dilation[0];
    if (d < 0 || d >= p.x.space[0]) continue;
    for (std::int64_t j = 0; j < p.kernel[1]; ++j) {
      const std::int64_t h = h0 + j * p.dilation[1];
      if (h < 0 || h >= p.x.space[1]) continue;
      for (std::int64_t k = 0; k < p.kernel[2]; ++k) {
        const std::int64_t w = w0 + k * p.dilation[2];
        if (w >= 0 && w < p.x.space[2]) body((d * p.x.space[1] + h) * p.x.space[2] + w);
      }
    }
  }
}

// What the mean of window `o` divides by.
ONNXRAY_HD std::int64_t window_count(const Pool& p, std::int64_t o) {
  if (p.divisor > 0) return p.divisor;
  std::int64_t count = 1;
  for (int a = 2; a >= 0; --a) {
    const std::int64_t start = o % p.y.space[a] * p.stride[a] - p.begin[a];
    o /= p.y.space[a];
    const std::int64_t low = p.include_pad ? -p.begin[a] : 0;
    const std::int64_t high = p.x.space[a] + (p.include_pad ? p.end[a] : 0);
    std::int64_t inside = 0;
    for (std::int64_t t = 0; t < p.kernel[a]; ++t) {
      const std::int64_t at = start + t * p.dilation[a];
      inside += at >= low && at < high;
    }
    count *= inside;
  }
  return count;
}

// body(window) for every window that may cover position `s` of x, in ascending order. Holes of dilated windows count
// too.
template <class F>
ONNXRAY_DEVICE void for_windows(const Pool& p, std::int64_t s, F&& body) {
  std::int64_t lo[3], hi[3];
  for (int a = 2; a >= 0; --a) {
    const std::int64_t at = s % p.x.space[a] + p.begin[a];
    s /= p.x.space[a];
    const std::int64_t reach = (p.kernel[a] - 1) * p.dilation[a];
    lo[a] = at > reach ? (at - reach + p.stride[a] - 1) / p.stride[a] : 0;
    hi[a] = at / p.stride[a] < p.y.space[a] ? at / p.stride[a] : p.y.space[a] - 1;
  }
  for (std::int64_t d = lo[0]; d <= hi[0]; ++d) {
    for (std::int64_t h = lo[1]; h <= hi[1]; ++h) {
      for (std::int64_t w = lo[2]; w <= hi[2]; ++w) body((d * p.y.space[1] + h) * p.y.space[2] + w);
    }
  }
}

// Whether window `o` has a tap at position `s`.
ONNXRAY_HD bool covers(const Pool& p, std::int64_t o, std::int64_t s) {
  for (int a = 2; a >= 0; --a) {
    const std::int64_t off = s % p.x.space[a] + p.begin[a] - o % p.y.space[a] * p.stride[a];
    if (off < 0 || off % p.dilation[a] != 0 || off / p.dilation[a] >= p.kernel[a]) return false;
    s /= p.x.space[a];
    o /= p.y.space[a];
  }
  return true;
}

template <class T>
ONNXRAY_KERNEL(void)
max_pool_kernel(Pool p, T lowest, const T* x, T* y, std::int64_t* arg) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    std::int64_t n, c, o;
    p.split(i, n, c, o);
    const T* from = x + n * p.x.batch_stride + c * p.x.channel_stride;
    T best = lowest;
    std::int64_t at = -1;
    for_taps(p, o, [&](std::int64_t s) {
      const T v = from[s * p.x.unit];
      // The first of equal values stays; a NaN wins over all and stays.
      if (at < 0 || v > best || (v != v && best == best)) {
        best = v;
        at = s;
      }
    });
    if (y != nullptr) y[i] = best;
    if (arg != nullptr) arg[i] = at;
  }
}

template <class T>
ONNXRAY_KERNEL(void)
avg_pool_kernel(Pool p, const T* x, T* y) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    std::int64_t n, c, o;
    p.split(i, n, c, o);
    const T* from = x + n * p.x.batch_stride + c * p.x.channel_stride;
    const std::int64_t count = window_count(p, o);
    T sum = T(0);
    if (count > 0) for_taps(p, o, [&](std::int64_t s) { sum += from[s * p.x.unit]; });
    y[i] = count > 0 ? sum / static_cast<T>(count) : T(0);
  }
}

template <class T>
ONNXRAY_KERNEL(void)
avg_pool_grad_kernel(Pool p, const T* dy, T* dx) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    std::int64_t n, c, s;
    p.split(i, n, c, s);
    const T* from = dy + n * p.y.batch_stride + c * p.y.channel_stride;
    T sum = T(0);
    for_windows(p, s, [&](std::int64_t o) {
      const std::int64_t count = covers(p, o, s) ? window_count(p, o) : 0;
      if (count > 0) sum += from[o * p.y.unit] / static_cast<T>(count);
    });
    dx[i] = sum;
  }
}

// kWindow: only the windows that cover an element are asked, else all of its plane.
template <class T, bool kWindow>
ONNXRAY_KERNEL(void)
max_pool_grad_kernel(Pool p, FaultSlot fault, const T* dy, const std::int64_t* arg, T* dx) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    std::int64_t n, c, s;
    p.split(i, n, c, s);
    const std::int64_t base = n * p.y.batch_stride + c * p.y.channel_stride;
    T sum = T(0);
    const auto add = [&](std::int64_t o) {
      const std::int64_t at = base + o * p.y.unit;
      if (arg[at] >= p.x.positions) report(fault, arg[at]);
      if (arg[at] == s) sum += dy[at];
    };
    if constexpr (kWindow) {
      for_windows(p, s, add);
    } else {
      for (std::int64_t o = 0; o < p.y.positions; ++o) add(o);
    }
    dx[i] = sum;
  }
}

template <class T>
ONNXRAY_KERNEL(void)
max_pool_pick_kernel(Pool p, FaultSlot fault, const T* x, const std::int64_t* arg, T* y) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    std::int64_t n, c, o;
    p.split(i, n, c, o);
    const std::int64_t k = arg[i];
    if (k >= p.x.positions) report(fault, k);
    const bool inside = k >= 0 && k < p.x.positions;
    y[i] = inside ? x[n * p.x.batch_stride + c * p.x.channel_stride + k * p.x.unit] : T(0);
  }
}

template <class T>
Step max_pool_of(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  T lowest = std::numeric_limits<T>::lowest();
  if constexpr (std::numeric_limits<T>::has_infinity) lowest = -std::numeric_limits<T>::infinity();
  return {[p = *p, lowest](const RunArgs& a) {
    launch(max_pool_kernel<T>, grid_of(p.count), Dim3{kThreads}, 0, a.stream, p, lowest, static_cast<const T*>(a.in[0]),
           static_cast<T*>(a.out[0]), static_cast<std::int64_t*>(a.out[1]));
  }};
}
inline Step max_pool(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return max_pool_of<float>(c);
    case DType::f64: return max_pool_of<double>(c);
    case DType::i64: return max_pool_of<std::int64_t>(c);
    case DType::i32: return max_pool_of<std::int32_t>(c);
    case DType::i8: return max_pool_of<std::int8_t>(c);
    case DType::u8: return max_pool_of<std::uint8_t>(c);
    default: return {};
  }
}

inline Step max_pool_grad(const PrepareCtx& c) {
  const auto p = pool_of(c, c.out_dims(), c.dims(0), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      launch(p.has_window ? max_pool_grad_kernel<T, true> : max_pool_grad_kernel<T, false>, grid_of(p.count),
             Dim3{kThreads}, 0, a.stream, p, fault_of(a), static_cast<const T*>(a.in[0]),
             static_cast<const std::int64_t*>(a.in[1]), static_cast<T*>(a.out[0]));
    }};
  });
}

inline Step max_pool_pick(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      launch(max_pool_pick_kernel<T>, grid_of(p.count), Dim3{kThreads}, 0, a.stream, p, fault_of(a),
             static_cast<const T*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<T*>(a.out[0]));
    }};
  });
}

inline Step avg_pool(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      launch(avg_pool_kernel<T>, grid_of(p.count), Dim3{kThreads}, 0, a.stream, p, static_cast<const T*>(a.in[0]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

inline Step avg_pool_grad(const PrepareCtx& c) {
  const auto p = pool_of(c, c.out_dims(), c.dims(0), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      launch(avg_pool_grad_kernel<T>, grid_of(p.count), Dim3{kThreads}, 0, a.stream, p, static_cast<const T*>(a.in[0]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

void register_pool(Backend& b) {
  b.add("max_pool", max_pool);
  b.add("max_pool_grad", max_pool_grad);
  b.add("max_pool_pick", max_pool_pick);
  b.add("avg_pool", avg_pool);
  b.add("avg_pool_grad", avg_pool_grad);
}

}  // namespace onnxray::cuda
