#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

void register_activation(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
