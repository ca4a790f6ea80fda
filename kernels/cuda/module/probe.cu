// Whether this module holds code for a device, asked before anything is queued on it.
#include <cuda_runtime.h>

#include "kernels/cuda/module/device.h"

namespace onnxray::cuda {
namespace {
__global__ void nothing() {}
}  // namespace

bool has_code_for_this_device() {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, nothing);
  if (status != cudaSuccess) (void)cudaGetLastError();  // forgotten: the next call starts clean
  return status != cudaErrorNoKernelImageForDevice && status != cudaErrorInvalidDeviceFunction;
}

bool built_for_sm90a() {
#ifdef ONNXRAY_SM90A
  return true;
#else
  return false;
#endif
}

}  // namespace onnxray::cuda
