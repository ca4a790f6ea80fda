// Class activation maps.
#include "algorithms/attribution/activation_cams.h"
#include "algorithms/attribution/gradient_cams.h"
#include "algorithms/attribution/guided_grad_cam.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const GradCam&, const Request&);
template Attribution attribute(const Model&, const GradCamPlusPlus&, const Request&);
template Attribution attribute(const Model&, const HiResCam&, const Request&);
template Attribution attribute(const Model&, const LayerCam&, const Request&);
template Attribution attribute(const Model&, const XGradCam&, const Request&);
template Attribution attribute(const Model&, const EigenCam&, const Request&);
template Attribution attribute(const Model&, const AblationCam&, const Request&);
template Attribution attribute(const Model&, const ScoreCam&, const Request&);
template Attribution attribute(const Model&, const GuidedGradCam&, const Request&);

void add_cam_methods(std::vector<MethodInfo>& list) {
  const char* layers = "layers; the last one with positions by default";
  list.push_back(
      {.name = "grad-cam",
       .title = "Grad-CAM",
       .paper = "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, Grad-CAM, 2017",
       .formula = "sum over channels of A_k * mean over positions of dF/dA_k",
       .is_map = true,
       .from = layers,
       .to = "any scalar",
       .make = make_method<GradCam>,
       .cost = "1 forward, K backward",
       .captum = {{"LayerGradCam", "--from LAYER"}},
       .differs_from_captum =
           "The layer is found where none is named, and layers of tokens [tokens, channels] are read as grids. "
           "Captum takes their first axis for channels; --layout channels_first does so too."});
  list.push_back({.name = "grad-cam-plus-plus",
                  .title = "Grad-CAM++",
                  .paper = "Chattopadhay, Sarkar, Howlader, Balasubramanian, Grad-CAM++, 2018",
                  .formula =
                      "relu of sum over k of A_k * sum of a_k relu(g_k), a_k = g_k^2 / (2 g_k^2 + g_k^3 sum A_k), "
                      "g_k = dF/dA_k",
                  .is_map = true,
                  .from = layers,
                  .to = "any scalar",
                  .make = make_method<GradCamPlusPlus>,
                  .cost = "1 forward, K backward"});
  list.push_back({.name = "hires-cam",
                  .title = "HiResCAM",
                  .paper = "Draelos, Carin, Use HiResCAM instead of Grad-CAM for faithful explanations, 2020",
                  .formula = "sum over channels of A_k dF/dA_k",
                  .is_map = true,
                  .from = layers,
                  .to = "any scalar",
                  .make = make_method<HiResCam>,
                  .cost = "1 forward, K backward"});
  list.push_back({.name = "layer-cam",
                  .title = "LayerCAM",
                  .paper = "Jiang, Zhang, Hou, Cheng, Wei, LayerCAM, 2021",
                  .formula = "relu of sum over channels of A_k relu(dF/dA_k)",
                  .is_map = true,
                  .from = layers,
                  .to = "any scalar",
                  .make = make_method<LayerCam>,
                  .cost = "1 forward, K backward"});
  list.push_back({.name = "xgrad-cam",
                  .title = "XGrad-CAM",
                  .paper = "Fu, Hu, Dong, Guo, Gao, Li, Axiom-based Grad-CAM, 2020",
                  .formula = "sum over channels of A_k * (sum of A_k dF/dA_k) / (sum of A_k)",
                  .is_map = true,
                  .from = layers,
                  .to = "any scalar",
                  .make = make_method<XGradCam>,
                  .cost = "1 forward, K backward"});
  list.push_back({.name = "eigen-cam",
                  .title = "Eigen-CAM",
                  .paper = "Muhammad, Yeasin, Eigen-CAM, 2020",
                  .formula = "A v_1, v_1 the first right singular vector of A [positions, channels]",
                  .is_map = true,
                  .from = layers,
                  .to = "none: the map is of the layer alone",
                  .make = make_method<EigenCam>,
                  .cost = "1 forward"});
  list.push_back({.name = "score-cam",
                  .title = "Score-CAM",
                  .paper = "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, Score-CAM, 2020",
                  .formula = "relu of sum over channels of A_k * softmax of F(x * A_k scaled to [0, 1] and enlarged)",
                  .is_map = true,
                  .from = "layers of models whose input has positions; the last one with positions by default",
                  .to = "any scalar",
                  .make = make_method<ScoreCam>,
                  .cost = "1 forward, and 1 forward for each channel"});
  list.push_back({.name = "ablation-cam",
                  .title = "Ablation-CAM",
                  .paper = "Desai, Ramaswamy, Ablation-CAM, 2020",
                  .formula = "relu of sum over channels of A_k (F - F with A_k := 0) / F",
                  .is_map = true,
                  .from = layers,
                  .to = "any scalar that is not 0",
                  .make = make_method<AblationCam>,
                  .cost = "1 + channels forward from the layer on"});
  list.push_back({.name = "guided-grad-cam",
                  .title = "Guided Grad-CAM",
                  .paper = "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, Grad-CAM, 2017",
                  .formula = "guided backprop * relu of the layer's Grad-CAM, enlarged",
                  .from = "inputs with positions; the map's layer is --layer",
                  .to = "any scalar",
                  .make = make_method<GuidedGradCam>,
                  .cost = "2 forward, 2 K backward",
                  .captum = {{"GuidedGradCam", "--layer LAYER"}},
                  .differs_from_captum =
                      "Every ReLU is guided, also functional and reused ones. An input without the layer's axes of "
                      "positions is left out with a notice, where Captum returns an empty tensor."});
}

}  // namespace onnxray
