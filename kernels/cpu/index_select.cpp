#include "kernels/cpu/index.h"

namespace onnxray::cpu {

void register_index_select(Backend& b) { (void)b; }

}  // namespace onnxray::cpu
