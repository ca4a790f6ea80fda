#include "engine/passes/passes.h"

namespace onnxray {
namespace {

DType computed(DType t, Precision p) {
  if (!is_float(t)) return t;
  if (p == Precision::kFloat32) return DType::f32;
  if (p == Precision::kFloat64) return DType::f64;
  return t == DType::f16 || t == DType::bf16 ? DType::f32 : t;
}

}  // namespace

Graph set_precision(const Graph& g, Precision precision, const Evaluator& evaluate) {
  Rewriter rw(g, evaluate);
  for (const ValueId v : rw.to.inputs()) rw.to.value(v).dtype = computed(rw.to.value(v).dtype, precision);
  for (const Node& node : g.nodes()) {
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || rw.mapped(v)) continue;
      const ValueId fresh = rw(v);
      rw.to.value(fresh).dtype = computed(rw.to.value(fresh).dtype, precision);
    }
    if (node.op->name == "cast") {
      const ValueId in = rw(node.inputs[0]);
      const DType target = computed(g.value(node.outputs[0]).dtype, precision);
      rw.b.context = node.name;
      rw.set(node.outputs[0], rw.b.cast(in, target));
      continue;
    }
    rw.copy(node);
  }
  for (const ValueId v : g.outputs()) {
    if (!rw.mapped(v)) {
      const ValueId fresh = rw(v);
      rw.to.value(fresh).dtype = computed(rw.to.value(fresh).dtype, precision);
    }
  }
  return rw.finish();
}

}  // namespace onnxray
