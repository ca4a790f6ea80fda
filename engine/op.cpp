#include "engine/op.h"

namespace onnxray {

const Dims& InferCtx::dims(std::size_t i) const {
  ONNXRAY_ASSERT(has(i), op_.name, " input ", i);
  return graph_.value(inputs_[i]).dims;
}

DType InferCtx::dtype(std::size_t i) const {
  ONNXRAY_ASSERT(has(i), op_.name, " input ", i);
  return graph_.value(inputs_[i]).dtype;
}

void InferCtx::expect_inputs(std::size_t lo, std::size_t hi) const {
  ONNXRAY_CHECK(inputs_.size() >= lo && inputs_.size() <= hi, op_.name, ": got ", inputs_.size(), " inputs, expected ",
                lo == hi ? "" : detail::concat(lo, " to "), hi);
  for (std::size_t i = 0; i < lo; ++i) ONNXRAY_CHECK(has(i), op_.name, ": input ", i, " is missing");
}

void InferCtx::expect_same_dtype(std::size_t a, std::size_t b) const {
  ONNXRAY_CHECK(dtype(a) == dtype(b), op_.name, ": inputs ", a, " and ", b, " are ", name_of(dtype(a)), " and ",
                name_of(dtype(b)), ", expected one dtype");
}

void InferCtx::expect_float(std::size_t i) const {
  ONNXRAY_CHECK(is_float(dtype(i)), op_.name, ": input ", i, " is ", name_of(dtype(i)), ", expected a float type");
}

void OpRegistry::add(OpDef op) {
  ONNXRAY_ASSERT(!op.name.empty() && op.infer != nullptr && find(op.name) == nullptr, op.name);
  ops_.push_back(std::move(op));
  by_name_.emplace(ops_.back().name, &ops_.back());
}

const OpDef* OpRegistry::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

const OpDef& op(std::string_view name) {
  const OpDef* def = ops().find(name);
  ONNXRAY_ASSERT(def != nullptr, "no op named ", name);
  return *def;
}

}  // namespace onnxray
