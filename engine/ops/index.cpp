#include "engine/ops/families.h"

namespace onnxray {

void register_index_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
