// Every class of captum.attr but those for language models, and our spelling of it (MethodInfo::captum).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "algorithms/attribution.h"

namespace onnxray {
namespace {

const std::set<std::string>& classes_of_captum() {
  static const std::set<std::string> names = {
      // Primary.
      "IntegratedGradients", "Saliency", "InputXGradient", "GradientShap", "DeepLift", "DeepLiftShap", "GuidedBackprop",
      "Deconvolution", "GuidedGradCam", "LRP", "FeatureAblation", "FeaturePermutation", "Occlusion",
      "ShapleyValueSampling", "ShapleyValues", "LimeBase", "Lime", "KernelShap",
      // Layers.
      "LayerActivation", "LayerGradientXActivation", "LayerGradCam", "InternalInfluence", "LayerConductance",
      "LayerIntegratedGradients", "LayerDeepLift", "LayerDeepLiftShap", "LayerGradientShap", "LayerFeatureAblation",
      "LayerFeaturePermutation", "LayerLRP",
      // Neurons.
      "NeuronGradient", "NeuronIntegratedGradients", "NeuronConductance", "NeuronDeepLift", "NeuronDeepLiftShap",
      "NeuronGradientShap", "NeuronGuidedBackprop", "NeuronDeconvolution", "NeuronFeatureAblation",
      // Wrappers.
      "NoiseTunnel", "DataLoaderAttribution"};
  return names;
}

TEST(CaptumCoverage, EveryClassHasASpelling) {
  EXPECT_EQ(classes_of_captum().size(), 18u + 12 + 9 + 2);
  std::map<std::string, std::string> spelling;
  for (const MethodInfo& m : methods()) {
    for (const CaptumClass& c : m.captum) {
      EXPECT_TRUE(classes_of_captum().contains(c.name)) << m.name << " names '" << c.name << "', no class of Captum";
      std::string& text = spelling[c.name];
      text += (text.empty() ? "" : ", or ") + m.name + (c.arguments.empty() ? "" : " " + c.arguments);
      // A layer or a neuron is an argument, never another method.
      const bool layer = c.name.starts_with("Layer"), neuron = c.name.starts_with("Neuron");
      if (layer) {
        EXPECT_NE(c.arguments.find("--from LAYER"), std::string::npos) << c.name;
      }
      if (neuron) {
        EXPECT_NE(c.arguments.find("--"), std::string::npos) << c.name;
      }
    }
  }
  // A build may leave out the family of layer-wise relevance propagation.
  const bool with_lrp =
      std::any_of(methods().begin(), methods().end(), [](const MethodInfo& m) { return m.name == "lrp"; });
  for (const std::string& name : classes_of_captum()) {
    const bool here = spelling.contains(name);
    if (here) RecordProperty(name, spelling[name]);
    const bool left_out = !with_lrp && name.ends_with("LRP");
    EXPECT_TRUE(here || left_out) << name << " has no spelling";
  }
}

}  // namespace
}  // namespace onnxray
