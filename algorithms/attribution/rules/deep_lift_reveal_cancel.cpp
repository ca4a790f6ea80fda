// RevealCancel. A nonlinearity f behind a linear layer sees the positive and the negative part of its input's
// difference apart, D = D+ + D-, in either order (equations 11 and 12 of the paper):
//   D+ y = (f(x' + D+) - f(x')) / 2 + (f(x) - f(x' + D-)) / 2,   D- y likewise,   m+ = D+ y / D+,  m- = D- y / D-.
// By the linear rule (section 3.5.1) an input's share of D+ passes m+ on, its share of D- passes m- on, so the rule
// matches both nodes together and hands multipliers to what the linear one reads.
#include <optional>

#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "engine/builder.h"

namespace onnxray::deep_lift {
namespace {

// The linear node before a nonlinearity, with constants added in between.
struct Before {
  Node node;
  bool sum = false;        // add or sub of two values that vary
  std::size_t active = 0;  // the data input of a weighted node
};

std::optional<Before> linear_before(RuleCtx& c) {
  const Graph& g = c.b.graph;
  ValueId v = c.node.inputs[0];
  const auto varies = [&](ValueId in) { return in != kNoValue && !g.is_constant(in); };
  for (;;) {
    const Node* p = g.producer(v);
    if (p == nullptr || c.asked(v)) return std::nullopt;
    const std::string& op = p->op->name;
    if (op == "add" || op == "sub") {
      if (varies(p->inputs[0]) && varies(p->inputs[1])) return Before{*p, true, 0};
      if (op == "sub" && !varies(p->inputs[0])) return std::nullopt;
      v = varies(p->inputs[0]) ? p->inputs[0] : p->inputs[1];
      continue;
    }
    if (op != "matmul" && op != "conv" && op != "conv_input_grad") return std::nullopt;
    if (varies(p->inputs[0]) == varies(p->inputs[1])) return std::nullopt;
    if (p->inputs.size() > 2 && varies(p->inputs[2])) return std::nullopt;
    return Before{*p, false, varies(p->inputs[0]) ? std::size_t{0} : std::size_t{1}};
  }
}

ValueId positive_part(Builder& b, ValueId v) { return b.op("relu", {v}); }

// The linear node without bias, on another data input and weight.
ValueId applied(Builder& b, const Before& l, ValueId data, ValueId weight) {
  std::vector<ValueId> in(2);
  in[l.active] = data;
  in[1 - l.active] = weight;
  Node bare = l.node;
  bare.inputs.resize(2);
  return b.clone(bare, in)[0];
}

void reveal_cancel(RuleCtx& c, double eps) {
  Builder& b = c.b;
  const std::optional<Before> l = linear_before(c);
  if (!l || !c.active(l->node.outputs[0])) return c.set(0, rescaled(c, c.dy(), eps));
  const auto difference = [&](ValueId v) { return b.sub(c.value(v), c.reference(v)); };

  const ValueId x = c.x(0), x_ref = c.x_ref(0), dx = b.sub(x, x_ref);
  std::vector<ValueId> parts;  // D of what the linear node reads
  ValueId weight_up = kNoValue, weight_down = kNoValue, up = kNoValue;
  if (l->sum) {
    const bool minus = l->node.op->name == "sub";
    parts = {difference(l->node.inputs[0]), difference(l->node.inputs[1])};
    up = b.add(positive_part(b, parts[0]), positive_part(b, minus ? b.neg(parts[1]) : parts[1]));
  } else {
    parts = {difference(l->node.inputs[l->active])};
    const ValueId w = c.value(l->node.inputs[1 - l->active]);
    weight_up = positive_part(b, w);
    weight_down = b.sub(w, weight_up);
    const ValueId rise = positive_part(b, parts[0]), fall = b.sub(parts[0], rise);
    up = b.add(applied(b, *l, rise, weight_up), applied(b, *l, fall, weight_down));
  }
  const ValueId down = b.sub(dx, up);

  const auto f = [&](ValueId v) {
    std::vector<ValueId> in{v};
    for (std::size_t i = 1; i < c.node.inputs.size(); ++i) in.push_back(c.x(i));
    return b.clone(c.node, in)[0];
  };
  const ValueId dy = b.sub(c.y(), c.y_ref());
  const ValueId y_up = b.mul(b.add(b.sub(f(b.add(x_ref, up)), c.y_ref()), b.sub(c.y(), f(b.add(x_ref, down)))), 0.5);
  const ValueId y_down = b.sub(dy, y_up);
  const ValueId plain = rescaled(c, c.dy(), eps);  // where a part vanishes
  const double limit = std::max(eps, b.dtype(x) == DType::f64 ? 1e-10 : 1e-6);
  const ValueId m_up = ratio(b, b.mul(c.dy(), y_up), up, is_tiny(b, up, limit), plain);
  const ValueId m_down = ratio(b, b.mul(c.dy(), y_down), down, is_tiny(b, down, limit), plain);

  // By the sign of an input's difference; the mean of both where there is none.
  const auto by_sign = [&](ValueId d, ValueId rising, ValueId falling) {
    const ValueId zero = b.scalar_like(d, 0);
    return b.where(b.op("greater", {d, zero}), rising,
                   b.where(b.op("less", {d, zero}), falling, b.mul(b.add(rising, falling), 0.5)));
  };
  if (l->sum) {
    const bool minus = l->node.op->name == "sub";
    for (std::size_t i = 0; i < 2; ++i) {
      const ValueId v = l->node.inputs[i];
      if (!c.active(v)) continue;
      if (i == 1 && minus) c.set_value(v, b.neg(by_sign(parts[i], m_down, m_up)));
      else c.set_value(v, by_sign(parts[i], m_up, m_down));
    }
    return;
  }
  const ValueId data = c.value(l->node.inputs[l->active]);
  const auto back = [&](ValueId weight, ValueId m) { return c.vjp_of(applied(b, *l, data, weight), m)[l->active]; };
  const ValueId rising = b.add(back(weight_up, m_up), back(weight_down, m_down));
  const ValueId falling = b.add(back(weight_up, m_down), back(weight_down, m_up));
  c.set_value(l->node.inputs[l->active], by_sign(parts[0], rising, falling));
}

}  // namespace

std::vector<Rule> reveal_cancel_rules(double eps) {
  return {{"reveal-cancel", is_nonlinearity, [eps](RuleCtx& c) { reveal_cancel(c, eps); }}};
}

}  // namespace onnxray::deep_lift
