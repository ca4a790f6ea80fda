// Algebra that costs nothing: neutral elements, double negation, chains of transposes and reshapes, moves that move
// nothing, ReLU masks on the smaller side of a pooling.
#include <algorithm>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

using Ints = std::vector<std::int64_t>;

bool all_equal(const Ints& v, std::int64_t x) {
  return std::all_of(v.begin(), v.end(), [&](std::int64_t e) { return e == x; });
}

bool is_identity(const Ints& perm) {
  for (std::size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

// Swaps the last two axes and nothing else.
bool swaps_matrix(const Ints& perm) {
  if (perm.size() < 2) return false;
  Ints p = perm;
  std::swap(p[p.size() - 1], p[p.size() - 2]);
  return is_identity(p);
}

class Pass {
 public:
  Pass(const Graph& g, const Evaluator& evaluate) : g_(g), rw_(g, evaluate), uses_(g.use_counts()) {}

  Graph run() {
    for (const Node& node : g_.nodes()) {
      rw_.b.context = node.name;
      const ValueId simpler = node.outputs.size() == 1 ? simplified(node) : kNoValue;
      if (simpler == kNoValue) rw_.copy(node);
      else rw_.set(node.outputs[0], simpler);
    }
    return rw_.finish();
  }

 private:
  // Constant input `i` with every element equal to x.
  bool filled(const Node& node, std::size_t i, double x) {
    const ValueId v = rw_(node.inputs[i]);
    if (!rw_.to.is_constant(v)) return false;
    const Tensor& t = rw_.to.value(v).constant;
    if (t.size() == 0 || t.size() > 1 << 16) return false;
    const std::vector<double> values = t.to_doubles();
    return std::all_of(values.begin(), values.end(), [&](double e) { return e == x; });
  }

  // What stands for the node: an input it leaves as it is, or a new node; kNoValue: itself.
  ValueId simplified(const Node& node) {
    const std::string& op = node.op->name;
    const Value& out = g_.value(node.outputs[0]);
    if (node.inputs.empty() || node.inputs[0] == kNoValue) return kNoValue;
    const ValueId x = rw_(node.inputs[0]);
    const auto unchanged = [&](ValueId v) {
      const Value& value = rw_.to.value(v);
      return value.dims == out.dims && value.dtype == out.dtype ? v : kNoValue;
    };
    // The node behind x, if it is an `op`.
    const auto behind = [&](ValueId v, std::string_view name) -> const Node* {
      const Node* p = rw_.to.producer(v);
      return p != nullptr && p->op->name == name ? p : nullptr;
    };
    if (node.inputs.size() == 2 && node.inputs[1] != kNoValue) {
      const bool sum = op == "add", product = op == "mul";
      if (((sum || op == "sub") && filled(node, 1, 0)) || ((product || op == "div") && filled(node, 1, 1))) {
        return unchanged(x);
      }
      if ((sum && filled(node, 0, 0)) || (product && filled(node, 0, 1))) return unchanged(rw_(node.inputs[1]));
    }
    if (op == "neg") {
      const Node* p = behind(x, "neg");
      return p != nullptr ? p->inputs[0] : kNoValue;
    }
    if (op == "cast" || op == "expand" || op == "reduce_sum" || op == "reduce_mean" || op == "reduce_max" ||
        op == "reduce_min" || op == "reduce_prod") {
      const bool reduces = node.attrs.has("axes");
      return reduces && !node.attrs.ints("axes").empty() ? kNoValue : unchanged(x);
    }
    if (op == "slice" || op == "unslice") {
      const bool whole = all_equal(node.attrs.ints("starts"), 0) && all_equal(node.attrs.ints("steps"), 1);
      return whole ? unchanged(x) : kNoValue;
    }
    if (op == "pad") {
      const bool none = all_equal(node.attrs.ints("begins"), 0) && all_equal(node.attrs.ints("ends"), 0);
      return none ? unchanged(x) : kNoValue;
    }
    if (op == "concat" && node.inputs.size() == 1) return unchanged(x);
    if (op == "reshape") {
      const Node* p = behind(x, "reshape");
      const ValueId from = p != nullptr ? p->inputs[0] : x;
      if (rw_.b.dims(from) == out.dims) return from;
      return p != nullptr ? rw_.b.reshape(from, out.dims) : kNoValue;
    }
    if (op == "transpose") {
      const Ints perm = node.attrs.ints("perm");
      if (is_identity(perm)) return x;
      const Node* p = behind(x, "transpose");
      if (p == nullptr) return kNoValue;
      const Ints inner = p->attrs.ints("perm");
      const ValueId from = p->inputs[0];
      Ints both;
      for (const std::int64_t axis : perm) both.push_back(inner[static_cast<std::size_t>(axis)]);
      return rw_.b.transpose(from, both);
    }
    if (op == "matmul") return matmul(node);
    if (op == "relu_grad") return relu_before_pool(node);
    return kNoValue;
  }

  // relu_grad(max_pool_grad(dy, argmax), x), where x was pooled to y: a window's maximum passes where y > 0, so dy is
  // masked before it is sent back, on the smaller side.
  ValueId relu_before_pool(const Node& node) {
    const Node* back = rw_.to.producer(rw_(node.inputs[0]));
    if (back == nullptr || back->op->name != "max_pool_grad" || uses_[static_cast<std::size_t>(node.inputs[0])] != 1) {
      return kNoValue;
    }
    const ValueId dy = back->inputs[0], argmax = back->inputs[1];
    const Node* pool = rw_.to.producer(argmax);
    if (pool == nullptr || pool->op->name != "max_pool" || pool->inputs[0] != rw_(node.inputs[1])) return kNoValue;
    const OpDef& send = *back->op;
    const Attrs attrs = back->attrs;
    const ValueId masked = rw_.b.op("relu_grad", {dy, pool->outputs[0]});
    return rw_.b.add_node(send, {masked, argmax}, attrs, node.name)[0];
  }

  // Transposes of a matrix operand become flags.
  ValueId matmul(const Node& node) {
    Attrs attrs = node.attrs;
    std::vector<ValueId> inputs = rw_.map(node.inputs);
    bool changed = false;
    const char* flags[] = {"trans_a", "trans_b"};
    for (std::size_t i = 0; i < 2; ++i) {
      const Node* p = rw_.to.producer(inputs[i]);
      if (p == nullptr || p->op->name != "transpose" || !swaps_matrix(p->attrs.ints("perm"))) continue;
      inputs[i] = p->inputs[0];
      attrs.set(flags[i], std::int64_t{attrs.integer(flags[i], 0) == 0});
      changed = true;
    }
    return changed ? rw_.b.add_node(*node.op, inputs, std::move(attrs), node.name)[0] : kNoValue;
  }

  const Graph& g_;
  Rewriter rw_;
  std::vector<int> uses_;
};

}  // namespace

Graph simplify(const Graph& g, const Evaluator& evaluate) { return clean(Pass(g, evaluate).run()); }

}  // namespace onnxray
