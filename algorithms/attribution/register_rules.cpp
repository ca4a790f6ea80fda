// Methods that override gradients by rules (engine/rules.h).
#include "algorithms/attribution/rules/deep_lift.h"
#include "algorithms/attribution/rules/guided.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const GuidedBackprop&, const Request&);
template Attribution attribute(const Model&, const Deconvolution&, const Request&);
template Attribution attribute(const Model&, const DeepLift&, const Request&);
template Attribution attribute(const Model&, const DeepLiftShap&, const Request&);

void add_rule_methods(std::vector<MethodInfo>& list) {
  list.push_back(
      {.name = "guided-backprop",
       .title = "Guided Backprop",
       .paper = "Springenberg, Dosovitskiy, Brox, Riedmiller, Striving for Simplicity: The All Convolutional "
                "Net, 2014",
       .formula = "dF/dx with x > 0 and dy > 0 ? dy : 0 behind every ReLU",
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make_method<GuidedBackprop>,
       .cost = "1",
       .captum = {{"GuidedBackprop", ""}, {"NeuronGuidedBackprop", "--to LAYER:INDEX"}},
       .differs_from_captum = "Functional and reused ReLUs and ReLU6 are guided too; a model without any gets "
                              "its plain gradient and a notice."});
  list.push_back({.name = "deconvolution",
                  .title = "Deconvolution",
                  .paper = "Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, 2013",
                  .formula = "dF/dx with dy > 0 ? dy : 0 behind every ReLU",
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<Deconvolution>,
                  .cost = "1",
                  .captum = {{"Deconvolution", ""}, {"NeuronDeconvolution", "--to LAYER:INDEX"}},
                  .differs_from_captum = "As for guided-backprop."});
  const char* differs =
      "Every activation has a rule, not a list of modules; products, normalisation and attention are complete, where "
      "Captum differentiates them. Softmax uses the exact rules of its primitives on each row; Captum subtracts a mean "
      "over the whole batch, which is not complete and lets examples change each other. In max-pooling, a place that "
      "did "
      "not move takes its own gradient; Captum takes that of the batch's first example.";
  list.push_back(
      {.name = "deep-lift",
       .title = "DeepLIFT",
       .paper = "Shrikumar, Greenside, Kundaje, Learning Important Features Through Propagating Activation "
                "Differences, 2017",
       .formula = "m (x - x'), m the product of slopes (y - y') / (x - x')",
       .needs_baseline = true,
       .completeness = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make_method<DeepLift>,
       .cost = "2",
       .captum = {{"DeepLift", ""}, {"LayerDeepLift", "--from LAYER"}, {"NeuronDeepLift", "--to LAYER:INDEX"}},
       .differs_from_captum = differs});
  list.push_back({.name = "deep-lift-shap",
                  .title = "DeepLIFT SHAP",
                  .paper = "Lundberg, Lee, A Unified Approach to Interpreting Model Predictions, 2017",
                  .formula = "mean over baselines x' of DeepLIFT",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<DeepLiftShap>,
                  .cost = "2 for each baseline",
                  .captum = {{"DeepLiftShap", ""},
                             {"LayerDeepLiftShap", "--from LAYER"},
                             {"NeuronDeepLiftShap", "--to LAYER:INDEX"}},
                  .differs_from_captum =
                      std::string(differs) + " delta is one number an example, against the mean over the baselines."});
}

}  // namespace onnxray
