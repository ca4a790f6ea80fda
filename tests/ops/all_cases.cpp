#include "tests/ops/sample.h"

namespace onnxray::testing {

const std::vector<OpCase>& all_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> c;
    add_elementwise_cases(c);
    add_activation_cases(c);
    add_matmul_cases(c);
    add_attention_cases(c);
    add_conv_cases(c);
    add_pool_cases(c);
    add_norm_cases(c);
    add_reduce_cases(c);
    add_layout_cases(c);
    add_index_cases(c);
    add_row_cases(c);
    add_random_cases(c);
    add_patch_cases(c);
    return c;
  }();
  return cases;
}

}  // namespace onnxray::testing
