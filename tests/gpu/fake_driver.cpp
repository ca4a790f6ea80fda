// An NVIDIA driver (libcuda.so.1) without a device: CUDA's runtime asks it for its version and to initialise, and gets
// the answers that the environment holds.
//   ONNXRAY_FAKE_CUDA_VERSION  1000 * major + 10 * minor
//   ONNXRAY_FAKE_CUDA_INIT     a CUresult: 100 no device, 999 unknown error
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {
int number(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? 0 : std::atoi(text);
}
}  // namespace

extern "C" {
int cuDriverGetVersion(int* version) {
  *version = number("ONNXRAY_FAKE_CUDA_VERSION");
  return 0;
}
int cuInit(unsigned) { return number("ONNXRAY_FAKE_CUDA_INIT"); }
// Everything else; nothing calls it before cuInit has succeeded.
int refused() { return 100; }
int cuGetProcAddress_v2(const char* name, void** function, int, std::uint64_t, int* found) {
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  *function = is("cuDriverGetVersion") ? reinterpret_cast<void*>(cuDriverGetVersion)
              : is("cuInit")           ? reinterpret_cast<void*>(cuInit)
              : is("cuGetProcAddress") ? reinterpret_cast<void*>(cuGetProcAddress_v2)
                                       : reinterpret_cast<void*>(refused);
  if (found != nullptr) *found = 0;
  return 0;
}
}
