#include <unordered_map>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

std::size_t combine(std::size_t h, std::size_t v) { return h ^ (v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2)); }

std::size_t hash_of(const Node& node, std::span<const ValueId> inputs) {
  std::size_t h = reinterpret_cast<std::size_t>(node.op);
  for (const ValueId v : inputs) h = combine(h, static_cast<std::size_t>(v));
  return combine(h, node.attrs.hash());
}

}  // namespace

Graph clean(const Graph& g) {
  std::vector<char> live(g.value_count(), 0);
  for (const ValueId v : g.outputs()) live[static_cast<std::size_t>(v)] = 1;
  std::vector<char> keep(g.nodes().size(), 0);
  for (std::size_t n = g.nodes().size(); n-- > 0;) {
    const Node& node = g.nodes()[n];
    for (const ValueId v : node.outputs) keep[n] = keep[n] != 0 || live[static_cast<std::size_t>(v)] != 0;
    if (keep[n] == 0) continue;
    for (const ValueId v : node.inputs) {
      if (v != kNoValue) live[static_cast<std::size_t>(v)] = 1;
    }
  }
  Rewriter rw(g);
  std::unordered_multimap<std::size_t, NodeId> seen;
  // Small constants with equal bits are one value, so that the nodes reading them can be one node.
  std::unordered_multimap<std::size_t, ValueId> constants;
  for (std::size_t n = 0; n < g.nodes().size(); ++n) {
    if (keep[n] == 0) continue;
    const Node& node = g.nodes()[n];
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || rw.mapped(v) || !g.is_constant(v) || g.value(v).constant.size() > 64) continue;
      const Value& value = g.value(v);
      std::size_t h = static_cast<std::size_t>(value.dtype);
      for (const std::int64_t d : value.dims) h = combine(h, static_cast<std::size_t>(d));
      for (const double x : value.constant.to_doubles()) h = combine(h, std::hash<double>{}(x));
      const auto [first, last] = constants.equal_range(h);
      for (auto it = first; it != last && !rw.mapped(v); ++it) {
        const Value& other = rw.to.value(it->second);
        if (other.dtype == value.dtype && other.constant.same_bits(value.constant)) rw.set(v, it->second);
      }
      if (!rw.mapped(v)) constants.emplace(h, rw(v));
    }
    const std::vector<ValueId> inputs = rw.map(node.inputs);
    const std::size_t h = hash_of(node, inputs);
    bool found = false;
    const auto [first, last] = seen.equal_range(h);
    for (auto it = first; it != last && !found; ++it) {
      const Node& other = rw.to.node(it->second);
      if (other.op != node.op || other.inputs != inputs || !(other.attrs == node.attrs)) continue;
      if (node.op->traits.updates) continue;
      const std::vector<ValueId> outs = other.outputs;
      for (std::size_t i = 0; i < outs.size(); ++i) rw.set(node.outputs[i], outs[i]);
      found = true;
    }
    if (found) continue;
    rw.copy(node);
    seen.emplace(h, static_cast<NodeId>(rw.to.nodes().size()) - 1);
  }
  return rw.finish();
}

}  // namespace onnxray
