// Parts of the norm family and what they share.
#pragma once
#include "engine/op.h"

namespace onnxray {

void register_softmax_ops(OpRegistry& r);        // softmax, log_softmax
void register_normalisation_ops(OpRegistry& r);  // layer_norm, rms_norm, batch_norm

}  // namespace onnxray
