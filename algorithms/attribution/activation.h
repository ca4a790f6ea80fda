// The values themselves.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// The contents of the `from` values. A scalar is not needed; where one is asked for, its value is reported.
struct Activation {
  void visit(OptionVisitor&) {}
};

Attribution run_method(const Model& model, const Activation& options, const Request& request);

}  // namespace onnxray
