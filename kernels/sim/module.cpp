// The entry points of libonnxray_cuda-sim.so: the simulator in the place of a device, opened like the real module.
#include "kernels/device_module.h"
#include "kernels/sim/backend.h"

#define ONNXRAY_EXPORT extern "C" __attribute__((visibility("default")))

ONNXRAY_EXPORT const char* onnxray_device_module_version() { return onnxray::kDeviceModuleVersion; }

ONNXRAY_EXPORT const onnxray::Backend* onnxray_device_backend(int index, const onnxray::Backend* host) {
  ONNXRAY_CHECK(index <= 0, "device cuda-sim:", index, ": there is one simulator, cuda-sim:0");
  // Never destroyed: models may live as long as the process.
  static const auto* backend = new onnxray::Backend(onnxray::sim::make_backend(*host));
  return backend;
}
