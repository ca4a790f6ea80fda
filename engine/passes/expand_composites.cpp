#include "engine/passes/passes.h"

namespace onnxray {

Graph expand_composites(const Graph& g, const std::function<bool(const Node&)>& has_kernel, const Evaluator& evaluate) {
  Rewriter rw(g, evaluate);
  for (const Node& node : g.nodes()) {
    if (node.op->expand == nullptr || has_kernel(node)) {
      rw.copy(node);
      continue;
    }
    rw.b.context = node.name;
    const std::vector<ValueId> inputs = rw.map(node.inputs);
    const std::vector<ValueId> outs = node.op->expand(rw.b, node, inputs);
    ONNXRAY_ASSERT(outs.size() == node.outputs.size(), node.op->name, " expands to another number of outputs");
    for (std::size_t i = 0; i < outs.size(); ++i) rw.set(node.outputs[i], outs[i]);
  }
  return rw.finish();
}

}  // namespace onnxray
