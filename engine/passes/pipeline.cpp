// The order of passes around a request's gradient.
#include "engine/model.h"

namespace onnxray {

Graph prepare_forward(const Graph& g, Precision precision, const Evaluator& evaluate) {
  Graph typed = clean(set_precision(g, precision, evaluate));
  // A literal run computes what the file says, operator by operator.
  return precision == Precision::kDeclared ? typed : recognise_composites(typed, evaluate);
}

Graph prepare_suffix(const Graph& g, const Evaluator& evaluate) {
  return clean(simplify(fold_batch_norm(g, evaluate), evaluate));
}

Graph lower_for(const Backend& backend, const Graph& g, const Evaluator& evaluate,
                const std::vector<std::string>& cotangents) {
  const auto has_kernel = [&](const Node& node) { return backend.find(node.op->name) != nullptr; };
  Graph lowered = clean(simplify(expand_composites(clean(g), has_kernel, evaluate), evaluate));
  // float64 is the reference: plain operations in the model's own layout.
  bool narrow = false;
  for (const Node& node : lowered.nodes()) {
    for (const ValueId v : node.outputs) narrow = narrow || lowered.value(v).dtype == DType::f32;
  }
  if (!narrow) return lowered;
  if (backend.wants_attention != nullptr) {
    lowered = clean(simplify(fuse_attention(lowered, backend, evaluate), evaluate));
  }
  lowered = clean(fuse_epilogues(lowered));
  if (backend.wants_channels_last) lowered = clean(simplify(channels_last(lowered, evaluate), evaluate));
  lowered = clean(fuse_elementwise(lowered));
  if (backend.wants_packed_masks) lowered = pack_masks(lowered);
  return backend.mode == ComputeMode::kExact ? lowered : set_compute_mode(lowered, backend.mode, cotangents);
}

}  // namespace onnxray
