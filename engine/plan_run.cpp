// PlanRun: the memory of one run of a plan, its inputs and results, on the host and on a device.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>

#include "engine/base/parallel.h"
#include "engine/base/phases.h"
#include "engine/op.h"
#include "engine/plan.h"

namespace onnxray {
namespace {

std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

std::size_t bytes_of(const Value& v) { return static_cast<std::size_t>(count_of(v.dims)) * size_of(v.dtype); }

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
