// Methods that override gradients by rules (engine/rules.h).
#include "algorithms/method_of.h"

namespace onnxray {

void add_rule_methods(std::vector<MethodInfo>&) {}

}  // namespace onnxray
