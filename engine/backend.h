// Backend: the kernels of one device, op name -> prepare. `prepare` runs once per plan and node and decides everything
// that depends on shapes, dtypes and constants; the Step it returns touches only its arguments.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/device.h"
#include "engine/graph.h"

namespace onnxray {

struct RunArgs {
  const void* const* in;  // one pointer per node input; null where absent
  void* const* out;       // one per node output; null where nobody reads it
  std::byte* scratch;     // Step::scratch_bytes, 64-byte aligned
  // Devices only: all pointers are the device's, and `run` returns once the work is queued.
  Stream stream = nullptr;
  Fault* fault = nullptr;
  std::int32_t step = 0;  // what to write to Fault::step
};

struct Step {
  std::function<void(const RunArgs&)> run;
  std::size_t scratch_bytes = 0;
  // Bit i: `run` does not read constant input i, because it holds a prepared form of it. Devices leave it out.
  std::uint32_t unread_constants = 0;
};

// Weights in the form a kernel wants, shared by all plans of a model that are alive: keyed by (the constant's memory, a
// text naming the preparation). An entry keeps its source alive and goes when the last plan that uses it goes.
class PreparedConstants {
 public:
  // `make` returns an object that owns the prepared data.
  std::shared_ptr<const void> get(const Tensor& source, const std::string& preparation,
                                  const std::function<std::shared_ptr<const void>()>& make);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<const void>> made_;
};

// A node as its kernel sees it.
class PrepareCtx {
 public:
  PrepareCtx(const Graph& graph, const Node& node, std::vector<Tensor> constants, std::vector<char> output_read,
             PreparedConstants* prepared, const Device* device = nullptr)
      : node(node),
        attrs(node.attrs),
        graph_(graph),
        constants_(std::move(constants)),
        output_read_(std::move(output_read)),
        prepared_(prepared),
        device_(device) {}

  [[nodiscard]] bool has(std::size_t i) const { return i < node.inputs.size() && node.inputs[i] != kNoValue; }
  [[nodiscard]] const Dims& dims(std::size_t i) const { return graph_.value(node.inputs.at(i)).dims; }
  [[nodiscard]] DType dtype(std::size_t i) const { return graph_.value(node.inputs.at(i)).dtype; }
  [[nodiscard]] const Dims& out_dims(std::size_t i = 0) const { return graph_.value(node.outputs.at(i)).dims; }
  [[nodiscard]] DType out_dtype(std::size_t i = 0) const { return graph_.value(node.outputs.at(i)).dtype; }
  // A constant input in the value's dtype, else an undefined tensor.
  [[nodiscard]] Tensor constant(std::size_t i) const { return i < constants_.size() ? constants_[i] : Tensor(); }
  // Whether anybody reads output i.
  [[nodiscard]] bool output_read(std::size_t i) const { return output_read_.at(i) != 0; }
  // `make()` for constant input i, shared with other plans of the model. The returned pointer keeps everything alive.
  template <class T>
  [[nodiscard]] std::shared_ptr<const T> prepared(std::size_t i, const std::string& preparation,
                                                  const std::function<std::shared_ptr<const T>()>& make) const {
    if (prepared_ == nullptr) return make();
    return std::static_pointer_cast<const T>(prepared_->get(constants_.at(i), preparation, make));
  }

  // Where the kernel will run; null: the host. Outlives the step.
  [[nodiscard]] const Device* device() const { return device_; }

  const Node& node;
  const Attrs& attrs;

 private:
  const Graph& graph_;
  std::vector<Tensor> constants_;
  std::vector<char> output_read_;
  PreparedConstants* prepared_;
  const Device* device_;
};

// A kernel of a device may decline a node (its shapes, its dtypes) by a Step without `run`; the host then takes it.
using PrepareFn = Step (*)(const PrepareCtx&);

// How a device multiplies float32 numbers in convolutions and matrix products; sums are float32 always.
enum class ComputeMode {
  kExact,     // as float32 does
  kBalanced,  // forward as float32 does, backward with operands rounded to TF32 (10 bits)
  kFast,      // operands rounded to TF32
  kBf16,      // operands rounded to bfloat16 (7 bits)
};

class Backend {
 public:
  explicit Backend(std::string name) : name_(std::move(name)) {}
  void add(std::string_view op, PrepareFn prepare) { table_[std::string(op)] = prepare; }
  [[nodiscard]] PrepareFn find(std::string_view op) const {
    const auto it = table_.find(std::string(op));
    return it == table_.end() ? nullptr : it->second;
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Whether float32 plans of this backend compute on NHWC data (passes/channels_last.cpp).
  bool wants_channels_last = false;
  // Whether backward passes of float32 plans read ReLU masks of one bit per element (passes/pack_masks.cpp).
  bool wants_packed_masks = false;
  // Whether float32 attention with these head sizes (of q and k, of v) is faster as one node
  // (passes/fuse_attention.cpp); null: never.
  bool (*wants_attention)(std::int64_t head, std::int64_t value_head) = nullptr;
  ComputeMode mode = ComputeMode::kExact;
  // Where the kernels run; null: on the host.
  std::shared_ptr<const Device> device;
  // Host kernels for the nodes that have none here, with copies to and fro, and for constants while graphs are built.
  const Backend* fallback = nullptr;
  [[nodiscard]] const Backend& host() const { return fallback != nullptr ? *fallback : *this; }

 private:
  std::string name_;
  std::unordered_map<std::string, PrepareFn> table_;
};

// Evaluates single nodes on constants with this backend's host kernels; what Builder folds with.
[[nodiscard]] std::function<std::vector<Tensor>(const Graph&, const Node&, std::span<const Tensor>)> evaluator_of(
    const Backend& backend);

}  // namespace onnxray
