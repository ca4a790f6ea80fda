// Gradients whose ReLUs pass only what speaks for the scalar.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// The gradient, with every ReLU's backward step x > 0 and dy > 0 ? dy : 0. A clip from 0 (ReLU6) counts as a ReLU,
// other activations keep their gradient. Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity: The All
// Convolutional Net", 2014.
struct GuidedBackprop {
  void visit(OptionVisitor&) {}
};

// The same with dy > 0 ? dy : 0, wherever the ReLU was open. Zeiler, Fergus, "Visualizing and Understanding
// Convolutional Networks", 2013.
struct Deconvolution {
  void visit(OptionVisitor&) {}
};

Attribution run_method(const Model& model, const GuidedBackprop& options, const Request& request);
Attribution run_method(const Model& model, const Deconvolution& options, const Request& request);

}  // namespace onnxray
