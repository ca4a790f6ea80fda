// Quadrature on [0, 1]: the five rules of Captum's integrated gradients, in double precision.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace onnxray {

struct Quadrature {
  std::vector<double> alphas, weights;
};

// method: riemann_left, riemann_right, riemann_middle, riemann_trapezoid, gausslegendre. n >= 1 (Riemann rules: >= 2).
// riemann_trapezoid is the trapezoid rule on n nodes, spacing 1 / (n - 1), whose weights sum to 1. Captum divides by n
// instead, so its weights sum to (n - 1) / n.
[[nodiscard]] Quadrature quadrature(const std::string& method, std::int64_t n);

}  // namespace onnxray
