#include "algorithms/quadrature.h"

#include <cmath>
#include <numbers>

#include "engine/base/error.h"

namespace onnxray {
namespace {

// Nodes and weights of Gauss-Legendre on [-1, 1]: Newton's method on P_n from Tricomi's starting points.
Quadrature gauss_legendre(std::int64_t n) {
  Quadrature q;
  q.alphas.resize(static_cast<std::size_t>(n));
  q.weights.resize(static_cast<std::size_t>(n));
  const auto real = static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (real + 0.5));
    double derivative = 1;
    for (int iteration = 0; iteration < 100; ++iteration) {
      double p = 1, previous = 0;
      for (std::int64_t k = 0; k < n; ++k) {
        const auto d = static_cast<double>(k);
        const double next = ((2 * d + 1) * x * p - d * previous) / (d + 1);
        previous = p;
        p = next;
      }
      derivative = n == 0 ? 1 : real * (x * p - previous) / (x * x - 1);
      const double step = p / derivative;
      x -= step;
      if (std::abs(step) < 1e-15) break;
    }
    const auto at = static_cast<std::size_t>(n - 1 - i);  // ascending
    q.alphas[at] = (1 + x) / 2;
    q.weights[at] = 1 / ((1 - x * x) * derivative * derivative);
  }
  if (n == 1) q = {{0.5}, {1}};
  return q;
}

}  // namespace

Quadrature quadrature(const std::string& method, std::int64_t n) {
  ONNXRAY_CHECK(n >= 1, "n_steps is ", n, ", expected at least 1");
  if (method == "gausslegendre") return gauss_legendre(n);
  ONNXRAY_CHECK(n >= 2, "n_steps is ", n, ", expected at least 2 for ", method);
  Quadrature q;
  const auto real = static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<double>(i);
    double alpha = 0, weight = 1 / real;
    if (method == "riemann_left") {
      alpha = k / real;
    } else if (method == "riemann_right") {
      alpha = (k + 1) / real;
    } else if (method == "riemann_middle") {
      alpha = (k + 0.5) / real;
    } else if (method == "riemann_trapezoid") {
      alpha = k / (real - 1);
      weight = (i == 0 || i == n - 1 ? 0.5 : 1.0) / (real - 1);
    } else {
      fail("unknown quadrature '", method,
           "', expected riemann_left, riemann_right, riemann_middle, riemann_trapezoid or gausslegendre");
    }
    q.alphas.push_back(alpha);
    q.weights.push_back(weight);
  }
  return q;
}

}  // namespace onnxray
