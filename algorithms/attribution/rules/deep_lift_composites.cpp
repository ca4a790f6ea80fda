// Pooling, softmax and normalisation.
#include <limits>

#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "engine/builder.h"

namespace onnxray::deep_lift {
namespace {

// A maximum that grew did so at its place in the actual pass, whose input grew at least as much; one that fell, at its
// place in the reference pass. A minimum is the mirror image. What a place takes on is divided by its own difference.
void window_extremum(RuleCtx& c, double eps, bool maximum) {
  Builder& b = c.b;
  const ValueId dx = b.sub(c.x(0), c.x_ref(0)), move = b.sub(c.y(), c.y_ref());
  const ValueId up = b.op("relu", {move}), down = b.sub(move, up);
  const ValueId here = b.mul(c.dy(), maximum ? up : down), there = b.mul(c.dy(), maximum ? down : up);
  const ValueId share = b.add(c.vjp(here)[0], c.vjp_ref(there)[0]);
  c.set(0, ratio(b, share, dx, is_tiny(b, dx, eps), c.vjp(c.dy())[0]));
}

ValueId along(Builder& b, const char* op, ValueId v, std::int64_t axis) { return b.reduce(op, v, {axis}, true); }

// log of sum of exp along the axis; 0 for a line of nothing but -infinity (its softmax is masked to zeros).
ValueId log_sum_exp(Builder& b, ValueId x, std::int64_t axis) {
  const ValueId zero = b.scalar_like(x, 0), one = b.scalar_like(x, 1);
  const ValueId top = along(b, "reduce_max", x, axis);
  const ValueId none = b.op("equal", {top, b.scalar_like(x, -std::numeric_limits<double>::infinity())});
  const ValueId shift = b.where(none, zero, top);
  const ValueId sum = along(b, "reduce_sum", b.op("exp", {b.sub(x, shift)}), axis);
  const ValueId empty = b.op("equal", {sum, zero});
  return b.add(b.where(empty, zero, shift), b.op("log", {b.where(empty, one, sum)}));
}

// y = exp(u), u = x - L, L = log sum exp x. With the slopes f_i = (y_i - y'_i) / (u_i - u'_i) of exp, and weights w_j
// of L with sum of w_j D x_j = D L, the multipliers are m_j f_j - w_j sum over i of m_i f_i (log_softmax: f = 1). The
// weights are the slopes of exp over the slope of the logarithm, (e^x_j - e^x'_j) / D x_j * D L / (S - S'), written
// with the larger of both sums as the unit. Where both passes agree this is the gradient.
void softmax(RuleCtx& c, bool log) {
  Builder& b = c.b;
  const std::int64_t axis = c.attrs.integer("axis", 0);
  const ValueId x = c.x(0), r = c.x_ref(0), zero = b.scalar_like(x, 0), one = b.scalar_like(x, 1);
  const double limit = smooth_limit(b.dtype(x));
  const ValueId level = log_sum_exp(b, x, axis), level_ref = log_sum_exp(b, r, axis), t = b.sub(level, level_ref);
  const ValueId y = b.op("exp", {b.sub(x, level)}), y_ref = b.op("exp", {b.sub(r, level_ref)});
  const ValueId mean = b.op("sqrt", {b.mul(y, y_ref)});  // e^u halfway
  // A masked element is -infinity in both passes.
  const ValueId dx = b.where(b.op("equal", {x, r}), zero, b.sub(x, r));
  const ValueId grew = b.op("greater", {t, zero}), size = b.op("abs", {t}), fall = b.op("exp", {b.neg(size)});
  const ValueId now = b.mul(y, b.where(grew, one, fall)), then = b.mul(y_ref, b.where(grew, fall, one));
  const ValueId spread = ratio(b, size, b.sub(one, fall), is_tiny(b, size, limit), b.add(b.mul(size, 0.5), 1.0));
  const ValueId halfway = b.mul(mean, b.op("exp", {b.mul(size, -0.5)}));
  const ValueId weight = b.mul(spread, ratio(b, b.sub(now, then), dx, is_tiny(b, dx, limit), halfway));
  ValueId m = c.dy();
  if (!log) {
    const ValueId du = b.sub(dx, t);
    m = b.mul(m, ratio(b, b.sub(y, y_ref), du, is_tiny(b, du, limit), mean));
  }
  c.set(0, b.sub(m, b.mul(weight, along(b, "reduce_sum", m, axis))));
}

// y = d s rho + bias with d = x - mean(x) (or x), rho = 1 / sqrt(mean(d^2) + eps). In means (a bar) of both passes:
//   D y = s (rho_bar D d + d_bar D rho),  D rho = -k D mean(d^2),  k = rho^2 rho'^2 / (rho + rho'),
//   D mean(d^2) = mean(2 d_bar D d).
void norm(RuleCtx& c, bool centred) {
  Builder& b = c.b;
  const std::size_t statistic = centred ? 2 : 1;
  for (std::size_t i = 1; i < c.node.inputs.size(); ++i) {
    if (c.wanted(i)) fail_unsupported("node ", c.node.name, ": DeepLIFT has no rule for a scale or bias that varies");
  }
  if (c.dy(0) == kNoValue || c.dy(1) != kNoValue || (centred && c.dy(2) != kNoValue)) {
    fail_unsupported("node ", c.node.name, ": DeepLIFT has no rule for the statistics of '", c.node.op->name, "'");
  }
  std::vector<std::int64_t> axes;
  for (std::int64_t a = c.attrs.integer("axis", 0); a < static_cast<std::int64_t>(b.rank(c.x(0))); ++a)
    axes.push_back(a);
  const auto mean = [&](ValueId v) { return b.reduce("reduce_mean", v, axes, true); };
  const bool scaled = c.node.inputs.size() > 1 && c.node.inputs[1] != kNoValue;
  const ValueId g = scaled ? b.mul(c.dy(), c.x(1)) : c.dy();
  const ValueId rho = c.y(statistic), rho_ref = c.y_ref(statistic);
  ValueId d = b.add(c.x(0), c.x_ref(0));
  if (centred) d = b.sub(d, b.add(c.y(1), c.y_ref(1)));
  d = b.mul(d, 0.5);
  const ValueId both = b.mul(rho, rho_ref), k = b.div(b.mul(both, both), b.add(rho, rho_ref));
  const ValueId direct = b.mul(g, b.mul(b.add(rho, rho_ref), 0.5));
  const ValueId m = b.sub(direct, b.mul(d, b.mul(b.mul(k, 2.0), mean(b.mul(g, d)))));
  c.set(0, centred ? b.sub(m, mean(m)) : m);
}

}  // namespace

std::vector<Rule> pooling_rules(double eps) {
  return {
      rule_for("max_pool", [eps](RuleCtx& c) { window_extremum(c, eps, true); }),
      rule_for("reduce_max", [eps](RuleCtx& c) { window_extremum(c, eps, true); }),
      rule_for("reduce_min", [eps](RuleCtx& c) { window_extremum(c, eps, false); }),
  };
}

std::vector<Rule> softmax_rules() {
  return {rule_for("softmax", [](RuleCtx& c) { softmax(c, false); }),
          rule_for("log_softmax", [](RuleCtx& c) { softmax(c, true); })};
}

std::vector<Rule> norm_rules() {
  return {rule_for("layer_norm", [](RuleCtx& c) { norm(c, true); }),
          rule_for("rms_norm", [](RuleCtx& c) { norm(c, false); })};
}

}  // namespace onnxray::deep_lift
