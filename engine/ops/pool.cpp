#include "engine/ops/families.h"

namespace onnxray {

void register_pool_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
