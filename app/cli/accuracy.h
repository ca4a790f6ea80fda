// The errors of a device's float32 modes on a model.
#pragma once
#include "app/cli/verbs.h"

namespace onnxray::app {

// Prints, or as JSON, for every mode of --device the relative Euclidean error of the scalar and of its gradient with
// respect to the inputs, against float64 on the CPU.
void print_accuracy(const Arguments& args, const NamedTensors& inputs, const Scalar& scalar);

}  // namespace onnxray::app
