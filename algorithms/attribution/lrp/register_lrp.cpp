// Layer-wise relevance propagation and its relatives.
#include "algorithms/attribution/lrp/lrp.h"
#include "algorithms/method_of.h"

namespace onnxray {

template Attribution attribute(const Model&, const Lrp&, const Request&);
template Attribution attribute(const Model&, const AttnLrp&, const Request&);
template Attribution attribute(const Model&, const ExcitationBackprop&, const Request&);

void add_lrp_methods(std::vector<MethodInfo>& list) {
  list.push_back({.name = "lrp",
                  .title = "Layer-wise Relevance Propagation",
                  .paper =
                      "Bach, Binder, Montavon, Klauschen, Mueller, Samek, On Pixel-Wise Explanations for Non-Linear "
                      "Classifier Decisions by Layer-Wise Relevance Propagation, 2015",
                  .formula = "R_i = sum over j of x_i w_ij / (z_j + epsilon sign(z_j)) R_j, by rule and layer",
                  .conserves = true,
                  .from = "inputs, layers",
                  .to = "any scalar before a softmax",
                  .make = make_method<Lrp>,
                  .cost = "1",
                  .captum = {{"LRP", ""}, {"LayerLRP", "--from LAYER"}},
                  .differs_from_captum =
                      "Rules belong to the request, not to the model, and last; the model is not changed. Functional "
                      "activations and residual sums have rules, batch norm is folded. gamma and alpha-beta treat "
                      "negative inputs and outputs by their sign, as zennit does, and gamma strengthens biases too; "
                      "Captum strengthens or keeps positive weights whatever the input's sign. delta is "
                      "sum(attributions) - F(x), the opposite of Captum's."});
  list.push_back({.name = "attn-lrp",
                  .title = "AttnLRP",
                  .paper = "Achtibat, Hatefi, Dreyer, Jain, Wiegand, Lapuschkin, Samek, AttnLRP: Attention-Aware "
                           "Layer-Wise Relevance Propagation for Transformers, 2024",
                  .formula = "LRP-epsilon; softmax: R_i = x_i (R_i - y_i sum R); products: half to each factor",
                  .conserves = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<AttnLrp>,
                  .cost = "1"});
  list.push_back({.name = "excitation-backprop",
                  .title = "Excitation Backprop",
                  .paper = "Zhang, Lin, Brandt, Shen, Sclaroff, Top-Down Neural Attention by Excitation Backprop, 2016",
                  .formula = "P_i = sum over j of x_i w+_ij / (sum over i of x_i w+_ij) P_j",
                  .from = "inputs, layers",
                  .to = "any scalar before a softmax",
                  .make = make_method<ExcitationBackprop>,
                  .cost = "1"});
}

}  // namespace onnxray
