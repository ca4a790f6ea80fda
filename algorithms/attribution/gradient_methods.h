// Methods that read the gradient at the input once.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// |dF/dx| or dF/dx. Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2013.
struct Saliency {
  bool abs = true;
  void visit(OptionVisitor& v) { v({.name = "abs", .description = "absolute value of the gradient"}, abs); }
};

// x * dF/dx. Shrikumar et al., "Not Just a Black Box", 2016.
struct InputXGradient {
  void visit(OptionVisitor&) {}
};

// y * dF/dy for the values y of layers, all in one pass (Captum's LayerGradientXActivation).
struct GradientXActivation {
  bool multiply_by_inputs = true;
  void visit(OptionVisitor& v) {
    v({.name = "multiply_by_inputs", .description = "multiply the gradient by the value"}, multiply_by_inputs);
  }
};

// The signed gradients behind both, and behind the plain gradient API. `phase` names them in progress reports.
Attribution gradients_at(const Model& model, const Request& request, const char* phase);

Attribution run_method(const Model& model, const Saliency& options, const Request& request);
Attribution run_method(const Model& model, const InputXGradient& options, const Request& request);
Attribution run_method(const Model& model, const GradientXActivation& options, const Request& request);

}  // namespace onnxray
