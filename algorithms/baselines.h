// Turns a user's baselines into tensors, one per varied value, in float64.
#pragma once
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/options.h"
#include "algorithms/session.h"

namespace onnxray {

// [1 or examples, row_dims...] per varied value, the same number of rows for all.
// Throws naming the value whose baseline has a wrong shape. blur: a Gaussian over the last two axes of [C, H, W] rows
// (sigma = max(H, W) / 10 unless given, radius ceil(3 sigma), weights normalised, border replicated). In a split
// request, tensors with a row per example give the row of the split's example.
[[nodiscard]] std::vector<Tensor> make_baselines(const Session& session, const Baselines& baselines,
                                                 const Split& split = {});

// A sample of baselines for methods that draw from it: [rows, row_dims...] per varied value, any number of rows, row r
// of one value going with row r of the others. The same for every example. A number or a single row is a sample of one;
// throws for blur, which belongs to one example, and for values whose samples differ in rows.
[[nodiscard]] std::vector<Tensor> make_baseline_sample(const Session& session, const Baselines& baselines);

// The blur itself, over the last two axes.
[[nodiscard]] Tensor gaussian_blur(const Tensor& images, double sigma);

}  // namespace onnxray
