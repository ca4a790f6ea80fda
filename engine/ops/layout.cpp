#include "engine/ops/families.h"

namespace onnxray {

void register_layout_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
