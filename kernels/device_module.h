// What a device module (libonnxray_cuda.so) exports, and what the library that opens it expects. Both are built from
// one source tree: C++ objects cross the boundary, so the version must be the same to the letter.
#pragma once
#include "engine/backend.h"

namespace onnxray {

inline constexpr const char* kDeviceModuleVersion = ONNXRAY_VERSION " 1";

// extern "C" const char* onnxray_device_module_version();
using DeviceModuleVersionFn = const char* (*)();
// extern "C" const Backend* onnxray_device_backend(int index, const Backend* host);
// The backend of one device, which lives until the process ends; throws Error that says what is missing. With index -1
// the table alone, without a device: what the kernels cover can be asked on any machine.
using DeviceBackendFn = const Backend* (*)(int index, const Backend* host);
// extern "C" std::size_t onnxray_device_peak_bytes(const Backend* backend); a module need not have it.
// The most memory that was allocated on the backend's device at one time since it was opened.
using DevicePeakBytesFn = std::size_t (*)(const Backend* backend);

}  // namespace onnxray
