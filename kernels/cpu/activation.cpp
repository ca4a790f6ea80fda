#include "kernels/cpu/cpu.h"
#include "kernels/cpu/elementwise_family.h"

namespace onnxray::cpu {

void register_activation(Backend& b) {
  for (const char* op : {"relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "softsign", "gelu", "gelu_tanh",
                         "swish", "mish", "clip", "hard_sigmoid", "hard_swish", "thresholded_relu", "shrink"}) {
    b.add(op, prepare_unary);
  }
  for (const char* op :
       {"prelu", "relu_grad", "leaky_relu_grad", "elu_grad", "sigmoid_grad", "tanh_grad", "gelu_grad", "gelu_tanh_grad",
        "swish_grad", "mish_grad", "clip_grad", "hard_sigmoid_grad", "hard_swish_grad"}) {
    b.add(op, prepare_binary);
  }
}

}  // namespace onnxray::cpu
