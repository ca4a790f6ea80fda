#include "engine/plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>

#include "engine/base/parallel.h"
#include "engine/base/phases.h"
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

namespace {

constexpr std::size_t kAlign = 256;  // of a value in a block
// Larger values are copied from and to the caller's memory: pinned memory is dear.
constexpr std::size_t kMostPinned = std::size_t{32} << 20;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

std::byte* at(const std::shared_ptr<void>& block, std::size_t offset) {
  return static_cast<std::byte*>(block.get()) + offset;
}

// Sets a flag for as long as a call has not returned: it stays set where the call throws.
class Guard {
 public:
  explicit Guard(bool& flag) : flag_(flag), before_(flag), thrown_(std::uncaught_exceptions()) { flag_ = true; }
  ~Guard() { flag_ = before_ || std::uncaught_exceptions() > thrown_; }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  bool& flag_;
  bool before_;
  int thrown_;
};

}  // namespace

PlanRun::PlanRun(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      arena_(DType::u8, {plan_->device() != nullptr ? 0 : static_cast<std::int64_t>(plan_->arena_bytes_)}),
      bound_(plan_->graph_.inputs().size()),
      given_(bound_.size(), 0) {
  const Device* device = plan_->device();
  if (device == nullptr) return;
  lay_out();
  stream_ = device->create_stream();
  device_arena_ = device->allocate(plan_->arena_bytes_);
  device_inputs_ = device->allocate(input_bytes_);
  fault_ = device->allocate(sizeof(Fault));
  device->zero(fault_.get(), sizeof(Fault), stream_.get());
  busy_ = true;
  changes_.assign(bound_.size(), Change::kNone);
}

PlanRun::~PlanRun() {
  // Copies that are under way read and write what goes now.
  try {
    if (busy_) plan_->device()->synchronise(stream_.get());
  } catch (const Error&) {
    // The device is lost; so is what it did.
  }
}

void PlanRun::lay_out() {
  const Graph& g = plan_->graph_;
  std::vector<char> is_state(g.value_count(), 0);
  for (const Plan::Compiled& c : plan_->steps_) {
    const Node& node = g.node(c.node);
    if (node.op->traits.updates) is_state[index(node.inputs[0])] = 1;
  }
  // What is uploaded stands in front, so that neighbours are one copy; states begin at zero as a rule.
  input_places_.resize(g.inputs().size());
  for (const bool pinned : {true, false}) {
    for (std::size_t i = 0; i < g.inputs().size(); ++i) {
      const ValueId v = g.inputs()[i];
      const std::size_t bytes = bytes_of(g.value(v));
      if ((is_state[index(v)] == 0 && bytes <= kMostPinned) != pinned) continue;
      input_places_[i] = {input_bytes_, bytes, pinned};
      input_bytes_ += aligned(bytes);
    }
    if (pinned) pinned_input_bytes_ = input_bytes_;
  }
  result_bytes_ = kAlign;  // the fault
  const auto add_result = [&](ValueId v) {
    const std::size_t bytes = bytes_of(g.value(v));
    const bool pinned = bytes <= kMostPinned;
    if (!result_places_.emplace(v, Place{result_bytes_, bytes, pinned}).second || !pinned) return;
    result_bytes_ += aligned(bytes);
  };
  for (const ValueId v : g.outputs()) {
    const BufferPlan::Slot& slot = plan_->buffers_.slots[index(v)];
    // An updated state is its input.
    const bool input = slot.where == BufferPlan::Where::kInput;
    add_result(input ? g.inputs()[slot.offset] : v);
  }
  for (const ValueId v : g.inputs()) {
    if (is_state[index(v)] != 0) add_result(v);
  }
}

void PlanRun::bind(std::size_t input, const Tensor& tensor) {
  const Value& v = plan_->graph_.value(plan_->graph_.inputs().at(input));
  ONNXRAY_CHECK(tensor.defined() && tensor.dims() == v.dims, "input '", v.name, "' has shape ",
                to_string(tensor.dims()), ", expected ", to_string(v.dims));
  bound_[input] = tensor.to(v.dtype);
  given_[input] = 1;
  if (plan_->device() != nullptr) changes_[input] = Change::kUpload;
  else resolved_ = false;
}

void PlanRun::bind_zeros(std::size_t input) {
  const Value& v = plan_->graph_.value(plan_->graph_.inputs().at(input));
  if (plan_->device() == nullptr) return bind(input, Tensor::zeros(v.dtype, v.dims));
  bound_[input] = {};
  given_[input] = 1;
  changes_[input] = Change::kZero;
}

bool PlanRun::reset() {
  for (Tensor& t : bound_) t = {};
  changes_.assign(changes_.size(), Change::kNone);
  arrived_.clear();
  seconds_.clear();
  // On a device nothing moves.
  if (plan_->device() == nullptr) resolved_ = false;
  given_.assign(given_.size(), 0);
  profiling_ = false;
  return !failed_;
}

void* PlanRun::input_address(std::size_t input) const {
  if (plan_->device() == nullptr) return const_cast<void*>(bound_[input].raw());
  return at(device_inputs_, input_places_[input].offset);
}

void* PlanRun::address(ValueId v) const {
  if (v == kNoValue) return nullptr;
  const bool on_device = plan_->device() != nullptr;
  const BufferPlan::Slot& slot = plan_->buffers_.slots[index(v)];
  switch (slot.where) {
    case BufferPlan::Where::kInput: return input_address(slot.offset);
    case BufferPlan::Where::kConstant:
      return const_cast<void*>(on_device ? plan_->device_constants_[slot.offset].get()
                                         : plan_->constants_[slot.offset].raw());
    case BufferPlan::Where::kArena:
      return static_cast<std::byte*>(on_device ? device_arena_.get() : const_cast<void*>(arena_.raw())) + slot.offset;
    case BufferPlan::Where::kUnused: break;
  }
  fail_internal("a step reads value ", v, ", which has no memory");
}

void PlanRun::resolve() {
  const Plan& plan = *plan_;
  pointers_.clear();
  for (const Plan::Compiled& c : plan.steps_) {
    for (const ValueId v : c.in) pointers_.push_back(address(v));
    for (const ValueId v : c.out) pointers_.push_back(address(v));
  }
  resolved_ = true;
}

void PlanRun::run_steps() {
  const Plan& plan = *plan_;
  void* arena = plan.device() != nullptr ? device_arena_.get() : const_cast<void*>(arena_.raw());
  std::byte* scratch = static_cast<std::byte*>(arena) + plan.scratch_offset_;
  auto* fault = static_cast<Fault*>(fault_.get());
  void** p = pointers_.data();
  if (profiling_) {
    seconds_.resize(plan.steps_.size(), 0);
    // Copies that are still under way are not the first step's.
    if (plan.device() != nullptr) wait();
  }
  for (std::size_t s = 0; s < plan.steps_.size(); ++s) {
    const Plan::Compiled& c = plan.steps_[s];
    const auto start = profiling_ ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point{};
    c.step.run({p, p + c.in.size(), scratch, stream_.get(), fault, static_cast<std::int32_t>(s + 1)});
    if (profiling_) {
      if (plan.device() != nullptr) plan.device()->synchronise(stream_.get());
      seconds_[s] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    p += c.in.size() + c.out.size();
  }
}

void PlanRun::execute() {
  const Guard guard(failed_);
  apply_thread_limit();
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    if (given_[i] == 0) fail("input '", plan_->graph_.value(plan_->graph_.inputs()[i]).name, "' was not given");
  }
  if (!resolved_) resolve();
  if (plan_->device() != nullptr) {
    execute_on_device();
  } else {
    const InPhase phase(Phase::kRun);
    run_steps();
  }
}

void PlanRun::wait() const {
  const InPhase phase(Phase::kWait);
  plan_->device()->synchronise(stream_.get());
  busy_ = false;
}

void PlanRun::synchronise() const {
  const Guard guard(failed_);
  if (busy_) wait();
}

void PlanRun::upload_inputs() {
  const InPhase phase(Phase::kUpload);
  const Device& device = *plan_->device();
  bool staged = false;
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    const Place& place = input_places_[i];
    if (changes_[i] == Change::kZero) {
      device.zero(input_address(i), place.bytes, stream_.get());
    } else if (changes_[i] == Change::kUpload && !place.pinned) {
      device.upload(input_address(i), bound_[i].raw(), place.bytes, stream_.get());
    } else if (changes_[i] == Change::kUpload) {
      if (!pinned_inputs_) pinned_inputs_ = device.allocate_pinned(pinned_input_bytes_);
      if (!staged && busy_) wait();  // earlier copies still read it
      staged = true;
      std::memcpy(at(pinned_inputs_, place.offset), bound_[i].raw(), place.bytes);
    }
  }
  // Neighbours that changed are one copy.
  for (std::size_t i = 0; staged && i < bound_.size();) {
    const auto copied = [&](std::size_t k) { return changes_[k] == Change::kUpload && input_places_[k].pinned; };
    if (!copied(i)) {
      ++i;
      continue;
    }
    const std::size_t begin = input_places_[i].offset;
    std::size_t end = begin;
    while (i < bound_.size() && (!input_places_[i].pinned || copied(i))) {
      if (input_places_[i].pinned) end = input_places_[i].offset + input_places_[i].bytes;
      ++i;
    }
    device.queue_upload(at(device_inputs_, begin), at(pinned_inputs_, begin), end - begin, stream_.get());
  }
  changes_.assign(changes_.size(), Change::kNone);
}

void PlanRun::execute_on_device() {
  const Device& device = *plan_->device();
  device.use();
  upload_inputs();
  arrived_.clear();
  checked_ = false;
  busy_ = true;
  const InPhase phase(Phase::kRun);
  if (replay_ && !profiling_) return replay_(stream_.get());
  run_steps();
  // The first time the steps run one by one: libraries load and set themselves up. Recording them for later costs
  // little while the device is at work. A step on the host cannot be recorded.
  if (!replay_ && !profiling_ && plan_->fallbacks_.empty()) {
    replay_ = device.record(stream_.get(), [this] { run_steps(); });
  }
}

// Brings values, which are inputs (states) or outputs, and the fault.
void PlanRun::download(std::span<const ValueId> values) const {
  const Guard guard(failed_);
  const Device& device = *plan_->device();
  const bool check = !checked_;
  bool queued = check;
  if (!pinned_results_) pinned_results_ = device.allocate_pinned(result_bytes_);
  if (check) device.queue_download(pinned_results_.get(), fault_.get(), sizeof(Fault), stream_.get());
  for (const ValueId v : values) {
    const Place& place = result_places_.at(v);
    if (!place.pinned || std::find(arrived_.begin(), arrived_.end(), v) != arrived_.end()) continue;
    device.queue_download(at(pinned_results_, place.offset), address(v), place.bytes, stream_.get());
    arrived_.push_back(v);
    queued = true;
  }
  if (!queued) return;
  busy_ = true;
  wait();
  if (!check) return;
  Fault fault{};
  std::memcpy(&fault, pinned_results_.get(), sizeof(fault));
  checked_ = true;
  if (fault.step == 0) return;
  device.zero(fault_.get(), sizeof(fault), stream_.get());
  const Node& node = step_node(static_cast<std::size_t>(fault.step - 1));
  fail("node ", node.name, ": ", node.op->name, ": index ", fault.value, " is out of range");
}

Tensor PlanRun::downloaded(ValueId v) const {
  const InPhase phase(Phase::kDownload);
  download({&v, 1});
  const Value& value = plan_->graph_.value(v);
  const Place& place = result_places_.at(v);
  Tensor t(value.dtype, value.dims);
  if (place.pinned) {
    std::memcpy(t.raw_mutable(), at(pinned_results_, place.offset), place.bytes);
  } else {
    const Guard guard(failed_);
    plan_->device()->download(t.raw_mutable(), address(v), place.bytes, stream_.get());
  }
  return t;
}

void PlanRun::fetch(std::span<const std::size_t> outputs) const {
  if (plan_->device() == nullptr) return;
  const InPhase phase(Phase::kDownload);
  std::vector<ValueId> values;
  for (const std::size_t i : outputs) values.push_back(result_of(i));
  download(values);
}

ValueId PlanRun::result_of(std::size_t output) const {
  const ValueId v = plan_->graph_.outputs().at(output);
  const BufferPlan::Slot& slot = plan_->buffers_.slots[index(v)];
  return slot.where == BufferPlan::Where::kInput ? plan_->graph_.inputs()[slot.offset] : v;
}

Tensor PlanRun::output(std::size_t i) const {
  const ValueId v = plan_->graph_.outputs().at(i);
  const Value& value = plan_->graph_.value(v);
  // A view of an input has dims of its own.
  if (plan_->device() != nullptr) return downloaded(result_of(i)).reshaped(value.dims);
  const InPhase phase(Phase::kDownload);
  Tensor t(value.dtype, value.dims);
  std::memcpy(t.raw_mutable(), address(v), t.bytes());
  return t;
}

Tensor PlanRun::state(std::size_t input) const {
  if (plan_->device() == nullptr) return bound_.at(input);
  // What was bound and not yet uploaded is newer.
  const Value& v = plan_->graph_.value(plan_->graph_.inputs().at(input));
  if (changes_[input] == Change::kUpload) return bound_[input];
  if (changes_[input] == Change::kZero) return Tensor::zeros(v.dtype, v.dims);
  return downloaded(plan_->graph_.inputs()[input]);
}

const Node& PlanRun::step_node(std::size_t i) const { return plan_->graph_.node(plan_->steps_.at(i).node); }

}  // namespace onnxray
