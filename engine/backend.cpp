#include "engine/backend.h"

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

std::function<std::vector<Tensor>(const Graph&, const Node&, std::span<const Tensor>)> evaluator_of(
    const Backend& backend) {
  return [&backend](const Graph& graph, const Node& node, std::span<const Tensor> inputs) {
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
  };
}

}  // namespace onnxray
