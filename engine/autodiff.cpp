#include "engine/autodiff.h"

#include <algorithm>

namespace onnxray {
namespace {

class Backward;

// The context of one node's rule; the same object serves true gradients and rule overrides.
class NodeCtx final : public RuleCtx {
 public:
  NodeCtx(Backward& pass, Builder& b, const Node& node, std::vector<ValueId> dys, std::vector<char> wanted)
      : RuleCtx(b, node), pass_(pass), dys_(std::move(dys)), wanted_(std::move(wanted)) {
    results.assign(node.inputs.size(), kNoValue);
  }

  ValueId x(std::size_t i) override;
  ValueId y(std::size_t i) override;
  ValueId dy(std::size_t i) override { return i < dys_.size() ? dys_[i] : kNoValue; }
  bool wanted(std::size_t i) const override { return i < wanted_.size() && wanted_[i] != 0; }
  Dims dims(std::size_t i) const override;
  void set(std::size_t i, ValueId cotangent) override { results.at(i) = cotangent; }
  ValueId x_ref(std::size_t i) override;
  ValueId y_ref(std::size_t i) override;
  std::vector<ValueId> vjp(ValueId dy) override;
  std::vector<ValueId> vjp_ref(ValueId dy) override;
  std::vector<ValueId> vjp_of(ValueId clone_output, ValueId dy) override;
  bool first_linear() const override;
  ValueId value(ValueId v) override;
  ValueId reference(ValueId v) override;
  bool active(ValueId v) const override;
  bool asked(ValueId v) const override;
  NodeId handed_by(ValueId v) const override;
  void set_value(ValueId v, ValueId cotangent) override;
  bool accounts() const override;
  void absorb(ValueId relevance) override;
  void absorb_rest() override;

  std::vector<ValueId> results;
  bool at_reference = false;  // x and y are those of the reference pass

 private:
  Backward& pass_;
  std::vector<ValueId> dys_;
  std::vector<char> wanted_;
};

class Backward {
 public:
  Backward(Builder& b, const GradientRequest& request)
      : b(b), request(request), forward_values_(b.graph.value_count()) {}

  std::vector<ValueId> run() {
    Graph& g = b.graph;
    const auto forward_nodes = static_cast<NodeId>(g.nodes().size());
    active_.assign(forward_values_, 0);
    for (const ValueId v : request.wrt) active_[index(v)] = 1;
    for (NodeId n = 0; n < forward_nodes; ++n) {
      const Node& node = g.node(n);
      const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](ValueId v) { return v != kNoValue && active_[index(v)] != 0; });
      if (!any || node.op->traits.piecewise_constant) continue;
      for (const ValueId v : node.outputs) {
        if (is_float(g.value(v).dtype)) active_[index(v)] = 1;
      }
    }
    cotangents_.assign(forward_values_, kNoValue);
    handed_by_.assign(forward_values_, kNobody);
    is_wrt_.assign(forward_values_, 0);
    for (const ValueId v : request.wrt) is_wrt_[index(v)] = 1;
    for (const Seed& s : request.seeds) accumulate(s.value, s.cotangent, kSeveral);

    for (NodeId n = forward_nodes - 1; n >= 0; --n) {
      const Node node = g.node(n);  // a copy: rules add nodes
      std::vector<ValueId> dys;
      bool any = false;
      for (const ValueId v : node.outputs) {
        dys.push_back(active_[index(v)] != 0 ? cotangents_[index(v)] : kNoValue);
        any = any || dys.back() != kNoValue;
      }
      if (!any) continue;
      std::vector<char> wanted(node.inputs.size(), 0);
      bool any_wanted = false;
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        const ValueId v = node.inputs[i];
        wanted[i] = v != kNoValue && active_[index(v)] != 0;
        any_wanted = any_wanted || wanted[i] != 0;
      }
      if (!any_wanted) continue;
      NodeCtx ctx(*this, b, node, dys, wanted);
      b.context = node.name.empty() ? "" : "gradient of " + node.name;
      current_ = n;
      try {
        apply(node, ctx);
      } catch (const Error& e) {
        throw Error(e.kind(), std::string(e.what()).starts_with("node ")
                                  ? std::string(e.what())
                                  : "gradient of node " + node.name + ": " + e.what());
      }
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        if (wanted[i] == 0 || ctx.results[i] == kNoValue) continue;
        hand(node.inputs[i], ctx.results[i]);
      }
      for (const ValueId v : node.outputs) {
        if (is_wrt_[index(v)] == 0) cotangents_[index(v)] = kNoValue;
      }
    }
    b.context.clear();
    std::vector<ValueId> out;
    for (const ValueId v : request.wrt) out.push_back(cotangents_[index(v)]);
    return out;
  }

  // A forward value with one row per backward row. What the backward pass made itself (a rule's clone) has them.
  ValueId saved(ValueId v) {
    if (v == kNoValue || request.row_index == kNoValue || index(v) >= forward_values_) return v;
    const RowMap rows = b.graph.value(v).rows;
    if (!rows.is_rows()) return v;
    ValueId& cached = gathered_[v];
    if (cached == 0) {  // 0 is an input or constant, never a gather
      cached = b.op("gather_rows", {v, request.row_index},
                    {{"axis", rows.axis}, {"inner", rows.inner}, {"outer", rows.outer}});
      b.graph.value(cached).rows = rows;
    }
    return cached;
  }

  Dims backward_dims(ValueId v) const {
    Dims d = b.graph.value(v).dims;
    const RowMap rows = b.graph.value(v).rows;
    if (request.row_index != kNoValue && rows.is_rows()) {
      d[static_cast<std::size_t>(rows.axis)] = rows.outer * rows.inner * b.dims(request.row_index)[0];
    }
    return d;
  }

  ValueId reference(ValueId v) {
    ONNXRAY_ASSERT(request.reference, "a rule reads the reference pass, which was not given");
    return request.reference(v);
  }

  bool active(ValueId v) const { return v != kNoValue && index(v) < forward_values_ && active_[index(v)] != 0; }
  bool asked(ValueId v) const { return active(v) && is_wrt_[index(v)] != 0; }
  NodeId handed_by(ValueId v) const { return index(v) < forward_values_ ? handed_by_[index(v)] : kNobody; }
  // A cotangent of v from the node that is being walked.
  void hand(ValueId v, ValueId cotangent) {
    ONNXRAY_ASSERT(index(v) < forward_values_ && b.graph.value(v).producer < current_);
    accumulate(v, b.sum_to(cotangent, backward_dims(v)), current_);
  }

  bool first_linear(const Node& node) {
    if (first_linear_.empty()) find_first_linear();
    return !node.outputs.empty() && first_linear_[index(node.outputs[0])] != 0;
  }

  // The cotangents of node's inputs under its true gradient.
  std::vector<ValueId> true_gradient(const Node& node, std::vector<ValueId> dys, std::vector<char> wanted,
                                     bool at_reference = false) {
    NodeCtx ctx(*this, b, node, std::move(dys), std::move(wanted));
    ctx.at_reference = at_reference;
    differentiate(node, ctx);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (ctx.results[i] != kNoValue) ctx.results[i] = b.sum_to(ctx.results[i], backward_dims(node.inputs[i]));
    }
    return ctx.results;
  }

  Builder& b;
  const GradientRequest& request;

 private:
  static constexpr NodeId kNobody = -1, kSeveral = -2;
  static std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

  void accumulate(ValueId v, ValueId cotangent, NodeId from) {
    ValueId& slot = cotangents_[index(v)];
    slot = slot == kNoValue ? cotangent : b.add(slot, cotangent);
    NodeId& by = handed_by_[index(v)];
    by = by == kNobody || by == from ? from : kSeveral;
  }

  void differentiate(const Node& node, NodeCtx& ctx) {
    if (node.op->grad == nullptr) {
      fail_unsupported("node ", node.name, ": the operator '", node.op->name, "' has no gradient");
    }
    node.op->grad(ctx);
  }

  void apply(const Node& node, NodeCtx& ctx) {
    const RuleSet* rules = request.rules;
    if (rules == nullptr) return differentiate(node, ctx);
    for (const Rule& rule : rules->rules) {
      if (rule.matches(b.graph, node)) return rule.apply(ctx);
    }
    const OpTraits& t = node.op->traits;
    if (rules->carries == Carries::kGradient || t.moves || t.view) {
      differentiate(node, ctx);
      if (moves_others(node, ctx)) ctx.absorb_rest();
      return;
    }
    if (t.linear && one_active(node)) {
      if (rules->carries == Carries::kMultiplier) return differentiate(node, ctx);
      // R_in = x * vjp(R / (y + eps sign(y))), sign(0) = +1: LRP-epsilon, the natural rule of a linear node.
      const ValueId y = ctx.y(0);
      const ValueId positive = b.op("greater_equal", {y, b.scalar_like(y, 0)});
      const ValueId stable =
          b.add(y, b.where(positive, b.scalar_like(y, rules->stabilizer), b.scalar_like(y, -rules->stabilizer)));
      const std::vector<ValueId> d = ctx.vjp(b.div(ctx.dy(0), stable));
      for (std::size_t i = 0; i < d.size(); ++i) {
        if (ctx.wanted(i) && d[i] != kNoValue) ctx.set(i, b.mul(ctx.x(i), d[i]));
      }
      return;
    }
    if (rules->otherwise == RuleSet::Otherwise::kError) {
      fail_unsupported("node ", node.name, ": no rule for the operator '", node.op->name, "'");
    }
    differentiate(node, ctx);
  }

  // Whether elements of the result come from elsewhere than the active inputs.
  bool moves_others(const Node& node, const NodeCtx& ctx) const {
    if (node.op->name == "pad") return true;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v != kNoValue && !ctx.wanted(i) && is_float(b.graph.value(v).dtype)) return true;
    }
    return false;
  }

  // Linear ops are linear in each input alone; a sum is linear in all of them together.
  bool one_active(const Node& node) const {
    if (node.op->name == "add" || node.op->name == "sub") return true;
    int active = 0;
    for (const ValueId v : node.inputs) active += v != kNoValue && active_[index(v)] != 0;
    return active == 1;
  }

  void find_first_linear() {
    first_linear_.assign(forward_values_, 0);
    std::vector<char> behind(forward_values_, 0);  // a weighted layer lies between the model's inputs and the value
    for (const Node& node : b.graph.nodes()) {
      if (index(node.outputs[0]) >= forward_values_) break;
      const OpTraits& t = node.op->traits;
      const bool weighted = t.linear && !t.moves && !t.elementwise && node.inputs.size() > 1 &&
                            (b.graph.is_constant(node.inputs[0]) || b.graph.is_constant(node.inputs[1]));
      bool after = false;
      for (const ValueId v : node.inputs) after = after || (v != kNoValue && behind[index(v)] != 0);
      for (const ValueId v : node.outputs) {
        behind[index(v)] = after || weighted;
        first_linear_[index(v)] = weighted && !after;
      }
    }
  }

  std::size_t forward_values_;
  std::vector<char> active_, is_wrt_;
  std::vector<char> first_linear_;
  std::vector<NodeId> handed_by_;
  NodeId current_ = 0;  // the node that is being walked
  std::vector<ValueId> cotangents_;
  std::unordered_map<ValueId, ValueId> gathered_;
};

ValueId NodeCtx::x(std::size_t i) { return at_reference ? x_ref(i) : pass_.saved(node.inputs.at(i)); }
ValueId NodeCtx::y(std::size_t i) { return at_reference ? y_ref(i) : pass_.saved(node.outputs.at(i)); }
Dims NodeCtx::dims(std::size_t i) const { return pass_.backward_dims(node.inputs.at(i)); }
ValueId NodeCtx::x_ref(std::size_t i) { return reference(node.inputs.at(i)); }
ValueId NodeCtx::y_ref(std::size_t i) { return reference(node.outputs.at(i)); }
bool NodeCtx::first_linear() const { return pass_.first_linear(node); }
ValueId NodeCtx::value(ValueId v) { return pass_.saved(v); }
ValueId NodeCtx::reference(ValueId v) {
  return v == kNoValue || b.graph.is_constant(v) ? v : pass_.saved(pass_.reference(v));
}
bool NodeCtx::active(ValueId v) const { return pass_.active(v); }
bool NodeCtx::asked(ValueId v) const { return pass_.asked(v); }
NodeId NodeCtx::handed_by(ValueId v) const { return pass_.handed_by(v); }
void NodeCtx::set_value(ValueId v, ValueId cotangent) { pass_.hand(v, cotangent); }

bool NodeCtx::accounts() const {
  return pass_.request.absorbed != nullptr && pass_.request.rules->carries == Carries::kRelevance;
}

void NodeCtx::absorb(ValueId relevance) {
  if (accounts()) pass_.request.absorbed->push_back({node.outputs[0], relevance});
}

void NodeCtx::absorb_rest() {
  if (!accounts() || dy(0) == kNoValue) return;
  absorb(dy(0));
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!wanted(i) || results[i] == kNoValue) continue;
    pass_.request.absorbed->push_back({node.inputs[i], b.neg(b.sum_to(results[i], dims(i)))});
  }
}

std::vector<ValueId> NodeCtx::vjp(ValueId dy) {
  std::vector<ValueId> dys(node.outputs.size(), kNoValue);
  dys[0] = dy;
  return pass_.true_gradient(node, dys, wanted_);
}

std::vector<ValueId> NodeCtx::vjp_ref(ValueId dy) {
  std::vector<ValueId> dys(node.outputs.size(), kNoValue);
  dys[0] = dy;
  return pass_.true_gradient(node, dys, wanted_, true);
}

std::vector<ValueId> NodeCtx::vjp_of(ValueId clone_output, ValueId dy) {
  const Node clone = *b.graph.producer(clone_output);
  std::vector<ValueId> dys(clone.outputs.size(), kNoValue);
  for (std::size_t i = 0; i < clone.outputs.size(); ++i) {
    if (clone.outputs[i] == clone_output) dys[i] = dy;
  }
  return pass_.true_gradient(clone, dys, std::vector<char>(clone.inputs.size(), 1));
}

}  // namespace

std::vector<ValueId> gradient(Builder& b, const GradientRequest& request) { return Backward(b, request).run(); }

std::vector<ValueId> directional_derivative(Builder& b, const std::vector<ValueId>& of,
                                            const std::vector<Tangent>& along) {
  GradientRequest reverse, forward;
  for (const ValueId v : of) {
    // Any node of its own will do as cotangent: what is linear in it does not read its contents when differentiated.
    forward.wrt.push_back(b.neg(v));
    reverse.seeds.push_back({v, forward.wrt.back()});
  }
  for (const Tangent& t : along) reverse.wrt.push_back(t.value);
  const std::vector<ValueId> pulled = gradient(b, reverse);
  for (std::size_t j = 0; j < along.size(); ++j) {
    if (pulled[j] != kNoValue) forward.seeds.push_back({pulled[j], along[j].direction});
  }
  return gradient(b, forward);
}

}  // namespace onnxray
