// The entry points of libonnxray_cuda.so.
#include <map>
#include <memory>
#include <mutex>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/module/device.h"
#include "kernels/device_module.h"

#define ONNXRAY_EXPORT extern "C" __attribute__((visibility("default")))

ONNXRAY_EXPORT const char* onnxray_device_module_version() { return onnxray::kDeviceModuleVersion; }

ONNXRAY_EXPORT const onnxray::Backend* onnxray_device_backend(int index, const onnxray::Backend* host) {
  static std::mutex mutex;
  // Never destroyed: models may live as long as the process.
  static auto* backends = new std::map<int, std::unique_ptr<onnxray::Backend>>;
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<onnxray::Backend>& slot = (*backends)[index];
  if (!slot) {
    slot = std::make_unique<onnxray::Backend>(
        onnxray::cuda::make_backend("cuda", index < 0 ? nullptr : onnxray::cuda::open_device(index), *host));
  }
  return slot.get();
}

ONNXRAY_EXPORT std::size_t onnxray_device_peak_bytes(const onnxray::Backend* backend) {
  return backend->device == nullptr ? 0 : onnxray::cuda::peak_bytes(*backend->device);
}
