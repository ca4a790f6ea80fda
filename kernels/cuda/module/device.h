// A CUDA device behind the engine's interface.
#pragma once
#include <memory>

#include "engine/device.h"

namespace onnxray::cuda {

// Throws Error: no driver, a driver that is too old, no such device, a device the kernels were not built for.
[[nodiscard]] std::shared_ptr<const Device> open_device(int index);

// Of the calling thread's device (probe.cu).
[[nodiscard]] bool has_code_for_this_device();
// Whether it was compiled for sm_90a, among others.
[[nodiscard]] bool built_for_sm90a();

// The most memory of a device from open_device that was allocated at one time.
[[nodiscard]] std::size_t peak_bytes(const Device& device);

}  // namespace onnxray::cuda
