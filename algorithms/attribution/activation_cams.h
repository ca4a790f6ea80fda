// Class activation maps without gradients: of the layer's values alone, of channels left out, of inputs masked by
// channels.
#pragma once
#include "algorithms/attribution/cam.h"

namespace onnxray {

// M = A v_1, with A [positions, channels] = U S V^T and v_1 the first right singular vector: the projection of the
// layer on its first principal direction, for no class in particular. Muhammad, Yeasin, "Eigen-CAM", IJCNN 2020,
// equation 3. The sign of v_1 is free; it is the one for which the map's sum is not negative.
struct EigenCam {
  bool relu_attributions = false;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// w_k = (F - F_k) / F, F_k the scalar with channel k of the layer set to zero; relu of the sum. Desai, Ramaswamy,
// "Ablation-CAM", WACV 2020, equations 6 and 7. With F < 0 the weights change sign, as they do in the paper. Only what
// lies behind the layer is run, once for each channel.
struct AblationCam {
  bool relu_attributions = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

// w = softmax over channels of F(x * H_k), H_k the channel scaled to [0, 1] and enlarged to the picture, bilinear for
// grids of two axes; relu of the sum. Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM", CVPR workshops
// 2020, equations 5 to 8 and algorithm 1. The score of the baseline that the paper subtracts is the same for every
// channel and cancels in the softmax. A channel without variation masks nothing and gets the weight 0.
struct ScoreCam {
  bool relu_attributions = true;
  LayerGrid grid;
  void visit(OptionVisitor& v) { visit_map(v, *this); }
};

Attribution run_method(const Model& model, const EigenCam& options, const Request& request);
Attribution run_method(const Model& model, const AblationCam& options, const Request& request);
Attribution run_method(const Model& model, const ScoreCam& options, const Request& request);

}  // namespace onnxray
