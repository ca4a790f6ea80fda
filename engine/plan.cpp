#include "engine/plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/base/parallel.h"
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
    const PrepareFn prepare = backend.find(node.op->name);
    if (prepare == nullptr) {
      fail_unsupported("node ", node.name, ": the operator '", node.op->name, "' has no kernel on ", backend.name());
    }
    std::vector<char> read;
    Compiled compiled;
    compiled.in = node.inputs;
    compiled.node = n;
    for (const ValueId v : node.outputs) {
      read.push_back(plan->buffers_.read[index(v)]);
      compiled.out.push_back(read.back() != 0 ? v : kNoValue);
    }
    try {
      compiled.step = prepare(PrepareCtx(g, node, std::move(constants), std::move(read), plan->prepared_.get()));
    } catch (const Error& e) {
      throw Error(e.kind(), "node " + node.name + ": " + e.what());
    }
    scratch = std::max(scratch, compiled.step.scratch_bytes);
    plan->steps_.push_back(std::move(compiled));
  }
  for (const ValueId v : g.outputs()) {
    if (g.is_constant(v)) (void)constant(v);
  }
  plan->scratch_offset_ = plan->buffers_.bytes;
  plan->arena_bytes_ = plan->buffers_.bytes + scratch;
  return plan;
}

PlanRun::PlanRun(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      arena_(DType::u8, {static_cast<std::int64_t>(plan_->arena_bytes_)}),
      bound_(plan_->graph_.inputs().size()) {}

void PlanRun::bind(std::size_t input, const Tensor& tensor) {
  const Value& v = plan_->graph_.value(plan_->graph_.inputs().at(input));
  ONNXRAY_CHECK(tensor.defined() && tensor.dims() == v.dims, "input '", v.name, "' has shape ",
                to_string(tensor.dims()), ", expected ", to_string(v.dims));
  bound_[input] = tensor.to(v.dtype);
  resolved_ = false;
}

void* PlanRun::address(ValueId v) const {
  if (v == kNoValue) return nullptr;
  const BufferPlan::Slot& slot = plan_->buffers_.slots[index(v)];
  switch (slot.where) {
    case BufferPlan::Where::kInput: return const_cast<void*>(bound_[slot.offset].raw());
    case BufferPlan::Where::kConstant: return const_cast<void*>(plan_->constants_[slot.offset].raw());
    case BufferPlan::Where::kArena: return static_cast<std::byte*>(const_cast<void*>(arena_.raw())) + slot.offset;
    case BufferPlan::Where::kUnused: break;
  }
  fail_internal("a step reads value ", v, ", which has no memory");
}

void PlanRun::execute() {
  apply_thread_limit();
  const Plan& plan = *plan_;
  if (!resolved_) {
    for (std::size_t i = 0; i < bound_.size(); ++i) {
      if (!bound_[i].defined()) fail("input '", plan.graph_.value(plan.graph_.inputs()[i]).name, "' was not given");
    }
    pointers_.clear();
    for (const Plan::Compiled& c : plan.steps_) {
      for (const ValueId v : c.in) pointers_.push_back(address(v));
      for (const ValueId v : c.out) pointers_.push_back(address(v));
    }
    resolved_ = true;
  }
  std::byte* scratch = static_cast<std::byte*>(const_cast<void*>(arena_.raw())) + plan.scratch_offset_;
  void** p = pointers_.data();
  if (profiling_) seconds_.resize(plan.steps_.size(), 0);
  for (std::size_t s = 0; s < plan.steps_.size(); ++s) {
    const Plan::Compiled& c = plan.steps_[s];
    const auto start = profiling_ ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point{};
    c.step.run({p, p + c.in.size(), scratch});
    if (profiling_) seconds_[s] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    p += c.in.size() + c.out.size();
  }
}

const void* PlanRun::output_data(std::size_t i) const { return address(plan_->graph_.outputs().at(i)); }

Tensor PlanRun::output(std::size_t i) const {
  const Value& v = plan_->graph_.value(plan_->graph_.outputs().at(i));
  Tensor t(v.dtype, v.dims);
  std::memcpy(t.raw_mutable(), output_data(i), t.bytes());
  return t;
}

const Node& PlanRun::step_node(std::size_t i) const { return plan_->graph_.node(plan_->steps_.at(i).node); }

}  // namespace onnxray
