// Plan: a graph compiled for one device and one set of shapes; immutable, shared by any number of Runs.
// PlanRun: an arena and the bindings of one caller; not thread-safe.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/backend.h"
#include "engine/graph.h"

namespace onnxray {

// Where every value of a graph lives: the part of compiling that needs no kernels.
struct BufferPlan {
  enum class Where : std::uint8_t { kArena, kInput, kConstant, kUnused };
  struct Slot {
    Where where = Where::kUnused;
    std::size_t offset = 0;  // arena offset, or index into the graph's inputs; constants are numbered by the plan
  };
  std::vector<Slot> slots;  // per value
  std::vector<char> read;   // per value: whether anybody reads it
  std::size_t bytes = 0;
};
[[nodiscard]] BufferPlan plan_buffers(const Graph& g);

class Plan {
 public:
  // Compiles every node (which must be live) in order. Throws kUnsupported naming a node without a kernel.
  // `prepared` may be null.
  static std::shared_ptr<const Plan> compile(Graph graph, const Backend& backend,
                                             std::shared_ptr<PreparedConstants> prepared);

  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] std::size_t arena_bytes() const { return arena_bytes_; }  // activations and scratch of one run
  [[nodiscard]] std::size_t constant_bytes() const { return constant_bytes_; }
  // Null: the host.
  [[nodiscard]] const Device* device() const { return device_.get(); }
  // Nodes that run on the host although the plan's device is another: "conv1 (Conv): conv_weight_grad".
  [[nodiscard]] const std::vector<std::string>& fallbacks() const { return fallbacks_; }
  // One line about them for a report; empty without any.
  [[nodiscard]] std::string fallback_notice() const;

 private:
  friend class PlanRun;
  struct Compiled {
    Step step;
    std::vector<ValueId> in, out;  // kNoValue: absent or unread
    NodeId node = 0;
  };
  void upload_constants();

  Graph graph_;
  BufferPlan buffers_;
  std::vector<Compiled> steps_;
  std::vector<Tensor> constants_;
  std::shared_ptr<PreparedConstants> prepared_;
  std::vector<std::shared_ptr<const void>> keep_;
  std::shared_ptr<const Device> device_;
  std::vector<std::shared_ptr<const void>> device_constants_;  // null where no step on the device reads it
  std::vector<std::string> fallbacks_;
  std::string backend_name_;
  std::size_t arena_bytes_ = 0, scratch_offset_ = 0, constant_bytes_ = 0;
};

class PlanRun {
 public:
  explicit PlanRun(std::shared_ptr<const Plan> plan);
  ~PlanRun();
  PlanRun(const PlanRun&) = delete;
  PlanRun& operator=(const PlanRun&) = delete;

  // Binds the i-th graph input; dims must match, the dtype is converted if it differs. The tensor's memory is read in
  // place, on a device by the next execute(). An input that an updating op writes (a state) must have the exact dtype
  // and be owned by the caller.
  void bind(std::size_t input, const Tensor& tensor);
  // Binds a state that begins at zero.
  void bind_zeros(std::size_t input);
  // On a device the work is only queued; what goes wrong there is thrown by the next fetch(), output() or state().
  void execute();
  // Waits until everything queued is done; nothing to do on the host.
  void synchronise() const;
  // Copies outputs to where output() finds them, on a device all of them with one wait.
  void fetch(std::span<const std::size_t> outputs) const;
  // A copy of the i-th graph output, after execute().
  [[nodiscard]] Tensor output(std::size_t i) const;
  // A state's contents, after execute(): the bound memory itself on the host, a copy from the device.
  [[nodiscard]] Tensor state(std::size_t input) const;
  [[nodiscard]] const Plan& plan() const { return *plan_; }
  [[nodiscard]] const std::shared_ptr<const Plan>& shared_plan() const { return plan_; }
  // Arena and inputs, where the plan runs.
  [[nodiscard]] std::size_t bytes() const { return plan_->arena_bytes() + input_bytes_; }

  // As after the constructor, but with the memory and what was recorded: for another caller. Returns false after an
  // error; the run is then of no more use.
  [[nodiscard]] bool reset();

  // Seconds spent in each step since the start, when profiling is on; same order as the plan's nodes.
  void set_profiling(bool on) { profiling_ = on; }
  [[nodiscard]] const std::vector<double>& step_seconds() const { return seconds_; }
  [[nodiscard]] const Node& step_node(std::size_t i) const;

 private:
  // Where a value lies in a block that holds several, on a device and in pinned memory.
  struct Place {
    std::size_t offset = 0, bytes = 0;
    bool pinned = true;  // false: too large, copies go straight to the caller's memory and wait
  };
  void* address(ValueId v) const;
  void* input_address(std::size_t input) const;
  void lay_out();
  void resolve();
  void run_steps();
  void upload_inputs();
  void execute_on_device();
  void wait() const;
  void download(std::span<const ValueId> values) const;
  Tensor downloaded(ValueId v) const;
  ValueId result_of(std::size_t output) const;

  std::shared_ptr<const Plan> plan_;
  Tensor arena_;
  std::vector<Tensor> bound_;
  std::vector<char> given_;  // per input: whether it was bound
  std::vector<void*> pointers_;
  std::size_t input_bytes_ = 0;
  // On a device: the arena, all inputs and their twin in pinned memory, which of them must be uploaded or zeroed.
  std::shared_ptr<void> stream_, device_arena_, device_inputs_, fault_, pinned_inputs_;
  std::vector<Place> input_places_;
  std::size_t pinned_input_bytes_ = 0;
  enum class Change : std::uint8_t { kNone, kUpload, kZero };
  std::vector<Change> changes_;
  // The fault and what is handed out, in pinned memory: which values have arrived since the last execute().
  mutable std::shared_ptr<void> pinned_results_;
  std::unordered_map<ValueId, Place> result_places_;
  std::size_t result_bytes_ = 0;
  mutable std::vector<ValueId> arrived_;
  std::function<void(Stream)> replay_;
  bool resolved_ = false, profiling_ = false;
  mutable bool busy_ = false;    // something is queued
  mutable bool checked_ = true;  // the fault has been read since the last execute()
  mutable bool failed_ = false;  // between the start of a call that did not return and ever after
  std::vector<double> seconds_;
};

}  // namespace onnxray
