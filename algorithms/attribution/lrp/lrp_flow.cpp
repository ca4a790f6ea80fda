// How relevance passes everything that has no weights: activations, sums, products, normalisation, pooling, moves.
#include "algorithms/attribution/lrp/lrp_rules.h"
#include "engine/builder.h"

namespace onnxray::lrp {
namespace {

bool is(const Node& node, std::string_view op) { return node.op->name == op; }

Rule rule_for(const char* op, std::function<void(RuleCtx&)> apply) {
  return {op, [op](const Graph&, const Node& n) { return is(n, op); }, std::move(apply)};
}

// All relevance to the first wanted input.
void pass(RuleCtx& c) {
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    if (c.wanted(i)) return c.set(i, c.dy());
  }
}

// Where the values come from: winners of maxima, places of moved elements.
void follow(RuleCtx& c) {
  const std::vector<ValueId> d = c.vjp(c.dy());
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (c.wanted(i) && d[i] != kNoValue) c.set(i, d[i]);
  }
  c.absorb_rest();
}

// In proportion to the contributions x_i dy/dx_i of what is linear in all wanted inputs together.
void proportional(RuleCtx& c, double stabilizer, double share = 1) {
  Builder& b = c.b;
  const std::vector<ValueId> d =
      c.vjp(b.div(share == 1 ? c.dy() : b.mul(c.dy(), share), stabilised(b, c.y(), stabilizer)));
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (c.wanted(i) && d[i] != kNoValue) c.set(i, b.mul(c.x(i), d[i]));
  }
}

// Whether input i carries relevance: everything that is no constant does, also beside what is asked about, so that a
// value's relevance is the same whatever `from` is.
bool shares(const RuleCtx& c, std::size_t i) {
  const Graph& g = c.b.graph;
  const ValueId v = c.node.inputs[i];
  const Node* made = g.producer(v);
  // A constant that has rows of its own (passes/batch_rows.cpp) is one still.
  return !g.is_constant(v) && (made == nullptr || !is(*made, "repeat_rows") || !g.is_constant(made->inputs[0]));
}
bool both_carry(const RuleCtx& c) { return shares(c, 0) && shares(c, 1); }

// A sigmoid or softmax, scaled, shifted by constants, or moved.
bool is_gate(const Graph& g, ValueId v, int depth = 0) {
  const Node* p = v == kNoValue || depth > 16 ? nullptr : g.producer(v);
  if (p == nullptr) return false;
  if (is(*p, "sigmoid") || is(*p, "hard_sigmoid") || is(*p, "softmax")) return true;
  // clip(x + 3, 0, 6), a hard sigmoid before its division by 6.
  if (is(*p, "clip") && p->attrs.real("min", -1) == 0 && p->attrs.real("max", 0) == 6) {
    const Node* sum = g.producer(p->inputs[0]);
    return sum != nullptr && is(*sum, "add") && (g.is_constant(sum->inputs[0]) || g.is_constant(sum->inputs[1]));
  }
  const bool arithmetic = is(*p, "add") || is(*p, "sub") || is(*p, "mul") || is(*p, "div") || is(*p, "neg");
  const OpTraits& t = p->op->traits;
  if (!arithmetic && !t.view && !(t.moves && t.linear)) return false;
  ValueId only = kNoValue;
  for (const ValueId in : p->inputs) {
    if (in == kNoValue || g.is_constant(in)) continue;
    if (only != kNoValue) return false;
    only = in;
  }
  return is_gate(g, only, depth + 1);
}

// The factor that takes all relevance: the signal beside a gate; -1 when both take half.
int signal_of(const RuleCtx& c, Products products) {
  if (products != Products::kGates) return -1;
  const bool a = is_gate(c.b.graph, c.node.inputs[0]), b = is_gate(c.b.graph, c.node.inputs[1]);
  return a == b ? -1 : a ? 1 : 0;
}

void product(RuleCtx& c, Products products) {
  if (!both_carry(c)) return pass(c);
  const int signal = signal_of(c, products);
  for (std::size_t i = 0; i < 2; ++i) {
    if (!c.wanted(i)) continue;
    if (signal < 0) c.set(i, c.b.mul(c.dy(), 0.5));
    else if (static_cast<std::size_t>(signal) == i) c.set(i, c.dy());
  }
}

// A matrix product of two active values. Each would take all relevance in proportion to its contributions (each term of
// the sum is one product), so each takes half, or the signal beside a gate all.
void matrix_product(RuleCtx& c, const Recipe& recipe) {
  const int signal = signal_of(c, recipe.products);
  if (signal < 0) return proportional(c, recipe.stabilizer, 0.5);
  Builder& b = c.b;
  const auto s = static_cast<std::size_t>(signal);
  if (!c.wanted(s)) return;
  const ValueId d = c.vjp(b.div(c.dy(), stabilised(b, c.y(), recipe.stabilizer)))[s];
  c.set(s, b.mul(c.x(s), d));
}

const LayerRule& rule_of(RuleCtx& c, const Recipe& recipe) {
  const Graph& g = c.b.graph;
  const NodeId behind = bias_behind(c);
  for (const auto& [name, rule] : recipe.by_value) {
    const ValueId v = g.find(name);
    if (v != kNoValue && (v == c.node.outputs[0] || (behind >= 0 && v == g.node(behind).outputs[0]))) return rule;
  }
  const bool dense = is(c.node, "matmul");
  const auto& first = dense ? recipe.first_dense : recipe.first_convolution;
  if (first && c.first_linear()) return *first;
  return dense ? recipe.dense : recipe.convolution;
}

void layer(RuleCtx& c, const Recipe& recipe) {
  if (both_carry(c)) return matrix_product(c, recipe);
  if (c.wanted(0) || c.wanted(1)) apply_layer(c, rule_of(c, recipe), recipe.ignore_bias);
}

// y = (x - mean) rho s + bias with rho held at its value: a linear map of x. (Ali et al. 2022; Achtibat et al. 2024,
// proposition 3.4.) Without a mean it is a scaling, which passes relevance on.
void layer_norm(RuleCtx& c, const Recipe& recipe) {
  Builder& b = c.b;
  if (!c.wanted(0) || c.dy(0) == kNoValue || c.dy(1) != kNoValue || c.dy(2) != kNoValue) {
    fail_unsupported("node ", c.node.name, ": no relevance rule for the statistics of a normalisation");
  }
  const auto has = [&](std::size_t i) { return c.node.inputs.size() > i && c.node.inputs[i] != kNoValue; };
  std::vector<std::int64_t> axes;
  for (std::int64_t a = c.attrs.integer("axis", 0); a < static_cast<std::int64_t>(b.rank(c.x(0))); ++a)
    axes.push_back(a);
  const ValueId y = recipe.ignore_bias && has(2) ? b.sub(c.y(), c.x(2)) : c.y();
  const ValueId share = b.div(c.dy(), stabilised(b, y, recipe.stabilizer));
  if (!recipe.ignore_bias && has(2) && c.accounts()) c.absorb(b.mul(c.x(2), share));
  ValueId g = b.mul(share, c.y(2));
  if (has(1)) g = b.mul(g, c.x(1));
  c.set(0, b.mul(c.x(0), b.sub(g, b.reduce("reduce_mean", g, axes, true))));
}

// First-order Taylor at x: R_i = x_i (R_i - y_i sum_j R_j) (Achtibat et al. 2024, proposition 3.1). The rest belongs to
// the constant term of the expansion, y - J x. Masked elements (y = 0, x = -infinity) carry nothing.
void softmax(RuleCtx& c, const Recipe& recipe) {
  if (recipe.products == Products::kGates) {
    fail_unsupported("node ", c.node.name,
                     ": relevance does not pass a softmax: explain its input (the logits), or use attn-lrp");
  }
  Builder& b = c.b;
  const ValueId sum = b.reduce("reduce_sum", c.dy(), {c.attrs.integer("axis", 0)}, true);
  const ValueId zero = b.scalar_like(c.y(), 0), masked = b.op("equal", {c.y(), zero});
  const ValueId x = b.where(masked, zero, c.x(0));
  const ValueId relevance = b.mul(x, b.sub(c.dy(), b.mul(c.y(), sum)));
  c.set(0, relevance);
  if (c.accounts()) c.absorb(b.sub(c.dy(), relevance));
}

bool is_activation(const Graph& g, const Node& node) {
  const OpTraits& t = node.op->traits;
  if (!t.elementwise || t.linear || t.piecewise_constant) return false;
  return node.inputs.size() == 1 || ((is(node, "prelu") || is(node, "pow")) && g.is_constant(node.inputs[1]));
}

}  // namespace

RuleSet rules_of(const Recipe& recipe, Carries carries) {
  RuleSet set{.carries = carries, .otherwise = RuleSet::Otherwise::kError, .stabilizer = recipe.stabilizer};
  const auto add = [&](const char* op, std::function<void(RuleCtx&)> apply) {
    set.rules.push_back(rule_for(op, std::move(apply)));
  };
  set.rules.push_back(
      {"layer", [](const Graph&, const Node& n) { return is_layer(n); }, [recipe](RuleCtx& c) { layer(c, recipe); }});
  for (const char* op : {"add", "sub"}) {
    add(op, [e = recipe.stabilizer](RuleCtx& c) { both_carry(c) ? proportional(c, e) : pass(c); });
  }
  add("mul", [p = recipe.products](RuleCtx& c) { product(c, p); });
  // Denominators scale: they carry relevance only where the numerator is fixed.
  add("div", [](RuleCtx& c) {
    if (!shares(c, 0) || c.wanted(0)) pass(c);
  });
  for (const char* op : {"neg", "cast", "batch_norm", "rms_norm"}) add(op, pass);
  set.rules.push_back({"activation", is_activation, pass});
  add("layer_norm", [recipe](RuleCtx& c) { layer_norm(c, recipe); });
  add("softmax", [recipe](RuleCtx& c) { softmax(c, recipe); });
  for (const char* op :
       {"max", "min", "where", "reduce_max", "reduce_min", "index_add", "scatter_elements", "scatter_nd"})
    add(op, follow);
  // What moves elements (max_pool too) takes its gradient; everything else must have a rule.
  const auto moves = [](const Node& n) { return n.op->traits.moves || n.op->traits.view; };
  set.rules.push_back({"linear", [moves](const Graph&, const Node& n) { return n.op->traits.linear && !moves(n); },
                       [e = recipe.stabilizer](RuleCtx& c) { proportional(c, e); }});
  set.rules.push_back({"none", [moves](const Graph&, const Node& n) { return !moves(n); },
                       [](RuleCtx& c) {
                         fail_unsupported("node ", c.node.name, ": no relevance rule for the operator '",
                                          c.node.op->name, "'");
                       }});
  return set;
}

}  // namespace onnxray::lrp
