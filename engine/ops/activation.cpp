#include "engine/ops/families.h"

namespace onnxray {

void register_activation_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
