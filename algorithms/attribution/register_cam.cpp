// Class activation maps.
#include "algorithms/method_of.h"

namespace onnxray {

void add_cam_methods(std::vector<MethodInfo>&) {}

}  // namespace onnxray
