// Turns a user's baselines into tensors, one per varied value: [1 or examples, row_dims...] in float64.
#pragma once
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/options.h"
#include "algorithms/session.h"

namespace onnxray {

// Throws naming the value whose baseline has a wrong shape. blur: a Gaussian over the last two axes of [C, H, W] rows
// (sigma = max(H, W) / 10 unless given, radius ceil(3 sigma), weights normalised, border replicated). In a split
// request, tensors with a row per example give the row of the split's example.
[[nodiscard]] std::vector<Tensor> make_baselines(const Session& session, const Baselines& baselines,
                                                 const Split& split = {});

// The blur itself, over the last two axes.
[[nodiscard]] Tensor gaussian_blur(const Tensor& images, double sigma);

}  // namespace onnxray
