// The order of passes around a request's gradient.
#include "engine/model.h"

namespace onnxray {

Graph prepare_forward(const Graph& g, Precision precision, const Evaluator& evaluate) {
  return recognise_composites(clean(set_precision(g, precision, evaluate)), evaluate);
}

Graph prepare_suffix(const Graph& g, const Evaluator& evaluate) {
  (void)evaluate;
  return clean(g);
}

Graph lower_for(const Backend& backend, const Graph& g, const Evaluator& evaluate) {
  const auto has_kernel = [&](const Node& node) { return backend.find(node.op->name) != nullptr; };
  return clean(expand_composites(clean(g), has_kernel, evaluate));
}

}  // namespace onnxray
