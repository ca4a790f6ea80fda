#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

void register_conv(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
