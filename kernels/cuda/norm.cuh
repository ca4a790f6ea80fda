// softmax, log_softmax, layer_norm, rms_norm with their gradients, and batch_norm. A team of threads owns a line; every
// lane reads and writes its own elements alone, so results may lie over inputs.
#pragma once
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/fold.cuh"

namespace onnxray::cuda {

// Calls body(line, is_there) for every line of the team's, the same number of times in every thread of the block.
template <class F>
ONNXRAY_DEVICE void for_lines(const Team& team, std::int64_t count, F&& body) {
  for (std::int64_t first = std::int64_t{blockIdx.x} * team.teams; first < count;
       first += std::int64_t{gridDim.x} * team.teams) {
    const std::int64_t l = first + team.number;
    body(l, l < count);
  }
}

// The fold of term(i) over the line's elements.
template <class F, class T, class Term>
ONNXRAY_DEVICE T fold_line(const Team& team, std::int64_t n, bool there, T start, T* part, Term&& term) {
  T total = start;
  if (there) {
    for (std::int64_t i = team.lane; i < n; i += team.lanes) total = F::f(total, term(i));
  }
  return team.fold<F>(part, total);
}

// A line of nothing but -infinity is NaN, or zeros where `masked` says that -infinity means "not allowed".
template <class T, bool kLog>
ONNXRAY_KERNEL(void)
softmax_kernel(Lines lines, unsigned lanes, bool masked, T lowest, const T* x, T* y) {
  ONNXRAY_SHARED(T, part);
  const Team team(lanes, lines.inner == 1);
  for_lines(team, lines.count, [&](std::int64_t l, bool there) {
    const T* from = x + lines.begin(l);
    T* to = y + lines.begin(l);
    T m =
        fold_line<Greatest>(team, lines.n, there, lowest, part, [&](std::int64_t i) { return from[i * lines.inner]; });
    if (masked && m == lowest) m = T(0);
    const T sum = fold_line<SumOf>(team, lines.n, there, T(0), part,
                                   [&](std::int64_t i) { return vmath::exp(from[i * lines.inner] - m); });
    if (!there) return;
    const T log_sum = kLog ? std::log(sum) : T(0);
    const T scale = masked && sum == T(0) ? T(0) : T(1) / sum;
    for (std::int64_t i = team.lane; i < lines.n; i += lanes) {
      const T d = from[i * lines.inner] - m;
      to[i * lines.inner] = kLog ? d - log_sum : vmath::exp(d) * scale;
    }
  });
}

// dx = y (dy - sum(dy y))
template <class T>
ONNXRAY_KERNEL(void)
softmax_grad_kernel(Lines lines, unsigned lanes, const T* dy, const T* y, T* dx) {
  ONNXRAY_SHARED(T, part);
  const Team team(lanes, lines.inner == 1);
  for_lines(team, lines.count, [&](std::int64_t l, bool there) {
    const std::int64_t first = lines.begin(l);
    const T s = fold_line<SumOf>(team, lines.n, there, T(0), part, [&](std::int64_t i) {
      return dy[first + i * lines.inner] * y[first + i * lines.inner];
    });
    if (!there) return;
    for (std::int64_t i = team.lane; i < lines.n; i += lanes) {
      const std::int64_t at = first + i * lines.inner;
      dx[at] = y[at] * (dy[at] - s);
    }
  });
}

// kCentred: layer_norm, else rms_norm. scale, bias, means and rstds may be null, y too.
template <class T, bool kCentred>
ONNXRAY_KERNEL(void)
norm_kernel(Lines lines, unsigned lanes, T epsilon, const T* x, const T* scale, const T* bias, T* y, T* means,
            T* rstds) {
  ONNXRAY_SHARED(T, part);
  const Team team(lanes, true);
  const T inverse = T(1) / static_cast<T>(lines.n);
  for_lines(team, lines.count, [&](std::int64_t l, bool there) {
    const T* p = x + l * lines.n;
    T mean = T(0);
    if constexpr (kCentred) {
      mean = fold_line<SumOf>(team, lines.n, there, T(0), part, [&](std::int64_t i) { return p[i]; }) * inverse;
    }
    const T squares = fold_line<SumOf>(team, lines.n, there, T(0), part,
                                       [&](std::int64_t i) { return (p[i] - mean) * (p[i] - mean); });
    if (!there) return;
    const T rstd = T(1) / std::sqrt(squares * inverse + epsilon);
    if (team.lane == 0 && means != nullptr) means[l] = mean;
    if (team.lane == 0 && rstds != nullptr) rstds[l] = rstd;
    if (y == nullptr) return;
    for (std::int64_t i = team.lane; i < lines.n; i += lanes) {
      T v = (p[i] - mean) * rstd;
      if (scale != nullptr) v *= scale[i];
      if (bias != nullptr) v += bias[i];
      y[l * lines.n + i] = v;
    }
  });
}

// dx = rstd (g - mean(g) - xh mean(g xh)), g = dy scale, xh = (x - mean) rstd; without means: rms_norm.
template <class T>
ONNXRAY_KERNEL(void)
norm_grad_kernel(Lines lines, unsigned lanes, const T* dy, const T* x, const T* scale, const T* means, const T* rstds,
                 T* dx) {
  ONNXRAY_SHARED(T, part);
  const Team team(lanes, true);
  const T inverse = T(1) / static_cast<T>(lines.n);
  for_lines(team, lines.count, [&](std::int64_t l, bool there) {
    const T mean = there && means != nullptr ? means[l] : T(0), rstd = there ? rstds[l] : T(0);
    const auto g = [&](std::int64_t i) {
      return scale != nullptr ? dy[l * lines.n + i] * scale[i] : dy[l * lines.n + i];
    };
    const auto xh = [&](std::int64_t i) { return (x[l * lines.n + i] - mean) * rstd; };
    T first = T(0);
    if (means != nullptr) first = fold_line<SumOf>(team, lines.n, there, T(0), part, g) * inverse;
    const T second =
        fold_line<SumOf>(team, lines.n, there, T(0), part, [&](std::int64_t i) { return g(i) * xh(i); }) * inverse;
    if (!there) return;
    for (std::int64_t i = team.lane; i < lines.n; i += lanes) {
      dx[l * lines.n + i] = rstd * (g(i) - first - xh(i) * second);
    }
  });
}

template <class T>
ONNXRAY_KERNEL(void)
batch_norm_kernel(std::int64_t count, Divider inner, Divider channels, T epsilon, const T* x, const T* scale,
                  const T* bias, const T* mean, const T* var, T* y) {
  for (std::int64_t i = first_item(); i < count; i += item_step()) {
    auto plane = inner.divide(static_cast<std::uint32_t>(i));
    const std::uint32_t c = channels.take(plane);
    const T factor = scale[c] / std::sqrt(var[c] + epsilon);
    y[i] = x[i] * factor + (bias[c] - mean[c] * factor);
  }
}

template <bool kLog>
Step softmax(const PrepareCtx& c) {
  const Lines lines = lines_of(c.dims(0), c.attrs.integer("axis", 0));
  const bool masked = c.attrs.integer("masked", 0) != 0;
  if (lines.count == 0 || lines.n == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=, lanes = lanes_for(lines.n)](const RunArgs& a) {
      launch(softmax_kernel<T, kLog>, grid_of(lines.count, kThreads / lanes), Dim3{kThreads}, kThreads * sizeof(T),
             a.stream, lines, lanes, masked, -std::numeric_limits<T>::infinity(), static_cast<const T*>(a.in[0]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

inline Step softmax_grad(const PrepareCtx& c) {
  const Lines lines = lines_of(c.dims(0), c.attrs.integer("axis", 0));
  if (lines.count == 0 || lines.n == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=, lanes = lanes_for(lines.n)](const RunArgs& a) {
      launch(softmax_grad_kernel<T>, grid_of(lines.count, kThreads / lanes), Dim3{kThreads}, kThreads * sizeof(T),
             a.stream, lines, lanes, static_cast<const T*>(a.in[0]), static_cast<const T*>(a.in[1]),
             static_cast<T*>(a.out[0]));
    }};
  });
}

// Lines of the normalised elements: dims[0, axis) x dims[axis, rank).
[[nodiscard]] inline Lines norm_lines(const Dims& d, std::int64_t axis) {
  const auto a = static_cast<std::size_t>(axis);
  return {product(d, 0, a), product(d, a, d.size()), 1};
}

template <bool kCentred>
Step norm(const PrepareCtx& c) {
  const Lines lines = norm_lines(c.dims(0), c.attrs.integer("axis", 0));
  const double epsilon = c.attrs.real("epsilon", 1e-5);
  const bool scaled = c.has(1), shifted = kCentred && c.has(2);
  if (lines.count == 0) return no_work();
  if (lines.n == 0) return {};
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=, lanes = lanes_for(lines.n)](const RunArgs& a) {
      launch(norm_kernel<T, kCentred>, grid_of(lines.count, kThreads / lanes), Dim3{kThreads}, kThreads * sizeof(T),
             a.stream, lines, lanes, static_cast<T>(epsilon), static_cast<const T*>(a.in[0]),
             scaled ? static_cast<const T*>(a.in[1]) : nullptr, shifted ? static_cast<const T*>(a.in[2]) : nullptr,
             static_cast<T*>(a.out[0]), kCentred ? static_cast<T*>(a.out[1]) : nullptr,
             static_cast<T*>(a.out[kCentred ? 2 : 1]));
    }};
  });
}

inline Step norm_grad(const PrepareCtx& c) {
  const Lines lines = norm_lines(c.dims(1), c.attrs.integer("axis", 0));
  const bool scaled = c.has(2), centred = c.has(3);
  if (lines.count == 0 || lines.n == 0) return no_work();
  return visit_float(c.dtype(1), [&]<class T>() -> Step {
    return {[=, lanes = lanes_for(lines.n)](const RunArgs& a) {
      launch(norm_grad_kernel<T>, grid_of(lines.count, kThreads / lanes), Dim3{kThreads}, kThreads * sizeof(T),
             a.stream, lines, lanes, static_cast<const T*>(a.in[0]), static_cast<const T*>(a.in[1]),
             scaled ? static_cast<const T*>(a.in[2]) : nullptr, centred ? static_cast<const T*>(a.in[3]) : nullptr,
             static_cast<const T*>(a.in[4]), static_cast<T*>(a.out[0]));
    }};
  });
}

inline Step batch_norm(const PrepareCtx& c) {
  const Dims& d = c.dims(0);
  const std::int64_t count = count_of(d);
  if (count == 0) return no_work();
  if (count >= kMaxElements) return {};
  const Divider inner(product(d, 2, d.size())), channels(d[1]);
  const double epsilon = c.attrs.real("epsilon", 1e-5);
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      const auto in = [&](std::size_t i) { return static_cast<const T*>(a.in[i]); };
      launch(batch_norm_kernel<T>, grid_of(count), Dim3{kThreads}, 0, a.stream, count, inner, channels,
             static_cast<T>(epsilon), in(0), in(1), in(2), in(3), in(4), static_cast<T*>(a.out[0]));
    }};
  });
}

void register_norm(Backend& b) {
  b.add("softmax", softmax<false>);
  b.add("log_softmax", softmax<true>);
  b.add("softmax_grad", softmax_grad);
  b.add("layer_norm", norm<true>);
  b.add("rms_norm", norm<false>);
  b.add("layer_norm_grad", norm_grad);
  b.add("batch_norm", batch_norm);
}

}  // namespace onnxray::cuda
