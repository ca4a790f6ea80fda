#include "tests/source_dir.h"

#include <cstdlib>

namespace onnxray::testing {
// A test program that runs on another machine finds the files it reads beside a copy of them (scripts/gpu_bundle.sh).
const char* source_dir() {
  static const char* given = std::getenv("ONNXRAY_SOURCE_DIR");
  return given != nullptr && *given != '\0' ? given : ONNXRAY_SOURCE_DIR;
}
}  // namespace onnxray::testing
