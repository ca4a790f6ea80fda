// Class activation maps whose weights are gradients of the scalar with respect to the layer, g_k(p) = dF/dA_k(p).
// Z is the number of positions. A layer without positions (a dense one) counts as one position, as in Captum.
#pragma once
#include "algorithms/attribution/cam.h"

namespace onnxray {

// w_k = 1/Z sum over p of g_k(p). Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM", ICCV 2017, equations 1
// and 2. Captum's LayerGradCam with its defaults: no ReLU unless it is asked for, although the paper's equation 2 has
// it.
struct GradCam {
  bool relu_attributions = false;
  bool attr_dim_summation = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// w_k = sum over p of a_k(p) relu(g_k(p)), a_k(p) = g_k(p)^2 / (2 g_k(p)^2 + sum over q of A_k(q) g_k(p)^3), zero where
// the denominator is. Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++", WACV 2018, equations 17 and 19,
// for the score Y = exp(F) whose derivatives they take; the factor exp(F) > 0 that all weights share is left out.
struct GradCamPlusPlus {
  bool relu_attributions = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// M(p) = sum over k of g_k(p) A_k(p): gradients are not averaged. Draelos, Carin, "Use HiResCAM instead of Grad-CAM for
// faithful explanations", 2020, equation 3.
struct HiResCam {
  bool relu_attributions = false;
  bool attr_dim_summation = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// M(p) = relu(sum over k of relu(g_k(p)) A_k(p)). Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM", IEEE TIP 2021, equations 5
// to 7.
struct LayerCam {
  bool relu_attributions = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// w_k = sum over p of g_k(p) A_k(p) / sum over q of A_k(q), zero where that sum is. Fu, Hu, Dong, Guo, Gao, Li,
// "Axiom-based Grad-CAM", BMVC 2020, equation 12.
struct XGradCam {
  bool relu_attributions = false;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

Attribution run_method(const Model& model, const GradCam& options, const Request& request);
Attribution run_method(const Model& model, const GradCamPlusPlus& options, const Request& request);
Attribution run_method(const Model& model, const HiResCam& options, const Request& request);
Attribution run_method(const Model& model, const LayerCam& options, const Request& request);
Attribution run_method(const Model& model, const XGradCam& options, const Request& request);

}  // namespace onnxray
