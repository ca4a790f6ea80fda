// Methods that replace parts of the input and watch the scalar.
#include "algorithms/attribution/occlusion.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const Occlusion&, const Request&);

void add_perturbation_methods(std::vector<MethodInfo>& list) {
  list.push_back({.name = "occlusion",
                  .title = "Occlusion",
                  .paper = "Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, 2013",
                  .formula = "mean over windows of F(x) - F(x with window := baseline)",
                  .needs_baseline = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<Occlusion>});
}

}  // namespace onnxray
