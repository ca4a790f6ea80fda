#include "tests/source_dir.h"

namespace onnxray::testing {
const char* source_dir() { return ONNXRAY_SOURCE_DIR; }
}  // namespace onnxray::testing
