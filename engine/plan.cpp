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

std::shared_ptr<const Plan> Plan::compile(Graph graph, const Backend& backend,
                                          std::shared_ptr<PreparedConstants> prepared) {
  auto plan = std::make_shared<Plan>();
  plan->graph_ = std::move(graph);
  plan->prepared_ = std::move(prepared);
  Graph& g = plan->graph_;
  const std::size_t values = g.value_count();
  const auto nodes = static_cast<int>(g.nodes().size());
  plan->slots_.assign(values, {});

  std::vector<int> last(values, -1);
  for (int n = 0; n < nodes; ++n) {
    for (const ValueId v : g.node(n).inputs) {
      if (v != kNoValue) last[index(v)] = n;
    }
  }
  std::vector<char> is_output(values, 0);
  for (const ValueId v : g.outputs()) {
    last[index(v)] = nodes;
    is_output[index(v)] = 1;
  }

  for (std::size_t i = 0; i < g.inputs().size(); ++i) plan->slots_[index(g.inputs()[i])] = {Where::kInput, i};
  const auto constant = [&](ValueId v) {
    const Value& value = g.value(v);
    Slot& slot = plan->slots_[index(v)];
    if (slot.where == Where::kConstant) return plan->constants_[slot.offset];
    Tensor t = value.constant;
    if (t.dtype() != value.dtype) {
      const auto convert = [&] { return std::make_shared<Tensor>(value.constant.to(value.dtype)); };
      if (plan->prepared_) {
        const auto held = std::static_pointer_cast<const Tensor>(
            plan->prepared_->get(value.constant, "as " + std::string(name_of(value.dtype)),
                                 [&]() -> std::shared_ptr<const void> { return convert(); }));
        plan->keep_.push_back(held);
        t = *held;
      } else {
        t = *convert();
      }
    }
    slot = {Where::kConstant, plan->constants_.size()};
    plan->constants_.push_back(t);
    plan->constant_bytes_ += t.bytes();
    return t;
  };

  // Buffers: a value has one of its own, or shares one (views, in-place results, updated states).
  std::vector<std::int64_t> buffer(values, -1);  // >= 0: index into lifetimes; -1: not in the arena
  std::vector<ValueId> root(values);             // the value whose memory it is
  for (std::size_t v = 0; v < values; ++v) root[v] = static_cast<ValueId>(v);
  std::vector<Lifetime> lifetimes;
  std::vector<std::size_t> scratch;
  for (int n = 0; n < nodes; ++n) {
    const Node& node = g.node(n);
    std::vector<char> read(node.outputs.size(), 0);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) read[i] = last[index(node.outputs[i])] >= 0;
    std::vector<Tensor> constants;
    for (const ValueId v : node.inputs) constants.push_back(g.is_constant(v) ? constant(v) : Tensor());

    const OpTraits& traits = node.op->traits;
    if ((traits.view || traits.updates) && !(traits.view && g.is_constant(node.inputs[0]))) {
      const ValueId from = root[index(node.inputs[0])], to = node.outputs[0];
      root[index(to)] = from;
      buffer[index(to)] = buffer[index(from)];
      if (buffer[index(from)] >= 0) {
        auto& life = lifetimes[static_cast<std::size_t>(buffer[index(from)])];
        life.last = std::max(life.last, last[index(to)]);
      }
      if (traits.view) continue;
    }
    const PrepareFn prepare = backend.find(node.op->name);
    if (prepare == nullptr) {
      fail_unsupported("node ", node.name, ": the operator '", node.op->name, "' has no kernel on ", backend.name());
    }
    Compiled compiled;
    try {
      compiled.step = prepare(PrepareCtx(g, node, std::move(constants), read, plan->prepared_.get()));
    } catch (const Error& e) {
      throw Error(e.kind(), "node " + node.name + ": " + e.what());
    }
    compiled.in = node.inputs;
    compiled.node = n;
    scratch.push_back(compiled.step.scratch_bytes);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId v = node.outputs[i];
      compiled.out.push_back(read[i] != 0 ? v : kNoValue);
      if (read[i] == 0 || (traits.updates && i == 0)) continue;
      bool reused = false;
      if (i == 0) {
        for (const std::size_t k : inplace_inputs(node)) {
          const ValueId x = node.inputs[k];
          if (x == kNoValue || buffer[index(x)] < 0 || bytes_of(g.value(x)) != bytes_of(g.value(v))) continue;
          if (g.value(x).dims != g.value(v).dims) continue;
          auto& life = lifetimes[static_cast<std::size_t>(buffer[index(x)])];
          if (life.last != n) continue;
          // A kernel that is not elementwise may still read its other inputs after it wrote.
          const auto shares = [&](std::size_t j) {
            return j != k && node.inputs[j] != kNoValue && buffer[index(node.inputs[j])] == buffer[index(x)];
          };
          bool conflict = false;
          for (std::size_t j = 0; j < node.inputs.size() && !traits.elementwise; ++j) conflict = conflict || shares(j);
          if (conflict) continue;
          root[index(v)] = root[index(x)];
          buffer[index(v)] = buffer[index(x)];
          life.last = last[index(v)];
          reused = true;
          break;
        }
      }
      if (reused) continue;
      buffer[index(v)] = static_cast<std::int64_t>(lifetimes.size());
      lifetimes.push_back({bytes_of(g.value(v)), n, last[index(v)]});
    }
    plan->steps_.push_back(std::move(compiled));
  }

  const MemoryPlan memory = plan_memory(lifetimes);
  for (std::size_t v = 0; v < values; ++v) {
    if (buffer[v] >= 0) {
      plan->slots_[v] = {Where::kArena, memory.offsets[static_cast<std::size_t>(buffer[v])]};
    } else if (root[v] != static_cast<ValueId>(v)) {
      plan->slots_[v] = plan->slots_[index(root[v])];
    }
  }
  for (const ValueId v : g.outputs()) {
    if (g.is_constant(v)) (void)constant(v);
  }
  plan->scratch_offset_ = memory.bytes;
  plan->arena_bytes_ = memory.bytes + (scratch.empty() ? 0 : *std::max_element(scratch.begin(), scratch.end()));
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
  const Plan::Slot& slot = plan_->slots_[index(v)];
  switch (slot.where) {
    case Plan::Where::kInput: return const_cast<void*>(bound_[slot.offset].raw());
    case Plan::Where::kConstant: return const_cast<void*>(plan_->constants_[slot.offset].raw());
    default: return static_cast<std::byte*>(const_cast<void*>(arena_.raw())) + slot.offset;
  }
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
