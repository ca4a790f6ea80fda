// Devices by name. A device other than the CPU lives in a module of its own (libonnxray_cuda.so) that is opened when it
// is first asked for, so that programs start on machines without a GPU, a driver or a toolkit.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/model.h"

namespace onnxray {

// "cpu", "cuda" (the first device), "cuda:1"; empty: the environment's ONNXRAY_DEVICE, else "cpu". Throws Error that
// says what is missing: no such device name, no module and where it was looked for, no driver, no device. The result
// lives until the process ends.
// Modes other than kExact are for devices.
[[nodiscard]] const Backend& device_backend(std::string_view name, ComputeMode mode = ComputeMode::kExact);

// The kernels of a module without its device, to say on any machine what a device covers; null where there is no
// module.
[[nodiscard]] const Backend* device_table(std::string_view kind);

// The most memory that was allocated on a backend's device at one time; 0 on the CPU and where it is not counted.
[[nodiscard]] std::size_t device_peak_bytes(const Backend& backend);

// "cpu" and the kinds of device whose module is there: "cuda".
[[nodiscard]] std::vector<std::string> device_kinds();

// The nodes of a float32 forward pass and its gradient that the host computes between copies, because `table` has no
// kernel for them or one that declines their shapes or dtypes: "conv1 (Conv)", "conv_weight_grad". `inputs` give the
// shapes. Throws what the importer and the gradient throw.
struct DeviceGap {
  std::string node, op;
};
[[nodiscard]] std::vector<DeviceGap> device_gaps(const Model& model, const NamedTensors& inputs, const Backend& table);

}  // namespace onnxray
