// Methods that read gradients of the model as it is.
#include "algorithms/attribution/activation.h"
#include "algorithms/attribution/adaptive_integrated_gradients.h"
#include "algorithms/attribution/blur_integrated_gradients.h"
#include "algorithms/attribution/conductance.h"
#include "algorithms/attribution/gradient_methods.h"
#include "algorithms/attribution/gradient_shap.h"
#include "algorithms/attribution/guided_integrated_gradients.h"
#include "algorithms/attribution/integrated_gradients.h"
#include "algorithms/attribution/internal_influence.h"
#include "algorithms/attribution/noise_tunnel.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const Saliency&, const Request&);
template Attribution attribute(const Model&, const InputXGradient&, const Request&);
template Attribution attribute(const Model&, const GradientXActivation&, const Request&);
template Attribution attribute(const Model&, const Activation&, const Request&);
template Attribution attribute(const Model&, const IntegratedGradients&, const Request&);
template Attribution attribute(const Model&, const AdaptiveIntegratedGradients&, const Request&);
template Attribution attribute(const Model&, const GuidedIntegratedGradients&, const Request&);
template Attribution attribute(const Model&, const BlurIntegratedGradients&, const Request&);
template Attribution attribute(const Model&, const GradientShap&, const Request&);
template Attribution attribute(const Model&, const ExpectedGradients&, const Request&);
template Attribution attribute(const Model&, const InternalInfluence&, const Request&);
template Attribution attribute(const Model&, const Conductance&, const Request&);
template Attribution attribute(const Model&, const NoiseTunnel&, const Request&);

namespace {

void add_plain_gradients(std::vector<MethodInfo>& list) {
  list.push_back({.name = "saliency",
                  .title = "Saliency",
                  .paper = "Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, 2013",
                  .formula = "|dF/dx|",
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<Saliency>,
                  .cost = "1, with gradient",
                  .captum = {{"Saliency", ""}, {"NeuronGradient", "--abs false --to LAYER:INDEX"}}});
  list.push_back({.name = "input-x-gradient",
                  .title = "Input x Gradient",
                  .paper = "Shrikumar, Greenside, Shcherbina, Kundaje, Not Just a Black Box, 2016",
                  .formula = "x * dF/dx",
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<InputXGradient>,
                  .cost = "1, with gradient",
                  .captum = {{"InputXGradient", ""}}});
  list.push_back({.name = "gradient-x-activation",
                  .title = "Gradient x Activation",
                  .paper = "Shrikumar, Greenside, Shcherbina, Kundaje, Not Just a Black Box, 2016",
                  .formula = "y * dF/dy for a layer's values y",
                  .from = "layers, inputs; several in one pass",
                  .to = "any scalar",
                  .make = make_method<GradientXActivation>,
                  .cost = "1, with gradient",
                  .captum = {{"LayerGradientXActivation", "--from LAYER"}}});
  list.push_back({.name = "activation",
                  .title = "Activation",
                  .paper = "the values of a layer themselves; Kokhlikyan et al., Captum, 2020",
                  .formula = "y",
                  .explains_scalar = false,
                  .from = "layers, inputs; several in one pass",
                  .to = "not needed",
                  .make = make_method<Activation>,
                  .cost = "1",
                  .captum = {{"LayerActivation", "--from LAYER"}}});
}

void add_paths(std::vector<MethodInfo>& list) {
  list.push_back({.name = "integrated-gradients",
                  .title = "Integrated Gradients",
                  .paper = "Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, 2017",
                  .formula = "(x - x') * integral over alpha of dF(x' + alpha (x - x'))/dx",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<IntegratedGradients>,
                  .cost = "n_steps with gradient + 2",
                  .captum = {{"IntegratedGradients", ""},
                             {"LayerIntegratedGradients", "--from LAYER"},
                             {"NeuronIntegratedGradients", "--to LAYER:INDEX"}},
                  .differs_from_captum =
                      "The weights of riemann_trapezoid sum to 1; Captum's sum to (n - 1) / n. Nodes and weights "
                      "are float64; Captum rounds them to float32."});
  list.push_back({.name = "adaptive-integrated-gradients",
                  .title = "Adaptive Integrated Gradients",
                  .paper = "Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, 2017; steps by adaptive "
                           "quadrature on the known completeness error",
                  .formula =
                      "(x - x') * integral over alpha of dF(x' + alpha (x - x'))/dx, steps placed until |delta| <= "
                      "max_delta",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<AdaptiveIntegratedGradients>,
                  .cost = "at least 16 with gradient + 5, at most max_steps"});
  list.push_back({.name = "guided-integrated-gradients",
                  .title = "Guided Integrated Gradients",
                  .paper = "Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi, Guided Integrated Gradients: an "
                           "Adaptive Path Method for Removing Noise, 2021",
                  .formula = "sum of dF/dx_i * (change of x_i) on a path that moves the features of smallest |dF/dx_i| "
                             "first",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<GuidedIntegratedGradients>,
                  .cost = "n_steps with gradient + 2, per scalar"});
  list.push_back({.name = "blur-integrated-gradients",
                  .title = "Blur Integrated Gradients",
                  .paper = "Xu, Venugopalan, Sundararajan, Attribution in Scale and Space, 2020",
                  .formula = "integral over sigma from max_sigma to 0 of dF/dL * dL/dsigma, L = x blurred with sigma",
                  .completeness = true,
                  .from = "images: inputs and layers [..., H, W]",
                  .to = "any scalar",
                  .make = make_method<BlurIntegratedGradients>,
                  .cost = "n_steps with gradient + 2"});
}

void add_samplers(std::vector<MethodInfo>& list) {
  list.push_back(
      {.name = "gradient-shap",
       .title = "Gradient SHAP",
       .paper = "Lundberg, Lee, A Unified Approach to Interpreting Model Predictions, 2017",
       .formula = "E of (x~ - b) * dF/dx at alpha x~ + (1 - alpha) b; x~ = x + noise, b from a sample, alpha ~ U(0, 1)",
       .needs_baseline = true,
       .stochastic = true,
       .completeness = true,
       .baseline_sample = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make_method<GradientShap>,
       .cost = "n_samples with gradient + n_samples + 1; with noise n_samples more",
       .captum = {{"GradientShap", ""},
                  {"LayerGradientShap", "--from LAYER"},
                  {"NeuronGradientShap", "--to LAYER:INDEX"}},
       .differs_from_captum =
           "A baseline is one row of the sample for all inputs together; Captum draws one for each "
           "input. Draws are Philox numbers keyed by seed, example and sample. delta is one number per "
           "example, for the mean over its draws."});
  list.push_back({.name = "expected-gradients",
                  .title = "Expected Gradients",
                  .paper =
                      "Erion, Janizek, Sturmfels, Lundberg, Lee, Improving performance of deep learning models with "
                      "axiomatic attribution priors and expected gradients, 2021",
                  .formula = "E over b from a sample, alpha ~ U(0, 1) of (x - b) * dF/dx at b + alpha (x - b)",
                  .needs_baseline = true,
                  .stochastic = true,
                  .completeness = true,
                  .baseline_sample = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<ExpectedGradients>,
                  .cost = "n_samples with gradient + n_samples + 1"});
}

void add_layer_methods(std::vector<MethodInfo>& list) {
  list.push_back({.name = "internal-influence",
                  .title = "Internal Influence",
                  .paper = "Leino, Sen, Datta, Fredrikson, Li, Influence-Directed Explanations for Deep Convolutional "
                           "Networks, 2018",
                  .formula = "integral over alpha of dF/dy at x' + alpha (x - x')",
                  .needs_baseline = true,
                  .from = "layers, inputs; several in one sweep",
                  .to = "any scalar",
                  .make = make_method<InternalInfluence>,
                  .cost = "n_steps with gradient + 2",
                  .captum = {{"InternalInfluence", "--from LAYER"}},
                  .differs_from_captum = "The weights of riemann_trapezoid sum to 1."});
  list.push_back(
      {.name = "conductance",
       .title = "Conductance",
       .paper = "Dhamdhere, Sundararajan, Yan, How Important Is a Neuron?, 2019",
       .formula = "integral over alpha of dF/dy * dy/dalpha at x' + alpha (x - x')",
       .needs_baseline = true,
       .completeness = true,
       .from = "layers, inputs; several in one sweep",
       .to = "any scalar",
       .make = make_method<Conductance>,
       .cost = "n_steps with gradient and tangent + 2",
       .captum = {{"LayerConductance", "--from LAYER"}, {"NeuronConductance", "--through LAYER:INDEX"}},
       .differs_from_captum =
           "dy/dalpha is the exact derivative along the path with the rule's own weights, so every rule is complete in "
           "the limit and a layer's values are the sums of its neurons' conductances. Captum multiplies the gradient "
           "at "
           "a node by the change of y to the next one. With riemann_trapezoid that is --increments difference "
           "--quadrature riemann_left here; with its other rules the nodes miss ends of the path, and the sum with "
           "them."});
}

}  // namespace

void add_gradient_methods(std::vector<MethodInfo>& list) {
  add_plain_gradients(list);
  add_paths(list);
  add_samplers(list);
  add_layer_methods(list);
  list.push_back({.name = "noise-tunnel",
                  .title = "Noise Tunnel",
                  .paper = "Smilkov, Thorat, Kim, Viegas, Wattenberg, SmoothGrad: removing noise by adding noise, 2017",
                  .formula = "mean, mean square or variance over samples of method(x + noise)",
                  .stochastic = true,
                  .from = "what the inner method supports",
                  .to = "what the inner method supports",
                  .make = make_method<NoiseTunnel>,
                  .cost = "nt_samples times the inner method's + 1",
                  .captum = {{"NoiseTunnel", "--inner METHOD"}}});
}

}  // namespace onnxray
