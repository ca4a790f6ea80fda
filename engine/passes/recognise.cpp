// Finds the composites that exporters decomposed: layer_norm, rms_norm, gelu, gelu_tanh, swish, hard_swish, mish.
// A pattern is replaced only when nothing outside it reads its inner values. Patterns are tried from the last node to
// the first, so that the largest one wins (a layer_norm with its bias before one without).
#include "engine/passes/recognise.h"

#include <algorithm>
#include <unordered_map>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

// Fills m.inner: the nodes between the root and the inputs. False if anything else reads their values.
bool find_inner(const Graph& g, const std::vector<int>& uses, NodeId root, CompositeMatch& m) {
  std::vector<NodeId> todo{root};
  std::unordered_map<ValueId, int> inside;  // reads by the pattern
  while (!todo.empty()) {
    const NodeId n = todo.back();
    todo.pop_back();
    for (const ValueId v : g.node(n).inputs) {
      if (v == kNoValue || g.is_constant(v) || std::find(m.inputs.begin(), m.inputs.end(), v) != m.inputs.end()) {
        continue;
      }
      ++inside[v];
      const NodeId producer = g.value(v).producer;
      if (producer < 0 || m.inner.size() > 32) return false;
      if (m.inner.insert(producer).second) todo.push_back(producer);
    }
  }
  for (const NodeId n : m.inner) {
    for (const ValueId v : g.node(n).outputs) {
      if (uses[static_cast<std::size_t>(v)] != inside[v]) return false;
    }
  }
  return true;
}

// What the node computes as the last one of a pattern.
std::optional<CompositeMatch> match(const Graph& g, const std::vector<int>& uses, NodeId root) {
  const std::string& op = g.node(root).op->name;
  if (op != "add" && op != "mul" && op != "div") return std::nullopt;
  const auto fits = [&](std::optional<CompositeMatch>& m) {
    return m && g.value(m->inputs[0]).dims == g.value(g.node(root).outputs[0]).dims && find_inner(g, uses, root, *m);
  };
  if (std::optional<CompositeMatch> norm = match_norm(g, root); fits(norm)) return norm;
  if (std::optional<CompositeMatch> activation = match_activation(g, uses, root); fits(activation)) return activation;
  return std::nullopt;
}

}  // namespace

Graph recognise_composites(const Graph& g, const Evaluator& evaluate) {
  const std::vector<int> uses = g.use_counts();
  std::vector<std::optional<CompositeMatch>> found(g.nodes().size());
  std::vector<char> replaced(g.nodes().size(), 0);
  for (std::size_t n = g.nodes().size(); n-- > 0;) {
    if (replaced[n] != 0) continue;
    found[n] = match(g, uses, static_cast<NodeId>(n));
    if (!found[n]) continue;
    for (const NodeId i : found[n]->inner) replaced[static_cast<std::size_t>(i)] = 1;
  }
  Rewriter rw(g, evaluate);
  for (std::size_t n = 0; n < g.nodes().size(); ++n) {
    const Node& node = g.nodes()[n];
    if (replaced[n] != 0) continue;
    if (!found[n]) {
      rw.copy(node);
      continue;
    }
    rw.b.context = node.name;
    CompositeMatch& m = *found[n];
    std::vector<ValueId> inputs = rw.map(m.inputs);
    const bool norm = m.op == "layer_norm" || m.op == "rms_norm";
    for (std::size_t i = 1; norm && i < inputs.size(); ++i) {
      if (inputs[i] == kNoValue) continue;
      const Dims x = rw.b.dims(inputs[0]);
      inputs[i] = rw.b.reshape(inputs[i], Dims(x.begin() + m.attrs.integer("axis", 0), x.end()));
    }
    rw.set(node.outputs[0], rw.b.op(m.op, inputs, m.attrs));
  }
  return rw.finish();
}

}  // namespace onnxray
