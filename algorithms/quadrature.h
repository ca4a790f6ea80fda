// Quadrature on [0, 1]: the five rules of Captum's integrated gradients, in double precision.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/options.h"

namespace onnxray {

struct Quadrature {
  std::vector<double> alphas, weights;
};

// method: riemann_left, riemann_right, riemann_middle, riemann_trapezoid, gausslegendre. n >= 1 (Riemann rules: >= 2).
// riemann_trapezoid is the trapezoid rule on n nodes, spacing 1 / (n - 1), whose weights sum to 1. Captum divides by n
// instead, so its weights sum to (n - 1) / n.
[[nodiscard]] Quadrature quadrature(const std::string& method, std::int64_t n);

// What the options of methods on paths are called.
inline OptionInfo steps_option() {
  return {.name = "n_steps", .description = "points on the path", .lo = 1, .hi = 1e6};
}
inline OptionInfo quadrature_option() {
  return {.name = "method",
          .description = "quadrature on the path",
          .choices = {"gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"}};
}
inline OptionInfo path_start_option() {
  return {.name = "baselines", .description = "where the path starts: a number, blur, or a file"};
}

}  // namespace onnxray
