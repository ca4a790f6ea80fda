// Shared by the tests of methods: models from builders and files, arrays from JSON, distances.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "api/onnxray.h"
#include "tests/onnx_import/model_builder.h"
#include "tests/source_dir.h"

namespace onnxray::testing {

inline std::filesystem::path in_source(const std::string& path) {
  return std::filesystem::path(onnxray::testing::source_dir()) / path;
}

inline Model model_of(const ModelBuilder& m) {
  const std::string bytes = m.bytes();
  return load(std::as_bytes(std::span(bytes)));
}

// float64 numbers in (-1, 1) that look random and never repeat.
inline Tensor wave(const Dims& dims, double phase, double scale = 1) {
  Tensor t(DType::f64, dims);
  double k = phase;
  for (double& v : t.mutable_data<double>()) {
    k += 1;
    v = scale * std::sin(12.9898 * k + 0.37 * k * k);
  }
  return t;
}

inline double largest(const std::vector<double>& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}

// The largest difference; infinity when the counts differ or a difference is no number.
inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double m = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    m = std::isnan(d) ? INFINITY : std::max(m, d);
  }
  return m;
}

// |a - b| / |b| in the Euclidean norm; 0 for two zeros.
inline double relative_distance(const Tensor& a, const Tensor& b) {
  if (a.dims() != b.dims()) return INFINITY;
  const auto x = a.to_doubles(), y = b.to_doubles();
  double d = 0, n = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    d += (x[i] - y[i]) * (x[i] - y[i]);
    n += y[i] * y[i];
  }
  if (d == 0) return 0;
  return std::isnan(d) ? INFINITY : std::sqrt(d / std::max(n, 1e-300));
}

// The text of the Error that `f` throws, and its kind; "nothing was thrown" otherwise.
struct Thrown {
  std::string text = "nothing was thrown";
  ErrorKind kind = ErrorKind::kInternal;
};
inline Thrown thrown_by(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return {e.what(), e.kind()};
  } catch (const std::exception& e) {
    return {std::string("another exception: ") + e.what(), ErrorKind::kInternal};
  }
  return {};
}

}  // namespace onnxray::testing
