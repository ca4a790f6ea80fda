// Resizing of maps over a grid, as torch.nn.functional.interpolate with align_corners=False (Captum's
// LayerAttribution.interpolate): separable, one table of weights per axis.
#pragma once
#include <string>
#include <vector>

#include "engine/builder.h"
#include "engine/tensor.h"

namespace onnxray {

// "nearest", "linear", "bilinear", "trilinear" (the last three are one thing on grids of 1, 2 and 3 axes), "bicubic"
// (Keys' kernel with a = -0.75), "area" (means over the cells, as adaptive average pooling).
[[nodiscard]] const std::vector<std::string>& interpolation_modes();

// `x` [leading..., spatial...] to [leading..., size...] in float64; `size` has one entry per spatial axis. Throws
// kBadInput for a mode that is unknown or does not fit the number of axes.
[[nodiscard]] Tensor interpolate(const Tensor& x, const Dims& size, const std::string& mode);
// The same as nodes.
[[nodiscard]] ValueId interpolate(Builder& b, ValueId x, const Dims& size, const std::string& mode);

}  // namespace onnxray
