#include <algorithm>

#include "engine/passes/passes.h"

namespace onnxray {

Graph set_compute_mode(const Graph& g, ComputeMode mode, const std::vector<std::string>& cotangents) {
  std::vector<char> backward(g.value_count(), 0);
  const auto is_backward = [&](ValueId v) { return v != kNoValue && backward[static_cast<std::size_t>(v)] != 0; };
  for (const ValueId v : g.inputs()) {
    backward[static_cast<std::size_t>(v)] =
        std::find(cotangents.begin(), cotangents.end(), g.value(v).name) != cotangents.end();
  }
  Rewriter rw(g);
  for (const Node& node : g.nodes()) {
    const bool behind = std::any_of(node.inputs.begin(), node.inputs.end(), is_backward);
    for (const ValueId v : node.outputs) backward[static_cast<std::size_t>(v)] = behind;
    const std::string& op = node.op->name;
    const bool multiplies = op == "conv" || op == "conv_input_grad" || op == "conv_weight_grad" || op == "matmul" ||
                            op == "attention" || op == "attention_grad";
    if (!multiplies || g.value(node.outputs[0]).dtype != DType::f32 || (mode == ComputeMode::kBalanced && !behind)) {
      rw.copy(node);
      continue;
    }
    Node marked = node;
    marked.attrs.set("mode", std::string(mode == ComputeMode::kBf16 ? "bf16" : "tf32"));
    // The gradient of attention computes the scores again, as the forward pass did.
    if (op == "attention_grad" && mode != ComputeMode::kBalanced) {
      marked.attrs.set("scores_mode", marked.attrs.text("mode"));
    }
    rw.copy(marked);
  }
  return rw.finish();
}

}  // namespace onnxray
