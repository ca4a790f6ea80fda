#include "engine/builder.h"
#include "engine/ops/norm.h"

namespace onnxray {
void register_normalisation_ops(OpRegistry& r) { (void)r; }
}  // namespace onnxray
