#include "kernels/cpu/cpu.h"

namespace onnxray {

const Backend& cpu_backend() {
  static const Backend backend = [] {
    Backend b("cpu");
    b.wants_channels_last = true;
    cpu::register_elementwise(b);
    cpu::register_activation(b);
    cpu::register_matmul(b);
    cpu::register_conv(b);
    cpu::register_max_pool(b);
    cpu::register_average_pool(b);
    cpu::register_norm(b);
    cpu::register_reduce(b);
    cpu::register_layout(b);
    cpu::register_index(b);
    cpu::register_sequence(b);
    cpu::register_rows(b);
    cpu::register_random(b);
    cpu::register_patch(b);
    cpu::register_packed_masks(b);
    return b;
  }();
  return backend;
}

}  // namespace onnxray
