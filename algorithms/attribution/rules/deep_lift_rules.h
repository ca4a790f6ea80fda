// The rules of DeepLIFT as a RuleSet: what multiplier the inputs of every node get from the multiplier of its output.
// With D = (value) - (value at the baseline), each rule keeps
//   sum over inputs of m_input D_input = m_output D_output
// exactly, so their chain is complete: sum of m (x - x') = F(x) - F(x').
//   Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences", ICML 2017.
#pragma once
#include "engine/rules.h"

namespace onnxray {

// reveal_cancel: RevealCancel (section 3.5.3) instead of Rescale where a nonlinearity reads a linear layer or a sum.
// eps: where a kinked function's inputs differ by less, its gradient stands for the slope (Captum's `eps`).
[[nodiscard]] RuleSet deep_lift_rules(bool reveal_cancel, double eps);

namespace deep_lift {

// Elementwise nonlinearities: the slope between baseline and value (Rescale, equation 9), and max, min, div, pow.
[[nodiscard]] std::vector<Rule> elementwise_rules(double eps);
// Maxima over windows and axes.
[[nodiscard]] std::vector<Rule> pooling_rules(double eps);
// softmax, log_softmax, layer_norm, rms_norm: their primitives' exact rules, composed.
[[nodiscard]] std::vector<Rule> softmax_rules();
[[nodiscard]] std::vector<Rule> norm_rules();
// Products of two values that both vary.
[[nodiscard]] std::vector<Rule> product_rules();
// RevealCancel for nonlinearities behind a linear layer or a sum; Rescale for the others.
[[nodiscard]] std::vector<Rule> reveal_cancel_rules(double eps);

// Shared by the files of the family.
[[nodiscard]] Rule rule_for(const char* op, std::function<void(RuleCtx&)> apply);
// A nonlinear function of input 0 alone, elementwise.
[[nodiscard]] bool is_nonlinearity(const Graph& g, const Node& node);
// The slope (y - y') / (x - x') of a nonlinearity times `dy`.
[[nodiscard]] ValueId rescaled(RuleCtx& c, ValueId dy, double eps);
// |v| < limit.
[[nodiscard]] ValueId is_tiny(Builder& b, ValueId v, double limit);
// a / b, or `otherwise` where `tiny`.
[[nodiscard]] ValueId ratio(Builder& b, ValueId a, ValueId divisor, ValueId tiny, ValueId otherwise);
// Differences of smooth functions' inputs below which the derivative halfway is more exact than a quotient: the
// derivative errs by D^2 / 24, the quotient by (machine epsilon) / D.
[[nodiscard]] double smooth_limit(DType t);

}  // namespace deep_lift
}  // namespace onnxray
