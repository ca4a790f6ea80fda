#include "engine/builder.h"

#include <algorithm>

namespace onnxray {

ValueId Builder::op(std::string_view name, std::initializer_list<ValueId> inputs, Attrs attrs) {
  return ops(name, std::vector<ValueId>(inputs), std::move(attrs)).front();
}

ValueId Builder::op(std::string_view name, const std::vector<ValueId>& inputs, Attrs attrs) {
  return ops(name, inputs, std::move(attrs)).front();
}

std::vector<ValueId> Builder::ops(std::string_view name, const std::vector<ValueId>& inputs, Attrs attrs) {
  return add_node(onnxray::op(name), inputs, std::move(attrs), context);
}

std::vector<ValueId> Builder::clone(const Node& node, const std::vector<ValueId>& inputs) {
  // Copies, since `node` may live in the vector that grows.
  const OpDef& def = *node.op;
  Attrs attrs = node.attrs;
  std::string name = node.name;
  return add_node(def, inputs, std::move(attrs), std::move(name));
}

std::vector<ValueId> Builder::add_node(const OpDef& def, const std::vector<ValueId>& inputs, Attrs attrs,
                                       std::string name) {
  const std::vector<ValueId> outputs = graph.add_node(def, inputs, std::move(attrs), std::move(name));
  if (!evaluate_) return outputs;
  std::int64_t in_elements = 0;
  bool any = false;
  for (const ValueId v : inputs) {
    if (v == kNoValue) continue;
    if (!graph.is_constant(v)) return outputs;
    any = true;
    in_elements += graph.value(v).constant.size();
  }
  std::int64_t out_elements = 0;
  for (const ValueId v : outputs) out_elements += count_of(graph.value(v).dims);
  // An Expand of a scalar to millions stays a node: it costs less than the memory.
  if (!any || out_elements > std::max<std::int64_t>(1 << 16, 2 * in_elements)) return outputs;
  std::vector<Tensor> tensors;
  for (const ValueId v : inputs) {
    tensors.push_back(v == kNoValue ? Tensor() : graph.value(v).constant.to(graph.value(v).dtype));
  }
  const Node node = *graph.producer(outputs[0]);
  const std::vector<Tensor> results = evaluate_(graph, node, tensors);
  std::vector<ValueId> constants;
  for (const Tensor& t : results) constants.push_back(graph.add_constant(t));
  return constants;
}

ValueId Builder::constant(Tensor t) { return graph.add_constant(std::move(t)); }

ValueId Builder::scalar_like(ValueId v, double x) { return constant(Tensor::full(dtype(v), {}, x)); }

ValueId Builder::zeros(DType dtype, Dims dims) {
  const ValueId zero = constant(Tensor::full(dtype, {}, 0));
  return expand(zero, dims);
}

ValueId Builder::reshape(ValueId v, Dims dims) {
  if (dims == this->dims(v)) return v;
  return op("reshape", {v}, {{"shape", std::move(dims)}});
}

ValueId Builder::transpose(ValueId v, const std::vector<std::int64_t>& perm) {
  bool identity = true;
  for (std::size_t i = 0; i < perm.size(); ++i) identity = identity && perm[i] == static_cast<std::int64_t>(i);
  if (identity) return v;
  return op("transpose", {v}, {{"perm", perm}});
}

ValueId Builder::expand(ValueId v, const Dims& dims) {
  if (dims == this->dims(v)) return v;
  return op("expand", {v}, {{"shape", dims}});
}

ValueId Builder::cast(ValueId v, DType to) {
  if (to == dtype(v)) return v;
  return op("cast", {v}, {{"to", std::string(name_of(to))}});
}

ValueId Builder::unsqueeze(ValueId v, std::int64_t axis) {
  Dims d = dims(v);
  d.insert(d.begin() + axis, 1);
  return reshape(v, std::move(d));
}

ValueId Builder::slice(ValueId v, std::int64_t axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  Dims starts(rank(v), 0), sizes = dims(v), steps(rank(v), 1);
  const auto a = static_cast<std::size_t>(axis);
  if (begin == 0 && end == sizes[a] && step == 1) return v;
  starts[a] = begin;
  sizes[a] = (end - begin + step - 1) / step;
  steps[a] = step;
  return op("slice", {v}, {{"starts", starts}, {"sizes", sizes}, {"steps", steps}});
}

ValueId Builder::reduce(std::string_view name, ValueId v, std::vector<std::int64_t> axes, bool keepdims) {
  return op(name, {v}, {{"axes", std::move(axes)}, {"keepdims", std::int64_t{keepdims}}});
}

ValueId Builder::sum_to(ValueId v, const Dims& target) {
  const Dims from = dims(v);
  if (from == target) return v;
  const std::size_t lead = from.size() - target.size();
  std::vector<std::int64_t> axes;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (i < lead || (target[i - lead] == 1 && from[i] != 1)) axes.push_back(static_cast<std::int64_t>(i));
  }
  const ValueId summed = axes.empty() ? v : reduce("reduce_sum", v, axes, true);
  return reshape(summed, target);
}

ValueId Builder::matmul(ValueId a, ValueId b, bool trans_a, bool trans_b) {
  Attrs attrs;
  if (trans_a) attrs.set("trans_a", std::int64_t{1});
  if (trans_b) attrs.set("trans_b", std::int64_t{1});
  return op("matmul", {a, b}, std::move(attrs));
}

}  // namespace onnxray
