// layer_norm, rms_norm, their gradient and batch_norm. One pass over memory per line: a line's statistics and its
// result are computed while it is in cache.
#include "kernels/cpu/norm.h"

#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/reduce_run.h"

namespace onnxray::cpu {
namespace {

// Lines of the normalised elements: dims[0, axis) x dims[axis, rank).
struct Lines {
  std::int64_t count, extent, grain;
  Lines(const Dims& d, std::int64_t axis)
      : count(product(d, 0, static_cast<std::size_t>(axis))),
        extent(product(d, static_cast<std::size_t>(axis), d.size())),
        grain(std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, extent))) {}
};

template <class T>
T* at(const void* const* pointers, std::size_t i, bool present) {
  return present ? static_cast<T*>(const_cast<void*>(pointers[i])) : nullptr;
}

// kCentred: layer_norm with outputs y, mean, rstd; else rms_norm with outputs y, rstd.
template <bool kCentred>
Step norm(const PrepareCtx& c) {
  const Lines lines(c.dims(0), c.attrs.integer("axis", 0));
  const double epsilon = c.attrs.real("epsilon", 1e-5);
  const bool scaled = c.has(1), shifted = kCentred && c.has(2);
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      const T* scale = at<const T>(a.in, 1, scaled);
      const T* bias = at<const T>(a.in, 2, shifted);
      T* y = static_cast<T*>(a.out[0]);
      T* means = kCentred ? static_cast<T*>(a.out[1]) : nullptr;
      T* rstds = static_cast<T*>(a.out[kCentred ? 2 : 1]);
      parallel_for(lines.count, lines.grain, [=](std::int64_t begin, std::int64_t end) {
        const std::int64_t n = lines.extent;
        const T inverse = T(1) / static_cast<T>(n);
        for (std::int64_t l = begin; l < end; ++l) {
          const T* p = x + l * n;
          T mean = 0;
          if constexpr (kCentred) mean = reduce_run<Sum, T>(p, n, T(0)) * inverse;
          const T squares = reduce_terms<Sum, T>(n, T(0), [=](std::int64_t i) {
            const T d = p[i] - mean;
            return d * d;
          });
          const T rstd = T(1) / std::sqrt(squares * inverse + static_cast<T>(epsilon));
          if (means != nullptr) means[l] = mean;
          if (rstds != nullptr) rstds[l] = rstd;
          if (y == nullptr) continue;
          T* q = y + l * n;
          if (scale != nullptr && bias != nullptr) {
            for (std::int64_t i = 0; i < n; ++i) q[i] = (p[i] - mean) * rstd * scale[i] + bias[i];
          } else if (scale != nullptr) {
            for (std::int64_t i = 0; i < n; ++i) q[i] = (p[i] - mean) * rstd * scale[i];
          } else {
            for (std::int64_t i = 0; i < n; ++i) q[i] = (p[i] - mean) * rstd;
            for (std::int64_t i = 0; bias != nullptr && i < n; ++i) q[i] += bias[i];
          }
        }
      });
    }};
  });
}

// Inputs dy, x, scale, mean, rstd. dx = rstd (g - mean(g) - xh mean(g xh)), g = dy scale, xh = (x - mean) rstd.
template <class T, bool kScaled, bool kCentred>
Step norm_grad_of(const Lines& lines) {
  return {[lines](const RunArgs& a) {
    const T* dy = static_cast<const T*>(a.in[0]);
    const T* x = static_cast<const T*>(a.in[1]);
    const T* scale = at<const T>(a.in, 2, kScaled);
    const T* means = at<const T>(a.in, 3, kCentred);
    const T* rstds = static_cast<const T*>(a.in[4]);
    T* dx = static_cast<T*>(a.out[0]);
    parallel_for(lines.count, lines.grain, [=](std::int64_t begin, std::int64_t end) {
      const std::int64_t n = lines.extent;
      const T inverse = T(1) / static_cast<T>(n);
      for (std::int64_t l = begin; l < end; ++l) {
        const T *p = x + l * n, *d = dy + l * n;
        const T mean = kCentred ? means[l] : T(0), rstd = rstds[l];
        const auto g = [=](std::int64_t i) { return kScaled ? d[i] * scale[i] : d[i]; };
        const auto xh = [=](std::int64_t i) { return (p[i] - mean) * rstd; };
        const T first = kCentred ? reduce_terms<Sum, T>(n, T(0), g) * inverse : T(0);
        const T second = reduce_terms<Sum, T>(n, T(0), [=](std::int64_t i) { return g(i) * xh(i); }) * inverse;
        T* q = dx + l * n;
        for (std::int64_t i = 0; i < n; ++i) q[i] = rstd * (g(i) - first - xh(i) * second);
      }
    });
  }};
}

Step norm_grad(const PrepareCtx& c) {
  const Lines lines(c.dims(1), c.attrs.integer("axis", 0));
  return visit_float(c.dtype(1), [&]<class T>() -> Step {
    if (c.has(2)) return c.has(3) ? norm_grad_of<T, true, true>(lines) : norm_grad_of<T, true, false>(lines);
    return c.has(3) ? norm_grad_of<T, false, true>(lines) : norm_grad_of<T, false, false>(lines);
  });
}

// Inputs x, scale, bias, mean, var.
Step batch_norm(const PrepareCtx& c) {
  const Dims& d = c.dims(0);
  const std::int64_t channels = d[1], inner = product(d, 2, d.size()), planes = inner == 0 ? 0 : d[0] * channels;
  const double epsilon = c.attrs.real("epsilon", 1e-5);
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
              const T* x = static_cast<const T*>(a.in[0]);
              const T* scale = static_cast<const T*>(a.in[1]);
              const T* bias = static_cast<const T*>(a.in[2]);
              const T* mean = static_cast<const T*>(a.in[3]);
              const T* var = static_cast<const T*>(a.in[4]);
              T* y = static_cast<T*>(a.out[0]);
              T* factor = reinterpret_cast<T*>(a.scratch);
              T* shift = factor + channels;
              for (std::int64_t k = 0; k < channels; ++k) {
                factor[k] = scale[k] / std::sqrt(var[k] + static_cast<T>(epsilon));
                shift[k] = bias[k] - mean[k] * factor[k];
              }
              parallel_for(planes, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, inner)),
                           [=](std::int64_t begin, std::int64_t end) {
                             for (std::int64_t p = begin; p < end; ++p) {
                               const T f = factor[p % channels], s = shift[p % channels];
                               for (std::int64_t i = p * inner; i < (p + 1) * inner; ++i) y[i] = x[i] * f + s;
                             }
                           });
            },
            static_cast<std::size_t>(2 * channels) * sizeof(T)};
  });
}

}  // namespace

void register_norm(Backend& b) {
  register_softmax(b);
  b.add("layer_norm", norm<true>);
  b.add("rms_norm", norm<false>);
  b.add("layer_norm_grad", norm_grad);
  b.add("batch_norm", batch_norm);
}

}  // namespace onnxray::cpu
