// Parts of the norm family.
#pragma once
#include "engine/backend.h"

namespace onnxray::cpu {

void register_softmax(Backend& b);  // softmax.cpp

}  // namespace onnxray::cpu
