// Layer-wise relevance propagation and its relatives. The whole family is one CMake target (ONNXRAY_LRP): patents are
// claimed on it.
#pragma once
#include <string>
#include <vector>

#include "algorithms/attribution.h"

namespace onnxray {

// Relevance of the scalar, handed back layer by layer (Bach et al. 2015; the rules with their formulas are in
// algorithms/attribution/lrp/lrp_rules.h). One rule for all weighted layers, or a composite, which chooses by the kind
// of layer and treats the first one on its own:
//                              convolutions      dense layers     first layer
//   epsilon-plus               z-plus            epsilon
//   epsilon-plus-flat          z-plus            epsilon          flat
//   epsilon-alpha2-beta1       alpha2 beta1      epsilon
//   epsilon-alpha2-beta1-flat  alpha2 beta1      epsilon          flat
//   epsilon-gamma-box          gamma             epsilon          z-box (a convolution)
//   preset-a                   z-plus            epsilon (0.1)
//   preset-a-flat              z-plus            epsilon (0.1)    flat
//   preset-b                   alpha2 beta1      epsilon (0.1)
//   preset-b-flat              alpha2 beta1      epsilon (0.1)    flat
// The first six rows are zennit's (Anders et al. 2021), presets A and B iNNvestigate's (Alber et al. 2019). Activations
// pass relevance on; sums, averages and normalisations (their deviation held fixed) share it in proportion; maxima hand
// it to the winner; of a product with a sigmoid or softmax gate the other factor takes all, of other products each
// factor takes half. Batch norm is folded. What sum(attributions) lacks of the scalar is the result's delta: the share
// of biases and stabilisers.
struct Lrp {
  std::string rule = "epsilon";
  std::string composite = "none";
  double epsilon = -1, gamma = 0.25, alpha = 2, beta = 1, stabilizer = 1e-6;
  std::vector<double> low = {0}, high = {0};
  std::string rules;
  bool ignore_bias = false;
  void visit(OptionVisitor& v) {
    v({.name = "rule",
       .description = "of all weighted layers (z-box: of the first ones, epsilon elsewhere)",
       .choices = {"epsilon", "gamma", "alpha-beta", "z-plus", "z-box", "w-square", "flat", "identity"}},
      rule);
    v({.name = "composite",
       .description = "a choice of rules by kind of layer, instead of `rule`",
       .choices = {"none", "epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat",
                   "epsilon-gamma-box", "preset-a", "preset-a-flat", "preset-b", "preset-b-flat"}},
      composite);
    v({.name = "epsilon", .description = "of the epsilon rule; -1: 1e-6, in presets 0.1", .lo = -1, .hi = 1e6},
      epsilon);
    v({.name = "gamma", .description = "of the gamma rule", .lo = 0, .hi = 1e6}, gamma);
    v({.name = "alpha", .description = "of the alpha-beta rule, alpha - beta = 1", .lo = 1, .hi = 1e6}, alpha);
    v({.name = "beta", .description = "of the alpha-beta rule", .lo = 0, .hi = 1e6}, beta);
    v({.name = "stabilizer", .description = "added to the denominators of all other rules", .lo = 0, .hi = 1},
      stabilizer);
    v({.name = "low",
       .description = "smallest input of z-box: one number, or one per channel; must be given, with high"},
      low);
    v({.name = "high", .description = "largest input of z-box"}, high);
    v({.name = "rules", .description = "rules of single layers by their output: conv1=flat,fc=gamma"}, rules);
    v({.name = "ignore_bias", .description = "biases take no relevance"}, ignore_bias);
  }
};

// LRP for transformers: epsilon in linear layers (gamma where gamma > 0), halves for products of two values, softmax by
// its first-order Taylor expansion R_i = x_i (R_i - y_i sum_j R_j), activations pass relevance on, normalisations hold
// their deviation fixed. Relevance is conserved but for biases, stabilisers and the constant term of softmax.
//   Achtibat, Hatefi, Dreyer, Jain, Wiegand, Lapuschkin, Samek, "AttnLRP: Attention-Aware Layer-Wise Relevance
//   Propagation for Transformers", ICML 2024.
struct AttnLrp {
  double epsilon = 1e-6, gamma = 0;
  bool ignore_bias = false;
  void visit(OptionVisitor& v) {
    v({.name = "epsilon", .description = "stabilises denominators", .lo = 0, .hi = 1e6}, epsilon);
    v({.name = "gamma", .description = "above 0: the gamma rule in linear layers", .lo = 0, .hi = 1e6}, gamma);
    v({.name = "ignore_bias", .description = "biases take no relevance"}, ignore_bias);
  }
};

// Marginal winning probabilities of the inputs, P(i) = sum_j x_i w+_ij / (sum_i x_i w+_ij) P(j), from 1 at the scalar;
// negative inputs count with negative weights, as in z-plus.
//   Zhang, Lin, Brandt, Shen, Sclaroff, "Top-Down Neural Attention by Excitation Backprop", ECCV 2016.
struct ExcitationBackprop {
  void visit(OptionVisitor&) {}
};

Attribution run_method(const Model& model, const Lrp& options, const Request& request);
Attribution run_method(const Model& model, const AttnLrp& options, const Request& request);
Attribution run_method(const Model& model, const ExcitationBackprop& options, const Request& request);

}  // namespace onnxray
