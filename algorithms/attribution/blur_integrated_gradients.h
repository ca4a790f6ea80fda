// Blur integrated gradients. Xu, Venugopalan, Sundararajan, "Attribution in Scale and Space", CVPR 2020, equation 3:
// the path runs through scale space, from the image blurred by a Gaussian of standard deviation max_sigma to the image,
//   BlurIG(x, y) = integral over sigma from max_sigma to 0 of dF/dL(x, y) * dL(x, y)/dsigma,  L = x blurred with sigma.
// The blur (last two axes) is the one of the baselines `blur`: a sampled Gaussian with weights normalised to 1 and the
// border replicated, so a constant image stays as it is. Its derivative by sigma is exact, and the sum of the
// attributions is F(x) - F(x blurred with max_sigma) up to the quadrature.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"

namespace onnxray {

struct BlurIntegratedGradients {
  std::int64_t n_steps = 100;
  double max_sigma = 50;
  std::string method = "gausslegendre";
  void visit(OptionVisitor& v) {
    v(steps_option(), n_steps);
    v({.name = "max_sigma",
       .description = "standard deviation of the strongest blur, in pixels",
       .lo = 1e-3,
       .hi = 1e4},
      max_sigma);
    v(quadrature_option(), method);
  }
};

// The blur of one axis as a matrix B [n, n], row i the weights of output i, and its derivative by sigma; the kernel
// reaches `radius` elements to both sides.
struct BlurMatrix {
  std::vector<double> weights, derivative;
};
[[nodiscard]] BlurMatrix blur_matrix(std::int64_t n, double sigma, std::int64_t radius);

Attribution run_method(const Model& model, const BlurIntegratedGradients& options, const Request& request);

}  // namespace onnxray
