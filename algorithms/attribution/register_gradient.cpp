// Methods that read gradients of the model as it is.
#include "algorithms/attribution/gradient_methods.h"
#include "algorithms/attribution/integrated_gradients.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const Saliency&, const Request&);
template Attribution attribute(const Model&, const InputXGradient&, const Request&);
template Attribution attribute(const Model&, const IntegratedGradients&, const Request&);

void add_gradient_methods(std::vector<MethodInfo>& list) {
  list.push_back({.name = "saliency",
                  .title = "Saliency",
                  .paper = "Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, 2013",
                  .formula = "|dF/dx|",
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<Saliency>});
  list.push_back({.name = "input-x-gradient",
                  .title = "Input x Gradient",
                  .paper = "Shrikumar, Greenside, Shcherbina, Kundaje, Not Just a Black Box, 2016",
                  .formula = "x * dF/dx",
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<InputXGradient>});
  list.push_back({.name = "integrated-gradients",
                  .title = "Integrated Gradients",
                  .paper = "Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, 2017",
                  .formula = "(x - x') * integral over alpha of dF(x' + alpha (x - x'))/dx",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<IntegratedGradients>});
}

}  // namespace onnxray
