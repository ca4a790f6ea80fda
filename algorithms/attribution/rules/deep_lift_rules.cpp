#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "engine/builder.h"

namespace onnxray {
namespace deep_lift {

Rule rule_for(const char* op, std::function<void(RuleCtx&)> apply) {
  return {op, [op](const Graph&, const Node& n) { return n.op->name == op; }, std::move(apply)};
}

ValueId is_tiny(Builder& b, ValueId v, double limit) {
  return b.op("less", {b.op("abs", {v}), b.scalar_like(v, limit)});
}

ValueId ratio(Builder& b, ValueId a, ValueId divisor, ValueId tiny, ValueId otherwise) {
  return b.where(tiny, otherwise, b.div(a, b.where(tiny, b.scalar_like(divisor, 1), divisor)));
}

double smooth_limit(DType t) { return t == DType::f64 ? 1e-5 : 5e-3; }

namespace {

void each_gradient(RuleCtx& c) {
  const std::vector<ValueId> d = c.vjp(c.dy());
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (c.wanted(i)) c.set(i, d[i]);
  }
}

// x1 x2 - x1' x2' = (x1 - x1') (x2 + x2') / 2 + (x2 - x2') (x1 + x1') / 2: the gradient at the means of both passes,
// for anything bilinear. Factors that vary without being asked about count, too.
void product(RuleCtx& c) {
  Builder& b = c.b;
  std::vector<ValueId> means;
  int varying = 0;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    const ValueId v = c.node.inputs[i];
    const bool constant = v == kNoValue || b.graph.is_constant(v);
    varying += !constant && i < 2;
    means.push_back(v == kNoValue ? v : constant ? c.x(i) : b.mul(b.add(c.x(i), c.x_ref(i)), 0.5));
  }
  if (varying < 2) return each_gradient(c);
  const std::vector<ValueId> d = c.vjp_of(b.clone(c.node, means)[0], c.dy());
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (c.wanted(i)) c.set(i, d[i]);
  }
}

// where(c, a, b) with a condition that differs between the passes selects halfway; delta then says what is lost.
void select(RuleCtx& c) {
  Builder& b = c.b;
  if (b.graph.is_constant(c.node.inputs[0])) return each_gradient(c);
  const std::vector<ValueId> d = c.vjp(b.mul(c.dy(), 0.5)), r = c.vjp_ref(b.mul(c.dy(), 0.5));
  for (std::size_t i = 1; i < d.size(); ++i) {
    if (c.wanted(i)) c.set(i, b.add(d[i], r[i]));
  }
}

void refuse(RuleCtx& c) {
  fail_unsupported("node ", c.node.name, ": DeepLIFT has no rule for the operator '", c.node.op->name, "'");
}

}  // namespace

std::vector<Rule> product_rules() {
  std::vector<Rule> rules;
  for (const char* op : {"mul", "matmul", "conv", "conv_input_grad"}) rules.push_back(rule_for(op, product));
  return rules;
}

}  // namespace deep_lift

RuleSet deep_lift_rules(bool reveal_cancel, double eps) {
  using namespace deep_lift;
  RuleSet set{.carries = Carries::kMultiplier, .reference = true, .otherwise = RuleSet::Otherwise::kError};
  const auto add = [&](std::vector<Rule> rules) {
    for (Rule& r : rules) set.rules.push_back(std::move(r));
  };
  add(product_rules());
  add(pooling_rules(eps));
  add(softmax_rules());
  add(norm_rules());
  if (reveal_cancel) add(reveal_cancel_rules(eps));
  add(elementwise_rules(eps));
  set.rules.push_back(rule_for("where", select));
  // Linear in all inputs together, or moving elements to fixed places.
  for (const char* op : {"index_add", "scatter_elements", "scatter_nd"})
    set.rules.push_back(rule_for(op, each_gradient));
  // Moves elements to places that depend on the values: they differ between the passes.
  set.rules.push_back(rule_for("top_k", refuse));
  return set;
}

}  // namespace onnxray
