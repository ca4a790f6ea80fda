// HSIC attribution: how much the output depends on whether a region is there, measured by the Hilbert-Schmidt
// independence criterion. Novello, Fel, Vigouroux, "Making Sense of Dependence: Efficient Black-box Explanations Using
// Dependence Measure", NeurIPS 2022.
//
//   HSIC_f = 1 / (n - 1)^2 trace(K_f H L H),  H = I - 1/n (centring),
//   K_f(i, j) = 1/2 - (m_if - m_jf)^2 for masks m in {0, 1}, the kernel whose ANOVA decomposition is orthogonal,
//   L(i, j) = exp(-(v_i - v_j)^2 / (2 s^2)), s the median distance of different outputs.
// Every region is present in half of the n masks (a Latin hypercube, rounded).
#pragma once
#include <span>
#include <vector>

#include "algorithms/attribution.h"

namespace onnxray {

struct HsicAttribution {
  std::int64_t n_samples = 500;
  Baselines baselines;
  FeatureMask feature_mask = grid_mask(8);
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "random masks; time grows with their square", .lo = 2, .hi = 5000},
      n_samples);
    v({.name = "baselines", .description = "what absent regions are: a number, blur, or a file"}, baselines);
    v({.name = "feature_mask", .description = "the regions: elements, axis:K, grid:N, slic:N, or files of integer ids"},
      feature_mask);
  }
};

// HSIC of each feature with y. present: 0 or 1 [n, features]; y [n].
[[nodiscard]] std::vector<double> hsic(std::span<const double> present, std::span<const double> y);

Attribution run_method(const Model& model, const HsicAttribution& options, const Request& request);

}  // namespace onnxray
