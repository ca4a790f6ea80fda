// Rescale: m_x = m_y (y - y') / (x - x') for functions of one variable, and exact decompositions of those of two.
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "engine/builder.h"

namespace onnxray::deep_lift {
namespace {

// Functions with a kink: quotients of their differences are exact in floating point (relu(x) - relu(x') is x - x'), and
// a derivative halfway would miss the kink.
constexpr std::array kKinked = {"relu", "leaky_relu",       "prelu", "elu", "clip", "hard_sigmoid", "hard_swish",
                                "abs",  "thresholded_relu", "shrink"};

// Functions whose scale is that of their argument.
constexpr std::array kScaleFree = {"log", "pow"};

bool one_of(std::string_view name, const auto& names) {
  return std::any_of(names.begin(), names.end(), [&](const char* n) { return name == n; });
}

std::optional<double> exponent(const Graph& g, const Node& node) {
  const ValueId k = node.inputs[1];
  if (!g.is_constant(k) || g.value(k).constant.size() != 1) return std::nullopt;
  return g.value(k).constant.to_doubles()[0];
}

void power(RuleCtx& c, double eps) {
  Builder& b = c.b;
  if (c.wanted(1)) fail_unsupported("node ", c.node.name, ": DeepLIFT has no rule for an exponent that varies");
  const std::optional<double> k = exponent(b.graph, c.node);
  if (k && *k == 2) return c.set(0, b.mul(c.dy(), b.add(c.x(0), c.x_ref(0))));
  c.set(0, rescaled(c, c.dy(), eps));
}

// 1 / (y + y').
void root(RuleCtx& c) {
  Builder& b = c.b;
  const ValueId sum = b.add(c.y(), c.y_ref());
  const ValueId none = b.op("equal", {sum, b.scalar_like(sum, 0)});
  c.set(0, ratio(b, c.dy(), sum, none, b.scalar_like(sum, 0)));
}

// a / b as a (1 / b), whose second factor moves by -(b - b') / (b b').
void quotient(RuleCtx& c) {
  Builder& b = c.b;
  const bool fixed = b.graph.is_constant(c.node.inputs[1]);
  const ValueId d = c.x(1), d_ref = c.x_ref(1), one = b.scalar_like(d, 1);
  if (c.wanted(0)) {
    c.set(0, fixed ? b.div(c.dy(), d) : b.mul(c.dy(), b.mul(b.add(b.div(one, d), b.div(one, d_ref)), 0.5)));
  }
  if (c.wanted(1)) {
    const ValueId mean = b.mul(b.add(c.x(0), c.x_ref(0)), 0.5);
    c.set(1, b.neg(b.div(b.mul(c.dy(), mean), b.mul(d, d_ref))));
  }
}

// max(p, q) = p + relu(q - p), min(p, q) = p - relu(p - q): with s the slope of relu, p gets 1 - s and q gets s.
void extremum(RuleCtx& c, double eps, bool maximum) {
  Builder& b = c.b;
  const auto lead = [&](ValueId p, ValueId q) { return maximum ? b.sub(q, p) : b.sub(p, q); };
  const ValueId t = lead(c.x(0), c.x(1)), t_ref = lead(c.x_ref(0), c.x_ref(1));
  const ValueId move = b.sub(t, t_ref), tiny = is_tiny(b, move, eps);
  const ValueId zero = b.scalar_like(t, 0), one = b.scalar_like(t, 1), half = b.scalar_like(t, 0.5);
  const ValueId at = b.where(b.op("greater", {t, zero}), one, b.where(b.op("equal", {t, zero}), half, zero));
  const ValueId s = ratio(b, b.sub(b.op("relu", {t}), b.op("relu", {t_ref})), move, tiny, at);
  if (c.wanted(0)) c.set(0, b.mul(c.dy(), b.sub(one, s)));
  if (c.wanted(1)) c.set(1, b.mul(c.dy(), s));
}

}  // namespace

bool is_nonlinearity(const Graph& g, const Node& node) {
  const OpTraits& t = node.op->traits;
  if (!t.elementwise || t.linear || t.piecewise_constant || node.inputs.empty()) return false;
  if (node.op->name == "prelu") return g.is_constant(node.inputs[1]);
  return node.inputs.size() == 1;
}

ValueId rescaled(RuleCtx& c, ValueId dy, double eps) {
  Builder& b = c.b;
  const ValueId x = c.x(0), x_ref = c.x_ref(0), dx = b.sub(x, x_ref);
  const ValueId slope_times = b.mul(dy, b.sub(c.y(), c.y_ref()));
  if (one_of(c.node.op->name, kKinked)) {
    return ratio(b, slope_times, dx, is_tiny(b, dx, eps), c.vjp(dy)[0]);
  }
  std::vector<ValueId> halfway{b.mul(b.add(x, x_ref), 0.5)};
  for (std::size_t i = 1; i < c.node.inputs.size(); ++i) halfway.push_back(c.x(i));
  const ValueId derivative = c.vjp_of(b.clone(c.node, halfway)[0], dy)[0];
  const double limit = smooth_limit(b.dtype(x));
  const ValueId tiny = one_of(c.node.op->name, kScaleFree)
                           ? b.op("less", {b.op("abs", {dx}), b.mul(b.op("abs", {x}), limit)})
                           : is_tiny(b, dx, limit);
  return ratio(b, slope_times, dx, tiny, derivative);
}

std::vector<Rule> elementwise_rules(double eps) {
  return {
      rule_for("max", [eps](RuleCtx& c) { extremum(c, eps, true); }),
      rule_for("min", [eps](RuleCtx& c) { extremum(c, eps, false); }),
      rule_for("div", quotient),
      rule_for("pow", [eps](RuleCtx& c) { power(c, eps); }),
      rule_for("sqrt", root),
      rule_for("reciprocal", [](RuleCtx& c) { c.set(0, c.b.neg(c.b.mul(c.dy(), c.b.mul(c.y(), c.y_ref())))); }),
      {"rescale", is_nonlinearity, [eps](RuleCtx& c) { c.set(0, rescaled(c, c.dy(), eps)); }},
  };
}

}  // namespace onnxray::deep_lift
