// Plan: a graph compiled for one device and one set of shapes; immutable, shared by any number of Runs.
// PlanRun: an arena and the bindings of one caller; not thread-safe.
#pragma once
#include <memory>
#include <string>
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

  // Binds the i-th graph input; dims must match, the dtype is converted if it differs. The tensor's memory is read in
  // place, on a device by the next execute(). An input that an updating op writes (a state) must have the exact dtype
  // and be owned by the caller, who calls read_back() before reading it.
  void bind(std::size_t input, const Tensor& tensor);
  // On a device the work is only queued; what goes wrong there is thrown by the next output() or read_back().
  void execute();
  // A copy of the i-th graph output, after execute().
  [[nodiscard]] Tensor output(std::size_t i) const;
  // Copies a state from the device into the tensor that was bound; nothing to do on the host.
  void read_back(std::size_t input) const;
  [[nodiscard]] const Plan& plan() const { return *plan_; }
  // Seconds spent in each step since the start, when profiling is on; same order as the plan's nodes.
  void set_profiling(bool on) { profiling_ = on; }
  [[nodiscard]] const std::vector<double>& step_seconds() const { return seconds_; }
  [[nodiscard]] const Node& step_node(std::size_t i) const;

 private:
  void* address(ValueId v) const;
  void resolve();
  void run_steps();
  void execute_on_device();
  void check_fault() const;

  std::shared_ptr<const Plan> plan_;
  Tensor arena_;
  std::vector<Tensor> bound_;
  std::vector<void*> pointers_;
  // On a device: the arena, a buffer for each input, whether it must be uploaded, and the recorded steps.
  std::shared_ptr<void> stream_, device_arena_, fault_;
  std::vector<std::shared_ptr<void>> device_inputs_;
  std::vector<char> changed_;
  std::function<void(Stream)> replay_;
  bool executed_ = false;
  bool resolved_ = false, profiling_ = false;
  std::vector<double> seconds_;
};

}  // namespace onnxray
