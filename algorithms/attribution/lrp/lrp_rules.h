// Layer-wise relevance propagation as a RuleSet: how the relevance R of a node's output is shared among its inputs.
//   Bach, Binder, Montavon, Klauschen, Mueller, Samek, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
//   by Layer-Wise Relevance Propagation", PLoS ONE 2015. Montavon, Binder, Lapuschkin, Samek, Mueller, "Layer-Wise
//   Relevance Propagation: An Overview", 2019.
// With z_j = sum_i x_i w_ij + b_j, w = w+ + w-, x = x+ + x-, and stab(z) = z + e sign(z), sign(0) = 1:
//   epsilon     R_i = x_i sum_j w_ij R_j / stab(z_j)
//   gamma       w + gamma w+ in place of w where x > 0 and z > 0, w + gamma w- where the signs differ, b likewise
//   alpha-beta  alpha (x+ w+ + x- w-)_ij R_j / stab(z+_j) - beta (x+ w- + x- w+)_ij R_j / stab(z-_j), alpha - beta = 1
//   z-plus      alpha-beta with alpha = 1, beta = 0
//   z-box       (x_i w_ij - l_i w+_ij - h_i w-_ij) R_j / stab(its sum over i), for inputs in [l, h]
//   w-square    w_ij^2 R_j / stab(sum_i w_ij^2 + b_j^2)
//   flat        R_j shared equally among what the layer reads
//   identity    R_i = R_j
// Biases take their share of relevance away, unless they are ignored.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/rules.h"

namespace onnxray::lrp {

struct LayerRule {
  enum class Kind {
    kEpsilon,
    kGamma,
    kAlphaBeta,
    kZBox,
    kWSquare,
    kFlat,
    kIdentity,
  } kind = Kind::kEpsilon;
  double stabilizer = 1e-6;       // e
  double gamma = 0.25;            // kGamma
  double alpha = 2, beta = 1;     // kAlphaBeta
  std::vector<double> low, high;  // kZBox: one number, or one per channel
};

// What happens where two values that both carry relevance are multiplied, and at softmax.
enum class Products {
  // A factor that is a sigmoid or a softmax is a gate: the other one takes all (Arras et al. 2017 for LSTMs, Ali et al.
  // 2022 for attention). Without one gate, both take half.
  kGates,
  // Each factor takes half, and softmax is linearised at its input (Achtibat et al. 2024).
  kHalves,
};

struct Recipe {
  LayerRule convolution, dense;
  // The first weighted layer on paths from the model's inputs.
  std::optional<LayerRule> first_convolution, first_dense;
  std::map<std::string, LayerRule> by_value;  // of layers with this output; these go first
  Products products = Products::kGates;
  double stabilizer = 1e-6;  // of sums, averages and normalisations
  bool ignore_bias = false;
};

// carries: relevance, or kGradient to seed with 1 instead of the scalar.
[[nodiscard]] RuleSet rules_of(const Recipe& recipe, Carries carries = Carries::kRelevance);

// A layer (convolution, transposed convolution, matrix product with one active factor) under a rule.
void apply_layer(RuleCtx& c, const LayerRule& rule, bool ignore_bias);
// Whether the node is such a layer, and which constant behind it is its bias: the add (or sub) that handed it all its
// relevance, -1 without one.
[[nodiscard]] bool is_layer(const Node& node);
[[nodiscard]] NodeId bias_behind(const RuleCtx& c);

// z + e sign(z), sign(0) = 1.
[[nodiscard]] ValueId stabilised(Builder& b, ValueId z, double e);

}  // namespace onnxray::lrp
