// A CUDA device behind the engine's interface.
#pragma once
#include <memory>

#include "engine/device.h"

namespace onnxray::cuda {

// Throws Error: no driver, a driver that is too old, no such device, a device the kernels were not built for.
[[nodiscard]] std::shared_ptr<const Device> open_device(int index);

}  // namespace onnxray::cuda
