// The maximum of each window, its gradient, and the values where another pass had its maxima.
#include <limits>

#include "engine/ops/pool_taps.h"
#include "kernels/cpu/pool_walk.h"
#include "kernels/cpu/vectorise.h"

namespace onnxray::cpu {
namespace {

template <class T>
T lowest() {
  if constexpr (std::numeric_limits<T>::has_infinity) return -std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::lowest();
}

// Channels whose comparisons run side by side.
constexpr std::int64_t kRun = 64;

template <class T>
bool beats(T v, T best) {
  // The first of equal values stays; a NaN wins over all and stays.
  return (v > best) | ((v != v) & (best == best));
}

// best, index <- row, at wherever row wins.
template <class T, class Index>
void keep_better(const T* row, T* best, Index* index, Index at, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool better = beats(row[i], best[i]);
    best[i] = better ? row[i] : best[i];
    index[i] = better ? at : index[i];
  }
}
// Indices as wide as the elements: one comparison mask serves both.
ONNXRAY_CLONES void keep_better(const float* row, float* best, std::int32_t* index, std::int32_t at,
                                std::int64_t count) {
  ONNXRAY_INDEPENDENT
  for (std::int64_t i = 0; i < count; ++i) {
    const bool better = beats(row[i], best[i]);
    best[i] = better ? row[i] : best[i];
    index[i] = better ? at : index[i];
  }
}

template <class T, class Index = std::int64_t>
Step max_pool(const PrepareCtx& c) {
  const Pool p = pool_of(c, c.dims(0), c.out_dims());
  const std::int64_t unit = p.x.stride[2], cx = p.x.channel_stride, cy = p.y.channel_stride;
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    auto* arg = static_cast<std::int64_t*>(a.out[1]);
    for_pieces(p, volume(p.y.space),
               [&](std::int64_t n, std::int64_t c0, std::int64_t c1, std::int64_t p0, std::int64_t p1) {
                 const T* from = x + n * p.x.batch_stride;
                 for (std::int64_t o = p0; o < p1; ++o) {
                   const Box box = box_at(p, o);
                   const std::int64_t to = n * p.y.batch_stride + o * p.y.stride[2];
                   for (std::int64_t first = c0; first < c1; first += kRun) {
                     const std::int64_t count = std::min(kRun, c1 - first);
                     T best[kRun];
                     Index index[kRun];
                     std::fill(best, best + count, lowest<T>());
                     std::fill(index, index + count, Index{-1});
                     for_taps(p, box, [&](std::int64_t at) {
                       const T* row = from + at * unit + first * cx;
                       if (index[0] < 0) {
                         for (std::int64_t i = 0; i < count; ++i) best[i] = row[i * cx];
                         std::fill(index, index + count, static_cast<Index>(at));
                       } else if (cx == 1) {
                         keep_better(row, best, index, static_cast<Index>(at), count);
                       } else if (beats(row[0], best[0])) {  // planes come one channel at a time
                         best[0] = row[0];
                         index[0] = static_cast<Index>(at);
                       }
                     });
                     for (std::int64_t i = 0; i < count; ++i) {
                       if (y != nullptr) y[to + (first + i) * cy] = best[i];
                       if (arg != nullptr) arg[to + (first + i) * cy] = index[i];
                     }
                   }
                 }
               });
  }};
}

template <class T>
Step max_pool_grad(const PrepareCtx& c) {
  const Pool p = pool_of(c, c.out_dims(), c.dims(0));
  const std::int64_t in = volume(p.x.space), out = volume(p.y.space);
  return {[=](const RunArgs& a) {
    const T* dy = static_cast<const T*>(a.in[0]);
    const auto* arg = static_cast<const std::int64_t*>(a.in[1]);
    T* dx = static_cast<T*>(a.out[0]);
    // A piece owns whole planes of its channels, so scattered sums never race and keep their order.
    const std::int64_t run = p.channels_last ? 16 : 1;
    const std::int64_t runs = (p.channels + run - 1) / run;
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, run * (in + out)));
    parallel_for(p.batch * runs, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t n = i / runs, c0 = i % runs * run, c1 = std::min(p.channels, c0 + run);
        T* to = dx + n * p.x.batch_stride;
        const std::int64_t from = n * p.y.batch_stride;
        for (std::int64_t s = 0; s < in; ++s) {
          for (std::int64_t ch = c0; ch < c1; ++ch) to[s * p.x.stride[2] + ch * p.x.channel_stride] = 0;
        }
        for (std::int64_t o = 0; o < out; ++o) {
          for (std::int64_t ch = c0; ch < c1; ++ch) {
            const std::int64_t at = from + o * p.y.stride[2] + ch * p.y.channel_stride;
            const std::int64_t k = arg[at];
            if (k < 0) continue;
            ONNXRAY_CHECK(k < in, "max_pool_grad: index ", k, " is outside a plane of ", in);
            to[k * p.x.stride[2] + ch * p.x.channel_stride] += dy[at];
          }
        }
      }
    });
  }};
}

template <class T>
Step max_pool_pick(const PrepareCtx& c) {
  const Pool p = pool_of(c, c.dims(0), c.out_dims());
  const std::int64_t in = volume(p.x.space);
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    const auto* arg = static_cast<const std::int64_t*>(a.in[1]);
    T* y = static_cast<T*>(a.out[0]);
    for_pieces(p, volume(p.y.space),
               [&](std::int64_t n, std::int64_t c0, std::int64_t c1, std::int64_t p0, std::int64_t p1) {
                 for (std::int64_t o = p0; o < p1; ++o) {
                   for (std::int64_t ch = c0; ch < c1; ++ch) {
                     const std::int64_t at = n * p.y.batch_stride + o * p.y.stride[2] + ch * p.y.channel_stride;
                     const std::int64_t k = arg[at];
                     ONNXRAY_CHECK(k < in, "max_pool_pick: index ", k, " is outside a plane of ", in);
                     y[at] = k < 0 ? T{0} : x[n * p.x.batch_stride + k * p.x.stride[2] + ch * p.x.channel_stride];
                   }
                 }
               });
  }};
}

// body(flat element of y, window's box) for every element.
template <class F>
void for_elements(const Pool& p, const F& body) {
  for_pieces(p, volume(p.y.space),
             [&](std::int64_t n, std::int64_t c0, std::int64_t c1, std::int64_t p0, std::int64_t p1) {
               for (std::int64_t o = p0; o < p1; ++o) {
                 const Box box = box_at(p, o);
                 const std::int64_t at = n * p.y.batch_stride + o * p.y.stride[2];
                 for (std::int64_t ch = c0; ch < c1; ++ch) body(at + ch * p.y.channel_stride, box);
               }
             });
}

std::uint8_t tap_of(const Pool& p, const Box& box, std::int64_t position) {
  if (position < 0) return kNoTap;
  std::int64_t tap = 0, step = 1;
  for (std::size_t a = 3; a-- > 0;) {
    tap += (position % p.x.space[a] - box.start[a]) / p.window.dilation[a] * step;
    position /= p.x.space[a];
    step *= p.window.kernel[a];
  }
  return static_cast<std::uint8_t>(tap);
}

std::int64_t position_of(const Pool& p, const Box& box, std::int64_t tap) {
  if (tap == kNoTap) return -1;
  ONNXRAY_CHECK(tap < p.window.taps(), "max pooling: tap ", tap, " of a window of ", p.window.taps());
  std::int64_t position = 0, step = 1;
  bool inside = true;
  for (std::size_t a = 3; a-- > 0;) {
    const std::int64_t at = box.start[a] + tap % p.window.kernel[a] * p.window.dilation[a];
    inside = inside && at >= 0 && at < p.x.space[a];
    position += at * step;
    step *= p.x.space[a];
    tap /= p.window.kernel[a];
  }
  return inside ? position : -1;
}

// The step with positions in scratch memory for the argmax of taps: turned behind max_pool, in front of the others. The
// host computes these for devices only.
Step with_taps(const Pool& p, Step inner, bool forward) {
  const std::size_t first = (inner.scratch_bytes + 63) / 64 * 64;
  Step step;
  step.scratch_bytes =
      first + sizeof(std::int64_t) * static_cast<std::size_t>(p.batch * p.channels * volume(p.y.space));
  step.run = [p, inner = std::move(inner), forward, first](const RunArgs& a) {
    auto* positions = reinterpret_cast<std::int64_t*>(a.scratch + first);
    if (forward) {
      void* out[] = {a.out[0], positions};
      inner.run({a.in, out, a.scratch});
      auto* taps = static_cast<std::uint8_t*>(a.out[1]);
      if (taps == nullptr) return;
      for_elements(p, [&](std::int64_t at, const Box& box) { taps[at] = tap_of(p, box, positions[at]); });
    } else {
      const auto* taps = static_cast<const std::uint8_t*>(a.in[1]);
      for_elements(p, [&](std::int64_t at, const Box& box) { positions[at] = position_of(p, box, taps[at]); });
      const void* in[] = {a.in[0], positions};
      inner.run({in, a.out, a.scratch});
    }
  };
  return step;
}

Step max_pool_positions(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: {
      const Pool p = pool_of(c, c.dims(0), c.out_dims());
      return volume(p.x.space) <= INT32_MAX ? max_pool<float, std::int32_t>(c) : max_pool<float>(c);
    }
    case DType::f64: return max_pool<double>(c);
    case DType::i64: return max_pool<std::int64_t>(c);
    case DType::i32: return max_pool<std::int32_t>(c);
    case DType::i8: return max_pool<std::int8_t>(c);
    case DType::u8: return max_pool<std::uint8_t>(c);
    default: fail_unsupported("no max_pool in ", name_of(c.dtype(0)));
  }
}

Step max_pool_any(const PrepareCtx& c) {
  Step step = max_pool_positions(c);
  if (!gives_argmax_taps(c.attrs)) return step;
  return with_taps(pool_of(c, c.dims(0), c.out_dims()), std::move(step), true);
}

Step max_pool_grad_any(const PrepareCtx& c) {
  Step step = visit_float(c.dtype(0), [&]<class T>() { return max_pool_grad<T>(c); });
  if (c.dtype(1) != DType::u8) return step;
  return with_taps(pool_of(c, c.out_dims(), c.dims(0)), std::move(step), false);
}

Step max_pool_pick_any(const PrepareCtx& c) {
  Step step = visit_float(c.dtype(0), [&]<class T>() { return max_pool_pick<T>(c); });
  if (c.dtype(1) != DType::u8) return step;
  return with_taps(pool_of(c, c.dims(0), c.out_dims()), std::move(step), false);
}

}  // namespace

void register_max_pool(Backend& b) {
  b.add("max_pool", max_pool_any);
  b.add("max_pool_grad", max_pool_grad_any);
  b.add("max_pool_pick", max_pool_pick_any);
}

}  // namespace onnxray::cpu
