#include "engine/ops/families.h"

namespace onnxray {

void register_conv_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
