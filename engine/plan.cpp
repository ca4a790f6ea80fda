#include "engine/plan.h"

#include <algorithm>

#include "engine/memory_plan.h"
#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

std::size_t bytes_of(const Value& v) { return static_cast<std::size_t>(count_of(v.dims)) * size_of(v.dtype); }

// Inputs whose memory output 0 may take over when they die at this node.
std::vector<std::size_t> inplace_inputs(const Node& node) {
  std::vector<std::size_t> out;
  // A fused residual sum accumulates into the residual's memory.
  if (node.attrs.has("sum_input")) out.push_back(static_cast<std::size_t>(node.attrs.integer("sum_input", 0)));
  if (node.op->traits.inplace) {
    for (std::size_t i = 0; i < (node.op->traits.elementwise ? node.inputs.size() : 1); ++i) out.push_back(i);
  }
  return out;
}

// A host kernel between copies: inputs come from the device, outputs go back. Outputs that share an input's memory (a
// state, an in-place result) share it here too.
Step on_host(Step step, const Graph& g, const Node& node, const Device& device) {
  std::vector<std::size_t> in_bytes, out_bytes;
  for (const ValueId v : node.inputs) in_bytes.push_back(v == kNoValue ? 0 : bytes_of(g.value(v)));
  for (const ValueId v : node.outputs) out_bytes.push_back(bytes_of(g.value(v)));
  const auto run = [inner = std::move(step), in_bytes, out_bytes, &device](const RunArgs& a) {
    const auto buffer = [](std::size_t bytes) { return Tensor(DType::u8, {static_cast<std::int64_t>(bytes)}); };
    std::vector<Tensor> held;
    std::vector<const void*> in(in_bytes.size(), nullptr);
    std::vector<void*> out(out_bytes.size(), nullptr);
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (a.in[i] == nullptr) continue;
      held.push_back(buffer(in_bytes[i]));
      in[i] = held.back().raw();
      device.download(held.back().raw_mutable(), a.in[i], in_bytes[i], a.stream);
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (a.out[i] == nullptr) continue;
      for (std::size_t k = 0; k < in.size() && out[i] == nullptr; ++k) {
        if (a.in[k] == a.out[i]) out[i] = const_cast<void*>(in[k]);
      }
      if (out[i] != nullptr) continue;
      held.push_back(buffer(out_bytes[i]));
      out[i] = held.back().raw_mutable();
    }
    Tensor scratch = buffer(inner.scratch_bytes);
    inner.run({in.data(), out.data(), static_cast<std::byte*>(scratch.raw_mutable())});
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (a.out[i] != nullptr) device.upload(a.out[i], out[i], out_bytes[i], a.stream);
    }
  };
  return {run};
}

}  // namespace

BufferPlan plan_buffers(const Graph& g) {
  using Where = BufferPlan::Where;
  BufferPlan plan;
  const std::size_t values = g.value_count();
  const auto nodes = static_cast<int>(g.nodes().size());
  plan.slots.assign(values, {});
  plan.read.assign(values, 0);

  std::vector<int> last(values, -1);
  for (int n = 0; n < nodes; ++n) {
    for (const ValueId v : g.node(n).inputs) {
      if (v != kNoValue) last[index(v)] = n;
    }
  }
  for (const ValueId v : g.outputs()) last[index(v)] = nodes;
  for (std::size_t v = 0; v < values; ++v) plan.read[v] = last[v] >= 0;

  // Buffers: a value has one of its own, or shares one (views, in-place results, updated states).
  std::vector<std::int64_t> buffer(values, -1);  // index into lifetimes; -1: not in the arena
  std::vector<ValueId> root(values);             // the value whose memory it is
  for (std::size_t v = 0; v < values; ++v) root[v] = static_cast<ValueId>(v);
  std::vector<Lifetime> lifetimes;
  for (int n = 0; n < nodes; ++n) {
    const Node& node = g.node(n);
    const OpTraits& traits = node.op->traits;
    const bool shares_input = (traits.view && !g.is_constant(node.inputs[0])) || traits.updates;
    if (shares_input) {
      const ValueId from = root[index(node.inputs[0])], to = node.outputs[0];
      root[index(to)] = from;
      buffer[index(to)] = buffer[index(from)];
      if (buffer[index(from)] >= 0) {
        auto& life = lifetimes[static_cast<std::size_t>(buffer[index(from)])];
        life.last = std::max(life.last, last[index(to)]);
      }
    }
    for (std::size_t i = shares_input ? 1 : 0; i < node.outputs.size(); ++i) {
      const ValueId v = node.outputs[i];
      if (plan.read[index(v)] == 0) continue;
      bool reused = false;
      for (const std::size_t k : i == 0 ? inplace_inputs(node) : std::vector<std::size_t>()) {
        const ValueId x = node.inputs[k];
        if (x == kNoValue || buffer[index(x)] < 0 || g.value(x).dims != g.value(v).dims ||
            g.value(x).dtype != g.value(v).dtype) {
          continue;
        }
        auto& life = lifetimes[static_cast<std::size_t>(buffer[index(x)])];
        // A kernel that is not elementwise may still read its other inputs after it wrote.
        bool conflict = life.last != n;
        for (std::size_t j = 0; j < node.inputs.size() && !traits.elementwise; ++j) {
          conflict =
              conflict || (j != k && node.inputs[j] != kNoValue && buffer[index(node.inputs[j])] == buffer[index(x)]);
        }
        if (conflict) continue;
        root[index(v)] = root[index(x)];
        buffer[index(v)] = buffer[index(x)];
        life.last = last[index(v)];
        reused = true;
        break;
      }
      if (reused) continue;
      buffer[index(v)] = static_cast<std::int64_t>(lifetimes.size());
      lifetimes.push_back({bytes_of(g.value(v)), n, last[index(v)]});
    }
  }
  const MemoryPlan memory = plan_memory(lifetimes);
  for (std::size_t i = 0; i < g.inputs().size(); ++i) plan.slots[index(g.inputs()[i])] = {Where::kInput, i};
  for (std::size_t v = 0; v < values; ++v) {
    if (buffer[v] >= 0) {
      plan.slots[v] = {Where::kArena, memory.offsets[static_cast<std::size_t>(buffer[v])]};
    } else if (root[v] != static_cast<ValueId>(v)) {
      plan.slots[v] = plan.slots[index(root[v])];
    }
  }
  plan.bytes = memory.bytes;
  return plan;
}

std::shared_ptr<const Plan> Plan::compile(Graph graph, const Backend& backend,
                                          std::shared_ptr<PreparedConstants> prepared) {
  auto plan = std::make_shared<Plan>();
  plan->graph_ = std::move(graph);
  plan->prepared_ = std::move(prepared);
  plan->device_ = backend.device;
  plan->backend_name_ = backend.name();
  const Graph& g = plan->graph_;
  plan->buffers_ = plan_buffers(g);
  const auto constant = [&](ValueId v) {
    const Value& value = g.value(v);
    BufferPlan::Slot& slot = plan->buffers_.slots[index(v)];
    if (slot.where == BufferPlan::Where::kConstant) return plan->constants_[slot.offset];
    Tensor t = value.constant;
    if (t.dtype() != value.dtype) {
      const auto convert = [&]() -> std::shared_ptr<const void> {
        return std::make_shared<Tensor>(value.constant.to(value.dtype));
      };
      const auto held = plan->prepared_
                            ? plan->prepared_->get(value.constant, "as " + std::string(name_of(value.dtype)), convert)
                            : convert();
      plan->keep_.push_back(held);
      t = *static_cast<const Tensor*>(held.get());
    }
    slot = {BufferPlan::Where::kConstant, plan->constants_.size()};
    plan->constants_.push_back(t);
    plan->constant_bytes_ += t.bytes();
    return t;
  };
  std::size_t scratch = 0;
  for (NodeId n = 0; n < static_cast<NodeId>(g.nodes().size()); ++n) {
    const Node& node = g.node(n);
    std::vector<Tensor> constants;
    for (const ValueId v : node.inputs) constants.push_back(g.is_constant(v) ? constant(v) : Tensor());
    if (node.op->traits.view && !g.is_constant(node.inputs[0])) continue;
    std::vector<char> read;
    Compiled compiled;
    compiled.in = node.inputs;
    compiled.node = n;
    for (const ValueId v : node.outputs) {
      read.push_back(plan->buffers_.read[index(v)]);
      compiled.out.push_back(read.back() != 0 ? v : kNoValue);
    }
    const auto prepare = [&](const Backend& b) {
      const PrepareFn f = b.find(node.op->name);
      if (f == nullptr) return Step();
      try {
        return f(PrepareCtx(g, node, constants, read, plan->prepared_.get(), b.device.get()));
      } catch (const Error& e) {
        throw Error(e.kind(), "node " + node.name + ": " + e.what());
      }
    };
    compiled.step = prepare(backend);
    if (!compiled.step.run && backend.fallback != nullptr) {
      compiled.step = prepare(*backend.fallback);
      if (compiled.step.run) {
        plan->fallbacks_.push_back(detail::concat(node.name, ": ", node.op->name));
        compiled.step = on_host(std::move(compiled.step), g, node, *backend.device);
      }
    }
    if (!compiled.step.run) {
      fail_unsupported("node ", node.name, ": the operator '", node.op->name, "' has no kernel on ", backend.name());
    }
    scratch = std::max(scratch, compiled.step.scratch_bytes);
    plan->steps_.push_back(std::move(compiled));
  }
  for (const ValueId v : g.outputs()) {
    if (g.is_constant(v)) (void)constant(v);
  }
  plan->scratch_offset_ = plan->buffers_.bytes;
  plan->arena_bytes_ = plan->buffers_.bytes + scratch;
  if (plan->device_) plan->upload_constants();
  return plan;
}

std::string Plan::fallback_notice() const {
  if (fallbacks_.empty()) return "";
  return detail::concat(fallbacks_.size(), " nodes have no kernel on ", backend_name_,
                        " and run on the host, the first is ", fallbacks_[0]);
}

void Plan::upload_constants() {
  std::vector<char> read(constants_.size(), 0);
  const auto mark = [&](ValueId v) {
    if (v == kNoValue) return;
    const BufferPlan::Slot& slot = buffers_.slots[index(v)];
    if (slot.where == BufferPlan::Where::kConstant) read[slot.offset] = 1;
  };
  for (const Compiled& c : steps_) {
    for (std::size_t i = 0; i < c.in.size(); ++i) {
      if (i >= 32 || (c.step.unread_constants >> i & 1) == 0) mark(c.in[i]);
    }
  }
  for (const ValueId v : graph_.outputs()) mark(v);
  const std::shared_ptr<void> stream = device_->create_stream();
  device_constants_.resize(constants_.size());
  for (std::size_t i = 0; i < constants_.size(); ++i) {
    if (read[i] == 0) continue;
    const auto upload = [&]() -> std::shared_ptr<const void> {
      auto held = std::make_shared<std::shared_ptr<void>>(device_->allocate(constants_[i].bytes()));
      device_->upload(held->get(), constants_[i].raw(), constants_[i].bytes(), stream.get());
      // Other streams will read it.
      device_->synchronise(stream.get());
      return {held, held->get()};
    };
    device_constants_[i] = prepared_ ? prepared_->get(constants_[i], "on " + device_->description(), upload) : upload();
  }
}

}  // namespace onnxray
