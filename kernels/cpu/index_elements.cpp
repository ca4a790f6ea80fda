#include "kernels/cpu/index.h"

namespace onnxray::cpu {

void register_index_elements(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
