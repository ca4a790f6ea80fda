#include "engine/ops/norm.h"
#include "engine/builder.h"
#include "engine/ops/families.h"

namespace onnxray {

void register_norm_ops(OpRegistry& r) {
  register_softmax_ops(r);
  register_normalisation_ops(r);
}

}  // namespace onnxray
