#include "engine/backend.h"

#include <algorithm>

#include "engine/op.h"

namespace onnxray {

namespace {
struct Entry {
  Tensor source;
  std::shared_ptr<const void> made;
};
}  // namespace

std::shared_ptr<const void> PreparedConstants::get(const Tensor& source, const std::string& preparation,
                                                   const std::function<std::shared_ptr<const void>()>& make) {
  const std::string key = detail::concat(source.raw(), '|', preparation);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = made_.find(key);
    if (it != made_.end()) {
      if (auto alive = it->second.lock()) return alive;
    }
  }
  // Outside the lock, since it may take long; a preparation made twice is harmless.
  auto entry = std::make_shared<Entry>(Entry{source, make()});
  std::shared_ptr<const void> result(entry, entry->made.get());
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(made_, [](const auto& item) { return item.second.expired(); });
  made_[key] = result;
  return result;
}

namespace {

bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }

bool reads_or_writes_half(const Graph& graph, const Node& node) {
  const auto half = [&](ValueId v) { return v != kNoValue && is_half(graph.value(v).dtype); };
  return std::any_of(node.inputs.begin(), node.inputs.end(), half) ||
         std::any_of(node.outputs.begin(), node.outputs.end(), half);
}

std::vector<Tensor> evaluate(const Backend& backend, const Graph& graph, const Node& node,
                             std::span<const Tensor> inputs);

// Half-precision types are storage: the node is computed in float32.
std::vector<Tensor> evaluate_wide(const Backend& backend, const Graph& graph, const Node& node,
                                  std::span<const Tensor> inputs) {
  Graph wide;
  std::vector<Tensor> tensors;
  std::vector<ValueId> ids;
  for (const Tensor& t : inputs) {
    tensors.push_back(t.defined() && is_half(t.dtype()) ? t.to(DType::f32) : t);
    ids.push_back(t.defined() ? wide.add_input({}, tensors.back().dtype(), t.dims()) : kNoValue);
  }
  wide.add_node(*node.op, ids, node.attrs, node.name);
  std::vector<Tensor> results = evaluate(backend, wide, wide.node(0), tensors);
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = results[i].to(graph.value(node.outputs[i]).dtype);
  return results;
}

std::vector<Tensor> evaluate(const Backend& backend, const Graph& graph, const Node& node,
                             std::span<const Tensor> inputs) {
  // A cast converts storage types itself.
  if (node.op->name != "cast" && reads_or_writes_half(graph, node)) {
    return evaluate_wide(backend, graph, node, inputs);
  }
  const PrepareFn prepare = backend.find(node.op->name);
  if (prepare == nullptr) {
    fail_unsupported("operator '", node.op->name, "' has no kernel on ", backend.name());
  }
  std::vector<Tensor> constants(inputs.begin(), inputs.end());
  std::vector<const void*> in;
  for (const Tensor& t : inputs) {
    in.push_back(t.defined() ? t.raw() : nullptr);
  }
  const Step step = prepare(PrepareCtx(graph, node, constants, std::vector<char>(node.outputs.size(), 1), nullptr));
  std::vector<Tensor> outputs;
  std::vector<void*> out;
  for (const ValueId v : node.outputs) {
    outputs.emplace_back(graph.value(v).dtype, graph.value(v).dims);
    out.push_back(outputs.back().raw_mutable());
  }
  Tensor scratch(DType::u8, {static_cast<std::int64_t>(step.scratch_bytes)});
  step.run({in.data(), out.data(), static_cast<std::byte*>(scratch.raw_mutable())});
  return outputs;
}

}  // namespace

std::function<std::vector<Tensor>(const Graph&, const Node&, std::span<const Tensor>)> evaluator_of(
    const Backend& backend) {
  return [&host = backend.host()](const Graph& graph, const Node& node, std::span<const Tensor> inputs) {
    return evaluate(host, graph, node, inputs);
  };
}

}  // namespace onnxray
