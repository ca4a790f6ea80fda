// softmax, log_softmax and their gradient along one axis. A contiguous axis is handled line by line; other axes in
// tiles of neighbouring lines, element after element, so that every pass runs over contiguous memory.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/elementwise_loops.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/reduce_run.h"
#include "kernels/vector_math.h"

namespace onnxray::cpu {
namespace {

constexpr std::int64_t kTile = 64;    // lines of a tile
constexpr std::int64_t kChunk = 256;  // elements whose exponentials are held at once

void exp_each(const double* x, double* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = std::exp(x[i]);
}
ONNXRAY_CLONES void exp_each(const float* x, float* y, std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = vmath::exp(x[i]);
}

struct Axis {
  std::int64_t outer, extent, inner;
  Axis(const Dims& d, std::int64_t a)
      : outer(product(d, 0, static_cast<std::size_t>(a))),
        extent(d[static_cast<std::size_t>(a)]),
        inner(product(d, static_cast<std::size_t>(a) + 1, d.size())) {}
};

// Calls line(offset) for every contiguous line, or tile(offset, width) for every tile of lines with stride `inner`.
template <class Line, class Tile>
void for_each_line(const Axis& ax, Line line, Tile tile) {
  if (ax.extent == 0 || ax.inner == 0) return;
  if (ax.inner == 1) {
    parallel_for(ax.outer, std::max<std::int64_t>(1, kGrain / ax.extent), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o) line(o * ax.extent);
    });
    return;
  }
  const std::int64_t tiles = (ax.inner + kTile - 1) / kTile;
  parallel_for(ax.outer * tiles, std::max<std::int64_t>(1, kGrain / (ax.extent * std::min(kTile, ax.inner))),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t) {
                   const std::int64_t column = t % tiles * kTile;
                   tile(t / tiles * ax.extent * ax.inner + column, std::min(kTile, ax.inner - column));
                 }
               });
}

// A line of nothing but -infinity is NaN, or zeros where the attribute `masked` says that -infinity means "not
// allowed".
template <class T>
T shift_of(T maximum, bool masked) {
  return masked && maximum == Max::start<T>() ? T(0) : maximum;
}
template <class T>
T scale_of(T sum, bool masked) {
  return masked && sum == T(0) ? T(0) : 1 / sum;
}

template <class T>
void softmax_line(const T* x, T* y, std::int64_t n, bool masked) {
  const T m = shift_of(reduce_run<Max, T>(x, n, Max::start<T>()), masked);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] - m;
  exp_each(y, y, n);
  const T scale = scale_of(reduce_run<Sum, T>(y, n, T(0)), masked);
  for (std::int64_t i = 0; i < n; ++i) y[i] *= scale;
}

template <class T>
void log_softmax_line(const T* x, T* y, std::int64_t n) {
  const T m = reduce_run<Max, T>(x, n, Max::start<T>());
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] - m;
  T sum = 0, e[kChunk];
  for (std::int64_t i = 0; i < n; i += kChunk) {
    const std::int64_t k = std::min(kChunk, n - i);
    exp_each(y + i, e, k);
    sum += reduce_run<Sum, T>(e, k, T(0));
  }
  const T log_sum = std::log(sum);
  for (std::int64_t i = 0; i < n; ++i) y[i] -= log_sum;
}

template <class T, bool kLog>
void softmax_tile(const T* x, T* y, std::int64_t n, std::int64_t stride, std::int64_t width, bool masked) {
  T m[kTile], sum[kTile], e[kTile];
  std::fill_n(m, width, Max::start<T>());
  std::fill_n(sum, width, T(0));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < width; ++k) m[k] = Max::f(m[k], x[i * stride + k]);
  }
  for (std::int64_t k = 0; k < width; ++k) m[k] = shift_of(m[k], masked);
  for (std::int64_t i = 0; i < n; ++i) {
    T* row = y + i * stride;
    for (std::int64_t k = 0; k < width; ++k) row[k] = x[i * stride + k] - m[k];
    T* exps = kLog ? e : row;
    exp_each(row, exps, width);
    for (std::int64_t k = 0; k < width; ++k) sum[k] += exps[k];
  }
  for (std::int64_t k = 0; k < width; ++k) sum[k] = kLog ? std::log(sum[k]) : scale_of(sum[k], masked);
  for (std::int64_t i = 0; i < n; ++i) {
    T* row = y + i * stride;
    for (std::int64_t k = 0; k < width; ++k) row[k] = kLog ? row[k] - sum[k] : row[k] * sum[k];
  }
}

template <bool kLog>
Step softmax(const PrepareCtx& c) {
  const Axis ax(c.dims(0), c.attrs.integer("axis", 0));
  const bool masked = c.attrs.integer("masked", 0) != 0;
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[ax, masked](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      T* y = static_cast<T*>(a.out[0]);
      for_each_line(
          ax,
          [=](std::int64_t at) {
            if constexpr (kLog) log_softmax_line(x + at, y + at, ax.extent);
            else softmax_line(x + at, y + at, ax.extent, masked);
          },
          [=](std::int64_t at, std::int64_t width) {
            softmax_tile<T, kLog>(x + at, y + at, ax.extent, ax.inner, width, masked);
          });
    }};
  });
}

// dx = y (dy - sum(dy y))
Step softmax_grad(const PrepareCtx& c) {
  const Axis ax(c.dims(0), c.attrs.integer("axis", 0));
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[ax](const RunArgs& a) {
      const T* dy = static_cast<const T*>(a.in[0]);
      const T* y = static_cast<const T*>(a.in[1]);
      T* dx = static_cast<T*>(a.out[0]);
      for_each_line(
          ax,
          [=](std::int64_t at) {
            const T s = reduce_terms<Sum, T>(ax.extent, T(0), [&](std::int64_t i) { return dy[at + i] * y[at + i]; });
            for (std::int64_t i = at; i < at + ax.extent; ++i) dx[i] = y[i] * (dy[i] - s);
          },
          [=](std::int64_t at, std::int64_t width) {
            T s[kTile];
            std::fill_n(s, width, T(0));
            for (std::int64_t i = 0; i < ax.extent; ++i) {
              const std::int64_t row = at + i * ax.inner;
              for (std::int64_t k = 0; k < width; ++k) s[k] += dy[row + k] * y[row + k];
            }
            for (std::int64_t i = 0; i < ax.extent; ++i) {
              const std::int64_t row = at + i * ax.inner;
              for (std::int64_t k = 0; k < width; ++k) dx[row + k] = y[row + k] * (dy[row + k] - s[k]);
            }
          });
    }};
  });
}

}  // namespace

void register_softmax(Backend& b) {
  b.add("softmax", softmax<false>);
  b.add("log_softmax", softmax<true>);
  b.add("softmax_grad", softmax_grad);
}

}  // namespace onnxray::cpu
