#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

void register_pool(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
