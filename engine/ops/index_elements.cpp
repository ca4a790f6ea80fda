#include "engine/ops/layout.h"

namespace onnxray {

void register_elements_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
