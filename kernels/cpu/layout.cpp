#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

void register_layout(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
