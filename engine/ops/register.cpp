#include "engine/ops/families.h"

namespace onnxray {

const OpRegistry& ops() {
  static const OpRegistry registry = [] {
    OpRegistry r;
    register_elementwise_ops(r);
    register_activation_ops(r);
    register_matmul_ops(r);
    register_attention_ops(r);
    register_conv_ops(r);
    register_pool_ops(r);
    register_norm_ops(r);
    register_reduce_ops(r);
    register_layout_ops(r);
    register_index_ops(r);
    register_sequence_ops(r);
    register_row_ops(r);
    register_random_ops(r);
    register_patch_ops(r);
    return r;
  }();
  return registry;
}

}  // namespace onnxray
