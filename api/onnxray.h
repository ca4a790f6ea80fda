// onnxray: X-ray any ONNX model. The umbrella header.
//
//   onnxray::Model model = onnxray::load("model.onnx");
//   auto map = onnxray::attribute(model, onnxray::IntegratedGradients{.n_steps = 50},
//                                 {.inputs = {{"x", image}}, .to = {onnxray::output(281)}});
//   map.attributions.at("x");  map.delta;
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "algorithms/attribution.h"
#include "algorithms/attribution/activation.h"
#include "algorithms/attribution/activation_cams.h"
#include "algorithms/attribution/adaptive_integrated_gradients.h"
#include "algorithms/attribution/blur_integrated_gradients.h"
#include "algorithms/attribution/conductance.h"
#include "algorithms/attribution/feature_ablation.h"
#include "algorithms/attribution/gradient_cams.h"
#include "algorithms/attribution/gradient_methods.h"
#include "algorithms/attribution/gradient_shap.h"
#include "algorithms/attribution/guided_grad_cam.h"
#include "algorithms/attribution/guided_integrated_gradients.h"
#include "algorithms/attribution/hsic_attribution.h"
#include "algorithms/attribution/integrated_gradients.h"
#include "algorithms/attribution/internal_influence.h"
#include "algorithms/attribution/kernel_shap.h"
#include "algorithms/attribution/lime.h"
#include "algorithms/attribution/lrp/lrp.h"
#include "algorithms/attribution/noise_tunnel.h"
#include "algorithms/attribution/occlusion.h"
#include "algorithms/attribution/rise.h"
#include "algorithms/attribution/rules/deep_lift.h"
#include "algorithms/attribution/rules/guided.h"
#include "algorithms/attribution/shapley.h"
#include "algorithms/attribution/sobol_attribution.h"
#include "algorithms/evaluate.h"
#include "algorithms/gradient.h"
#include "api/device.h"
#include "engine/base/parallel.h"
#include "engine/model.h"

namespace onnxray {

struct LoadOptions {
  std::string device;  // "cpu", "cuda", "cuda:1"; empty: the environment's ONNXRAY_DEVICE, else "cpu"
  ComputeMode mode = ComputeMode::kExact;  // of float32 on a CUDA device
};

// Reads a model for a device. Throws Error: kBadInput for a file that is no valid model (what, where) or a device that
// is not there (what is missing), kUnsupported listing every unsupported operator with a node that uses it.
[[nodiscard]] Model load(const std::filesystem::path& path, const LoadOptions& options = {});
// The same from memory; external data is looked for in `folder` (none if empty).
[[nodiscard]] Model load(std::span<const std::byte> bytes, const std::filesystem::path& folder = {},
                         const LoadOptions& options = {});
// Reads a model whose unsupported operators are only reported by Model::operators(); running it throws.
[[nodiscard]] Model inspect(const std::filesystem::path& path);

// "0.1.0"
[[nodiscard]] const char* version();

}  // namespace onnxray
