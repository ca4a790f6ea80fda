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

 private:
  friend class PlanRun;
  struct Compiled {
    Step step;
    std::vector<ValueId> in, out;  // kNoValue: absent or unread
    NodeId node = 0;
  };

  Graph graph_;
  BufferPlan buffers_;
  std::vector<Compiled> steps_;
  std::vector<Tensor> constants_;
  std::shared_ptr<PreparedConstants> prepared_;
  std::vector<std::shared_ptr<const void>> keep_;
  std::size_t arena_bytes_ = 0, scratch_offset_ = 0, constant_bytes_ = 0;
};

class PlanRun {
 public:
  explicit PlanRun(std::shared_ptr<const Plan> plan);

  // Binds the i-th graph input; dims must match, the dtype is converted if it differs. The tensor's memory is read in
  // place. An input that an updating op writes (a state) must have the exact dtype and be owned by the caller.
  void bind(std::size_t input, const Tensor& tensor);
  void execute();
  // A copy of the i-th graph output, after execute().
  [[nodiscard]] Tensor output(std::size_t i) const;
  // The output's memory in the arena, valid until the next execute(); for reductions that need no copy.
  [[nodiscard]] const void* output_data(std::size_t i) const;
  [[nodiscard]] const Plan& plan() const { return *plan_; }
  // Seconds spent in each step since the start, when profiling is on; same order as the plan's nodes.
  void set_profiling(bool on) { profiling_ = on; }
  [[nodiscard]] const std::vector<double>& step_seconds() const { return seconds_; }
  [[nodiscard]] const Node& step_node(std::size_t i) const;

 private:
  void* address(ValueId v) const;

  std::shared_ptr<const Plan> plan_;
  Tensor arena_;
  std::vector<Tensor> bound_;
  std::vector<void*> pointers_;
  bool resolved_ = false, profiling_ = false;
  std::vector<double> seconds_;
};

}  // namespace onnxray
