#include "engine/passes/passes.h"

namespace onnxray {

Graph extract(const Graph& g, const std::vector<ValueId>& cut, const std::vector<ValueId>& outputs) {
  const auto index = [](ValueId v) { return static_cast<std::size_t>(v); };
  std::vector<char> live(g.value_count(), 0), is_cut(g.value_count(), 0);
  for (const ValueId v : cut) is_cut[index(v)] = 1;
  for (const ValueId v : outputs) live[index(v)] = 1;
  std::vector<char> keep(g.nodes().size(), 0);
  for (std::size_t n = g.nodes().size(); n-- > 0;) {
    const Node& node = g.nodes()[n];
    for (const ValueId v : node.outputs) {
      keep[n] = keep[n] != 0 || (live[index(v)] != 0 && is_cut[index(v)] == 0);
    }
    if (keep[n] == 0) continue;
    for (const ValueId v : node.inputs) {
      if (v != kNoValue) live[index(v)] = 1;
    }
  }
  Graph to;
  Builder b(to);
  std::vector<ValueId> map(g.value_count(), kNoValue);
  const auto add_input = [&](ValueId v) {
    const Value& value = g.value(v);
    map[index(v)] = to.add_input(value.name, value.dtype, value.dims, value.rows);
  };
  for (const ValueId v : cut) add_input(v);
  for (const ValueId v : g.inputs()) {
    if (live[index(v)] != 0 && map[index(v)] == kNoValue) add_input(v);
  }
  const auto mapped = [&](ValueId v) {
    if (v == kNoValue) return v;
    if (map[index(v)] == kNoValue) {
      ONNXRAY_ASSERT(g.is_constant(v), "extract: ", g.label(v), " is not computed");
      map[index(v)] = to.add_constant(g.value(v).constant);
      to.value(map[index(v)]).dtype = g.value(v).dtype;
    }
    return map[index(v)];
  };
  for (std::size_t n = 0; n < g.nodes().size(); ++n) {
    if (keep[n] == 0) continue;
    const Node& node = g.nodes()[n];
    std::vector<ValueId> inputs;
    for (const ValueId v : node.inputs) inputs.push_back(mapped(v));
    const std::vector<ValueId> outs = b.add_node(*node.op, inputs, node.attrs, node.name);
    for (std::size_t i = 0; i < outs.size(); ++i) {
      if (map[index(node.outputs[i])] != kNoValue) continue;  // a cut value that another output's node makes as well
      map[index(node.outputs[i])] = outs[i];
      to.value(outs[i]).rows = g.value(node.outputs[i]).rows;
    }
  }
  std::vector<ValueId> new_outputs;
  for (const ValueId v : outputs) new_outputs.push_back(mapped(v));
  for (const auto& [name, v] : g.names()) {
    if (map[index(v)] != kNoValue) to.set_name(map[index(v)], name);
  }
  to.set_outputs(std::move(new_outputs));
  return to;
}

std::vector<ValueId> splice(Builder& b, const Graph& g, const std::vector<ValueId>& inputs) {
  const auto index = [](ValueId v) { return static_cast<std::size_t>(v); };
  ONNXRAY_ASSERT(inputs.size() == g.inputs().size());
  std::vector<ValueId> map(g.value_count(), kNoValue);
  const auto adopt = [&](ValueId old, ValueId fresh) {
    map[index(old)] = fresh;
    if (b.graph.value(fresh).rows.is_none()) b.graph.value(fresh).rows = g.value(old).rows;
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ONNXRAY_ASSERT(b.dims(inputs[i]) == g.value(g.inputs()[i]).dims, "splice: ", to_string(b.dims(inputs[i])), " for ",
                   to_string(g.value(g.inputs()[i]).dims));
    adopt(g.inputs()[i], inputs[i]);
  }
  const auto mapped = [&](ValueId v) {
    if (v == kNoValue) return v;
    if (map[index(v)] == kNoValue) {
      const ValueId fresh = b.graph.add_constant(g.value(v).constant);
      b.graph.value(fresh).dtype = g.value(v).dtype;
      map[index(v)] = fresh;
    }
    return map[index(v)];
  };
  for (const Node& node : g.nodes()) {
    std::vector<ValueId> in;
    for (const ValueId v : node.inputs) in.push_back(mapped(v));
    const std::vector<ValueId> outs = b.add_node(*node.op, in, node.attrs, node.name);
    for (std::size_t i = 0; i < outs.size(); ++i) adopt(node.outputs[i], outs[i]);
  }
  for (const ValueId v : g.outputs()) (void)mapped(v);
  for (const auto& [name, v] : g.names()) {
    if (map[index(v)] != kNoValue) b.graph.set_name(map[index(v)], name);
  }
  return map;
}

}  // namespace onnxray
