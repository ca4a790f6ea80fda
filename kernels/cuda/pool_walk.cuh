// Pooling in either layout. Forward and backward both gather: a thread owns neighbouring channels of one position of
// the result and takes its window, or the windows that cover it, in ascending order. Within one image 32 bits count.
#pragma once
#include <limits>

#include "engine/ops/conv_window.h"
#include "engine/ops/pool_taps.h"
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// [N, C, space] or [N, space, C] with element strides.
struct PoolSide {
  std::int32_t space[3] = {1, 1, 1};
  std::int32_t positions = 1, channel_stride = 0, unit = 0;  // unit: from one position to the next
  std::int64_t batch_stride = 0;
  Divider height, width;

  ONNXRAY_HD void coordinates(std::int32_t position, std::int32_t (&at)[3]) const {
    auto rest = static_cast<std::uint32_t>(position);
    at[2] = static_cast<std::int32_t>(width.take(rest));
    at[1] = static_cast<std::int32_t>(height.take(rest));
    at[0] = static_cast<std::int32_t>(rest);
  }
  ONNXRAY_HD std::int32_t flat(std::int32_t d, std::int32_t h, std::int32_t w) const {
    return (d * space[1] + h) * space[2] + w;
  }
  // Where channel c of image n begins.
  ONNXRAY_HD std::int64_t plane(std::int32_t n, std::int32_t c) const { return n * batch_stride + c * channel_stride; }
};
struct Pool {
  PoolSide x, y;
  std::int32_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, begin[3] = {}, end[3] = {};
  Divider by_stride[3], by_kernel[3];
  std::int64_t divisor = 0;
  bool has_window = false, include_pad = false, channels_last = false;
  std::int64_t count = 0;     // elements of the result
  std::int64_t channels = 0;  // of the result
  int width = 1;              // neighbouring channels to a thread
  Divider groups, positions;  // of channels, of the result

  // The group i of elements of the result as image, first channel, position.
  ONNXRAY_HD void split(std::int64_t i, std::int32_t& n, std::int32_t& c, std::int32_t& p) const {
    auto rest = static_cast<std::uint32_t>(i);
    std::uint32_t group = 0, position = 0;
    if (channels_last) {
      group = groups.take(rest);
      position = positions.take(rest);
    } else {
      position = positions.take(rest);
      group = groups.take(rest);
    }
    c = static_cast<std::int32_t>(group) * width;
    p = static_cast<std::int32_t>(position);
    n = static_cast<std::int32_t>(rest);
  }
};

[[nodiscard]] inline PoolSide pool_side(const Dims& dims, bool channels_last) {
  const SpatialDims d = spatial_dims(dims, channels_last);
  const Extents space = align3(d.space, 1);
  PoolSide s;
  for (std::size_t a = 0; a < 3; ++a) {
    s.space[a] = static_cast<std::int32_t>(space[a]);
    s.positions *= s.space[a];
  }
  s.batch_stride = d.channels * s.positions;
  s.channel_stride = channels_last ? 1 : s.positions;
  s.unit = channels_last ? static_cast<std::int32_t>(d.channels) : 1;
  if (s.positions > 0) {
    s.height = Divider(space[1]);
    s.width = Divider(space[2]);
  }
  return s;
}

// `result`: the dims of what the kernel writes. None: declined.
[[nodiscard]] inline std::optional<Pool> pool_of(const PrepareCtx& c, const Dims& x, const Dims& y,
                                                 const Dims& result) {
  Pool p;
  p.channels_last = is_channels_last(c.attrs);
  p.count = count_of(result);
  if (p.count >= kMaxElements) return std::nullopt;
  if (p.count == 0) return p;
  for (const Dims& d : {x, y}) {
    if (product(d, 1, d.size()) >= kMaxElements) return std::nullopt;
  }
  p.x = pool_side(x, p.channels_last);
  p.y = pool_side(y, p.channels_last);
  p.channels = spatial_dims(result, p.channels_last).channels;
  p.groups = Divider(p.channels);
  p.positions = Divider(result == x ? p.x.positions : p.y.positions);
  p.has_window = c.attrs.has("kernel");
  if (p.has_window) {
    // Padded extents and reaches add up within 32 bits.
    constexpr std::int64_t kMost = 1 << 28;
    const Window w = read_window(c.attrs, c.attrs.ints("kernel"));
    for (std::size_t a = 0; a < 3; ++a) {
      if (w.reach(a) > kMost || w.stride[a] > kMost || w.begin[a] > kMost || w.end[a] > kMost || p.x.space[a] > kMost ||
          p.y.space[a] > kMost) {
        return std::nullopt;
      }
      p.kernel[a] = static_cast<std::int32_t>(w.kernel[a]);
      p.stride[a] = static_cast<std::int32_t>(w.stride[a]);
      p.dilation[a] = static_cast<std::int32_t>(w.dilation[a]);
      p.begin[a] = static_cast<std::int32_t>(w.begin[a]);
      p.end[a] = static_cast<std::int32_t>(w.end[a]);
      p.by_stride[a] = Divider(w.stride[a]);
      p.by_kernel[a] = Divider(w.kernel[a]);
    }
  }
  p.include_pad = c.attrs.integer("count_include_pad", 0) != 0;
  p.divisor = c.attrs.integer("divisor", 0);
  return p;
}

// The same with `width` channels to a thread where they lie side by side; else one.
[[nodiscard]] inline Pool widened(Pool p, int width) {
  if (!p.channels_last || p.channels % width != 0) return p;
  p.width = width;
  p.groups = Divider(p.channels / width);
  return p;
}

// body(flat position in x, tap) for every tap of window `o` inside x, in ascending order.
template <class F>
ONNXRAY_DEVICE void for_taps(const Pool& p, std::int32_t o, F&& body) {
  std::int32_t at[3];
  p.y.coordinates(o, at);
  for (int a = 0; a < 3; ++a) at[a] = at[a] * p.stride[a] - p.begin[a];
  for (std::int32_t i = 0; i < p.kernel[0]; ++i) {
    const std::int32_t d = at[0] + i * p.dilation[0];
    if (d < 0 || d >= p.x.space[0]) continue;
    for (std::int32_t j = 0; j < p.kernel[1]; ++j) {
      const std::int32_t h = at[1] + j * p.dilation[1];
      if (h < 0 || h >= p.x.space[1]) continue;
      for (std::int32_t k = 0; k < p.kernel[2]; ++k) {
        const std::int32_t w = at[2] + k * p.dilation[2];
        if (w >= 0 && w < p.x.space[2]) body(p.x.flat(d, h, w), (i * p.kernel[1] + j) * p.kernel[2] + k);
      }
    }
  }
}

// What the mean of the window at `at` divides by.
ONNXRAY_HD std::int64_t window_count(const Pool& p, const std::int32_t (&at)[3]) {
  if (p.divisor > 0) return p.divisor;
  std::int64_t count = 1;
  for (int a = 2; a >= 0; --a) {
    const std::int32_t start = at[a] * p.stride[a] - p.begin[a];
    const std::int32_t low = p.include_pad ? -p.begin[a] : 0;
    const std::int32_t high = p.x.space[a] + (p.include_pad ? p.end[a] : 0);
    std::int32_t inside = 0;
    for (std::int32_t t = 0; t < p.kernel[a]; ++t) {
      const std::int32_t tap = start + t * p.dilation[a];
      inside += tap >= low && tap < high;
    }
    count *= inside;
  }
  return count;
}

// body(window's coordinates) for every window that may cover position `s` of x, in ascending order. Holes of dilated
// windows count too.
template <class F>
ONNXRAY_DEVICE void for_windows(const Pool& p, std::int32_t s, F&& body) {
  std::int32_t at[3], lo[3], hi[3], o[3];
  p.x.coordinates(s, at);
  for (int a = 0; a < 3; ++a) {
    const std::int32_t padded = at[a] + p.begin[a], reach = (p.kernel[a] - 1) * p.dilation[a];
    const auto divide = [&](std::int32_t n) {
      return static_cast<std::int32_t>(p.by_stride[a].divide(static_cast<std::uint32_t>(n)));
    };
    lo[a] = padded > reach ? divide(padded - reach + p.stride[a] - 1) : 0;
    const std::int32_t last = divide(padded);
    hi[a] = last < p.y.space[a] ? last : p.y.space[a] - 1;
  }
  for (o[0] = lo[0]; o[0] <= hi[0]; ++o[0]) {
    for (o[1] = lo[1]; o[1] <= hi[1]; ++o[1]) {
      for (o[2] = lo[2]; o[2] <= hi[2]; ++o[2]) body(o);
    }
  }
}

// Whether the window at `o`, which reaches over position `s`, has a tap there.
ONNXRAY_HD bool covers(const Pool& p, const std::int32_t (&o)[3], std::int32_t s) {
  std::int32_t at[3];
  p.x.coordinates(s, at);
  for (int a = 0; a < 3; ++a) {
    if (p.dilation[a] != 1 && (at[a] + p.begin[a] - o[a] * p.stride[a]) % p.dilation[a] != 0) return false;
  }
  return true;
}

template <class T, int W>
ONNXRAY_DEVICE Pack<T, W> load_pack(const T* x) {
  return *reinterpret_cast<const Pack<T, W>*>(x);
}
template <class T, int W>
ONNXRAY_DEVICE void store_pack(T* y, const T (&v)[W]) {
  Pack<T, W> p;
  for (int k = 0; k < W; ++k) p.v[k] = v[k];
  *reinterpret_cast<Pack<T, W>*>(y) = p;
}

// The flat position in x of a tap of the window at `o`; -1 for none and outside of x.
ONNXRAY_DEVICE std::int32_t tap_position(const Pool& p, const std::int32_t (&o)[3], std::int64_t tap) {
  auto rest = static_cast<std::uint32_t>(tap);
  std::int32_t at[3];
  for (int a = 2; a >= 0; --a) {
    const auto k = static_cast<std::int32_t>(a == 0 ? rest : p.by_kernel[a].take(rest));
    at[a] = o[a] * p.stride[a] - p.begin[a] + k * p.dilation[a];
    if (at[a] < 0 || at[a] >= p.x.space[a]) return -1;
  }
  return tap == kNoTap ? -1 : p.x.flat(at[0], at[1], at[2]);
}

// An argmax is a position (int64) or a tap (uint8, engine/ops/pool_taps.h).
template <class Arg>
inline constexpr bool kTaps = std::is_same_v<Arg, std::uint8_t>;

// W argmaxes side by side: 16 bytes at a time.
template <int W>
ONNXRAY_DEVICE void load_arg(const std::uint8_t* arg, std::int64_t (&at)[W]) {
  const auto part = load_pack<std::uint8_t, W>(arg);
  for (int k = 0; k < W; ++k) at[k] = part.v[k];
}
template <int W>
ONNXRAY_DEVICE void store_arg(std::uint8_t* arg, const std::int32_t (&at)[W]) {
  std::uint8_t part[W];
  for (int k = 0; k < W; ++k) part[k] = static_cast<std::uint8_t>(at[k] < 0 ? kNoTap : at[k]);
  store_pack<std::uint8_t, W>(arg, part);
}
template <int W>
ONNXRAY_DEVICE void load_arg(const std::int64_t* arg, std::int64_t (&at)[W]) {
  constexpr int V = W == 1 ? 1 : 2;
  for (int k = 0; k < W; k += V) {
    const auto part = load_pack<std::int64_t, V>(arg + k);
    for (int e = 0; e < V; ++e) at[k + e] = part.v[e];
  }
}
template <int W>
ONNXRAY_DEVICE void store_arg(std::int64_t* arg, const std::int32_t (&at)[W]) {
  constexpr int V = W == 1 ? 1 : 2;
  for (int k = 0; k < W; k += V) {
    std::int64_t part[V];
    for (int e = 0; e < V; ++e) part[e] = at[k + e];
    store_pack<std::int64_t, V>(arg + k, part);
  }
}

// The running maximum of W channels and its position.
template <class T, int W>
struct Winner {
  T best[W];
  std::int32_t at[W];

  ONNXRAY_DEVICE explicit Winner(T lowest) {
    for (int k = 0; k < W; ++k) best[k] = lowest, at[k] = -1;
  }
  // The first of equal values stays; a NaN wins over all and stays.
  ONNXRAY_DEVICE void offer(const Pack<T, W>& v, std::int32_t position) {
    for (int k = 0; k < W; ++k) {
      if (at[k] < 0 || (!(v.v[k] <= best[k]) && best[k] == best[k])) best[k] = v.v[k], at[k] = position;
    }
  }
};

// The window's taps as positions. Taps that no window has are reported.
template <int W>
ONNXRAY_DEVICE void taps_to_positions(const Pool& p, const std::int32_t (&o)[3], FaultSlot fault,
                                      std::int64_t (&at)[W]) {
  const std::int32_t taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  for (int k = 0; k < W; ++k) {
    if (at[k] >= taps && at[k] != kNoTap) report(fault, at[k]);
    at[k] = at[k] < taps ? tap_position(p, o, at[k]) : -1;
  }
}

template <class T, int W, class Arg>
ONNXRAY_KERNEL(void)
max_pool_kernel(Pool p, T lowest, const T* x, T* y, Arg* arg) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, o;
    p.split(i, n, c, o);
    const T* from = x + p.x.plane(n, c);
    Winner<T, W> winner(lowest);
    for_taps(p, o, [&](std::int32_t s, std::int32_t tap) {
      winner.offer(load_pack<T, W>(from + s * p.x.unit), kTaps<Arg> ? tap : s);
    });
    if (y != nullptr) store_pack<T, W>(y + i * W, winner.best);
    if (arg != nullptr) store_arg<W>(arg + i * W, winner.at);
  }
}

template <class T, int W>
ONNXRAY_KERNEL(void)
avg_pool_kernel(Pool p, const T* x, T* y) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, o, at[3];
    p.split(i, n, c, o);
    p.y.coordinates(o, at);
    const T* from = x + p.x.plane(n, c);
    const std::int64_t count = window_count(p, at);
    T sum[W] = {};
    if (count > 0) {
      for_taps(p, o, [&](std::int32_t s, std::int32_t) {
        const auto v = load_pack<T, W>(from + s * p.x.unit);
        for (int k = 0; k < W; ++k) sum[k] += v.v[k];
      });
      for (int k = 0; k < W; ++k) sum[k] = sum[k] / static_cast<T>(count);
    }
    store_pack<T, W>(y + i * W, sum);
  }
}

template <class T, int W>
ONNXRAY_KERNEL(void)
avg_pool_grad_kernel(Pool p, const T* dy, T* dx) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, s;
    p.split(i, n, c, s);
    const T* from = dy + p.y.plane(n, c);
    T sum[W] = {};
    for_windows(p, s, [&](const std::int32_t(&o)[3]) {
      const std::int64_t count = covers(p, o, s) ? window_count(p, o) : 0;
      if (count <= 0) return;
      const auto v = load_pack<T, W>(from + p.y.flat(o[0], o[1], o[2]) * p.y.unit);
      for (int k = 0; k < W; ++k) sum[k] += v.v[k] / static_cast<T>(count);
    });
    store_pack<T, W>(dx + i * W, sum);
  }
}

// kWindow: only the windows that cover an element are asked, else all of its plane.
template <class T, int W, bool kWindow, class Arg>
ONNXRAY_KERNEL(void)
max_pool_grad_kernel(Pool p, FaultSlot fault, const T* dy, const Arg* arg, T* dx) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, s;
    p.split(i, n, c, s);
    const std::int64_t base = p.y.plane(n, c);
    T sum[W] = {};
    const auto add = [&](std::int32_t o, const std::int32_t(&window)[3]) {
      std::int64_t at[W];
      load_arg<W>(arg + base + o * p.y.unit, at);
      if constexpr (kTaps<Arg>) taps_to_positions(p, window, fault, at);
      const auto v = load_pack<T, W>(dy + base + o * p.y.unit);
      for (int k = 0; k < W; ++k) {
        if (at[k] >= p.x.positions) report(fault, at[k]);
        if (at[k] == s) sum[k] += v.v[k];
      }
    };
    if constexpr (kWindow) {
      for_windows(p, s, [&](const std::int32_t(&o)[3]) { add(p.y.flat(o[0], o[1], o[2]), o); });
    } else {
      for (std::int32_t o = 0; o < p.y.positions; ++o) add(o, {});
    }
    store_pack<T, W>(dx + i * W, sum);
  }
}

template <class T, int W, class Arg>
ONNXRAY_KERNEL(void)
max_pool_pick_kernel(Pool p, FaultSlot fault, const T* x, const Arg* arg, T* y) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, o;
    p.split(i, n, c, o);
    const T* from = x + p.x.plane(n, c);
    std::int64_t at[W];
    load_arg<W>(arg + i * W, at);
    if constexpr (kTaps<Arg>) {
      std::int32_t window[3];
      p.y.coordinates(o, window);
      taps_to_positions(p, window, fault, at);
    }
    T v[W];
    for (int k = 0; k < W; ++k) {
      if (at[k] >= p.x.positions) report(fault, at[k]);
      const bool inside = at[k] >= 0 && at[k] < p.x.positions;
      v[k] = inside ? from[k * p.x.channel_stride + static_cast<std::int32_t>(at[k]) * p.x.unit] : T(0);
    }
    store_pack<T, W>(y + i * W, v);
  }
}

}  // namespace onnxray::cuda
