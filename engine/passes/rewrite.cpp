#include "engine/passes/rewrite.h"

namespace onnxray {

Rewriter::Rewriter(const Graph& from, Evaluator evaluate)
    : from(from), b(to, std::move(evaluate)), map_(from.value_count(), kNoValue), names_(from.value_count()) {
  for (const auto& [name, v] : from.names()) names_[static_cast<std::size_t>(v)].push_back(&name);
  for (const ValueId v : from.inputs()) {
    const Value& value = from.value(v);
    set(v, to.add_input(value.name, value.dtype, value.dims, value.rows));
  }
}

ValueId Rewriter::operator()(ValueId old) {
  if (old == kNoValue) return kNoValue;
  ValueId& slot = map_[static_cast<std::size_t>(old)];
  if (slot == kNoValue) {
    const Value& value = from.value(old);
    ONNXRAY_ASSERT(value.constant.defined(), "value ", from.label(old), " was not rewritten");
    const ValueId fresh = to.add_constant(value.constant);
    to.value(fresh).dtype = value.dtype;
    set(old, fresh);
  }
  return map_[static_cast<std::size_t>(old)];
}

std::vector<ValueId> Rewriter::map(std::span<const ValueId> old) {
  std::vector<ValueId> out;
  out.reserve(old.size());
  for (const ValueId v : old) out.push_back((*this)(v));
  return out;
}

void Rewriter::set(ValueId old, ValueId fresh) {
  map_[static_cast<std::size_t>(old)] = fresh;
  const Value& value = from.value(old);
  if (!value.name.empty()) to.set_name(fresh, value.name);
  for (const std::string* name : names_[static_cast<std::size_t>(old)]) to.set_name(fresh, *name);
  if (to.value(fresh).rows.is_none()) to.value(fresh).rows = value.rows;
}

void Rewriter::copy(const Node& node) {
  const std::vector<ValueId> outs = b.add_node(*node.op, map(node.inputs), node.attrs, node.name);
  for (std::size_t i = 0; i < outs.size(); ++i) set(node.outputs[i], outs[i]);
}

Graph Rewriter::finish() {
  to.set_outputs(map(from.outputs()));
  return std::move(to);
}

}  // namespace onnxray
