#include "engine/work.h"

#include "engine/op.h"

namespace onnxray {

std::int64_t multiply_adds(const Graph& g, const Node& node) {
  const auto dims = [&](std::size_t i) -> const Dims& { return g.value(node.inputs.at(i)).dims; };
  const std::int64_t out = count_of(g.value(node.outputs[0]).dims);
  if (node.op->name == "conv") return out * product(dims(1), 1, dims(1).size());
  if (node.op->name == "conv_input_grad") return count_of(dims(0)) * product(dims(1), 1, dims(1).size());
  if (node.op->name == "matmul") {
    const Dims& a = dims(0);
    return out * (node.attrs.integer("trans_a", 0) != 0 ? a[a.size() - 2] : a.back());
  }
  return 0;
}

}  // namespace onnxray
