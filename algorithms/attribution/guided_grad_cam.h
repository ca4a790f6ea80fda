// Guided Grad-CAM: guided backprop at the inputs times the layer's Grad-CAM, relu'd and brought to the inputs'
// positions. Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM", ICCV 2017, section 3.2; Captum's
// GuidedGradCam.
#pragma once
#include "algorithms/attribution/cam.h"
#include "algorithms/interpolate.h"

namespace onnxray {

struct GuidedGradCam {
  std::string layer;  // of the map; empty: the last value with positions
  std::string interpolate_mode = "nearest";
  LayerGrid grid;
  void visit(OptionVisitor& v) {
    v({.name = "layer", .description = "the map's layer; default: the last value with positions"}, layer);
    v({.name = "interpolate_mode",
       .description = "how the map is brought to the input's positions",
       .choices = interpolation_modes()},
      interpolate_mode);
    grid.visit(v);
  }
};

// `from` names inputs whose positions have as many axes as the layer's; others are left out, and a notice says so.
Attribution run_method(const Model& model, const GuidedGradCam& options, const Request& request);

}  // namespace onnxray
