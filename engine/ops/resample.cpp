#include "engine/ops/layout.h"

namespace onnxray {

void register_resample_ops(OpRegistry& r) { (void)r; }

}  // namespace onnxray
