#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

void register_index(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
