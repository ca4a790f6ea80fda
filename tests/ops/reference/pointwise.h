// References and samples of ops that work element by element, with numpy's broadcasting written out.
#pragma once
#include <algorithm>
#include <cmath>
#include <complex>
#include <utility>

#include "tests/ops/sample.h"

namespace onnxray::testing {

// The element of `a` that meets element `flat` of the result.
inline double broadcast_at(const Array& a, const Dims& out, std::int64_t flat) {
  std::int64_t offset = 0, stride = 1;
  for (std::size_t k = 0; k < out.size(); ++k) {
    const std::size_t o = out.size() - 1 - k;
    const std::int64_t i = flat % out[o];
    flat /= out[o];
    if (k >= a.dims.size()) continue;
    const std::int64_t extent = a.dims[a.dims.size() - 1 - k];
    offset += (extent == 1 ? 0 : i) * stride;
    stride *= extent;
  }
  return a.v[static_cast<std::size_t>(offset)];
}

inline Dims broadcast_dims(const std::vector<Array>& in) {
  Dims out;
  for (const Array& a : in) out.resize(std::max(out.size(), a.dims.size()), 1);
  for (const Array& a : in) {
    for (std::size_t k = 0; k < a.dims.size(); ++k) {
      std::int64_t& o = out[out.size() - 1 - k];
      const std::int64_t d = a.dims[a.dims.size() - 1 - k];
      if (d != 1) o = d;
    }
  }
  return out;
}

// y[i] = f(attrs, x0[i], x1[i], ...).
template <class F>
Reference pointwise(F f) {
  return [f](const std::vector<Array>& in, const Attrs& attrs) -> std::vector<Array> {
    Array y{broadcast_dims(in), {}};
    std::int64_t n = 1;
    for (const std::int64_t d : y.dims) n *= d;
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_invocable_v<F, const Attrs&, double>) {
        y.v.push_back(f(attrs, broadcast_at(in[0], y.dims, i)));
      } else if constexpr (std::is_invocable_v<F, const Attrs&, double, double>) {
        y.v.push_back(f(attrs, broadcast_at(in[0], y.dims, i), broadcast_at(in[1], y.dims, i)));
      } else {
        y.v.push_back(
            f(attrs, broadcast_at(in[0], y.dims, i), broadcast_at(in[1], y.dims, i), broadcast_at(in[2], y.dims, i)));
      }
    }
    return {y};
  };
}

// f'(x) to full precision for an analytic f: the imaginary part of f(x + ih) / h.
template <class F>
double complex_step(F f, double x) {
  constexpr double h = 1e-100;
  return f(std::complex<double>(x, h)).imag() / h;
}

inline SampleInput floats(Dims dims, double lo = -2, double hi = 2) {
  return {.dtype = DType::f64, .dims = std::move(dims), .lo = lo, .hi = hi};
}
inline SampleInput ints(Dims dims, double lo = -9, double hi = 10, DType dtype = DType::i64) {
  return {.dtype = dtype, .dims = std::move(dims), .lo = lo, .hi = hi};
}
inline SampleInput bools(Dims dims) { return {.dtype = DType::boolean, .dims = std::move(dims)}; }
inline SampleInput given(Dims dims, std::initializer_list<double> values, DType dtype = DType::f64) {
  return {.dtype = dtype, .dims = dims, .fixed = Tensor::from<double>(dims, values).to(dtype)};
}
inline SampleInput constant_of(Dims dims, std::initializer_list<double> values) {
  SampleInput in = given(std::move(dims), values);
  in.constant = true;
  return in;
}

// Shapes that meet every broadcasting path: equal, scalars, channels of NCHW and NHWC, row and column vectors, short
// and long innermost runs, axes of 1 in the middle, empty tensors, more than one block.
inline const std::vector<std::pair<Dims, Dims>>& broadcast_pairs() {
  static const std::vector<std::pair<Dims, Dims>> pairs = {{{}, {}},
                                                           {{1}, {}},
                                                           {{3, 5}, {3, 5}},
                                                           {{33}, {}},
                                                           {{}, {257}},
                                                           {{2, 3, 7, 5}, {3, 1, 1}},
                                                           {{2, 5, 3}, {3}},
                                                           {{4, 70}, {70}},
                                                           {{3, 1}, {1, 7}},
                                                           {{1, 40}, {3, 1}},
                                                           {{0, 3}, {3}},
                                                           {{1}, {0}},
                                                           {{700, 3}, {3}},
                                                           {{3, 700}, {3, 1}},
                                                           {{2, 1, 3}, {5, 1}},
                                                           {{1, 2, 1, 3, 1}, {2, 1, 3, 1, 2}},
                                                           {{3, 2, 2}, {3, 1, 2}}};
  return pairs;
}
inline std::vector<Dims> unary_shapes() { return {{}, {1}, {3, 7}, {33}, {2, 1, 5}, {0, 3}, {257}, {3, 700}}; }

// Samples of a unary float op over [lo, hi).
inline std::vector<OpSample> unary_samples(double lo, double hi, const Attrs& attrs = {}) {
  std::vector<OpSample> out;
  for (const Dims& d : unary_shapes()) out.push_back({{floats(d, lo, hi)}, attrs});
  return out;
}

// Samples of a binary float op: x in [lo0, hi0), y in [lo1, hi1).
inline std::vector<OpSample> binary_samples(double lo0, double hi0, double lo1, double hi1, const Attrs& attrs = {}) {
  std::vector<OpSample> out;
  for (const auto& [x, y] : broadcast_pairs()) out.push_back({{floats(x, lo0, hi0), floats(y, lo1, hi1)}, attrs});
  return out;
}

inline void append(std::vector<OpSample>& to, const std::vector<OpSample>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace onnxray::testing
