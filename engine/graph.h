// Graph: a printable, verifiable SSA graph of Nodes over Values. Values and nodes are referred to by index; adding
// invalidates references into the vectors, so code that adds while walking copies ids first.
// Nodes stand in topological order by construction: a node can only be added after its inputs.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/attrs.h"
#include "engine/tensor.h"

namespace onnxray {

struct OpDef;

using ValueId = std::int32_t;
using NodeId = std::int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input that is absent

// How a value carries the rows of a batch: not at all, along one axis of extent outer * rows * inner, or in a way that
// mixes rows. Swin's windows are [64 N, 49, 96]: axis 0, inner 64. A ViT that flattens [tokens, N, C] to two axes has
// [197 N, 768] with the row index innermost: axis 0, outer 197.
struct RowMap {
  enum class Kind : std::uint8_t { kNone, kRows, kMixed } kind = Kind::kNone;
  std::int64_t axis = 0;
  std::int64_t inner = 1;
  std::int64_t outer = 1;
  bool operator==(const RowMap&) const = default;

  [[nodiscard]] static RowMap none() { return {}; }
  [[nodiscard]] static RowMap rows(std::int64_t axis, std::int64_t inner = 1, std::int64_t outer = 1) {
    return {Kind::kRows, axis, inner, outer};
  }
  [[nodiscard]] static RowMap mixed() { return {Kind::kMixed}; }
  [[nodiscard]] bool is_none() const { return kind == Kind::kNone; }
  [[nodiscard]] bool is_rows() const { return kind == Kind::kRows; }
  [[nodiscard]] bool is_mixed() const { return kind == Kind::kMixed; }
};

struct Value {
  std::string name;  // the ONNX name, or empty for what a rewrite made
  DType dtype = DType::f32;
  Dims dims;
  NodeId producer = -1;  // -1: an input or a constant
  Tensor constant;       // defined for a constant; may be stored in a wider or narrower float type than dtype
  RowMap rows;
};

struct Node {
  const OpDef* op = nullptr;
  std::string name;  // for messages: the ONNX node's name and type, e.g. "conv1 (Conv)"
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
};

class Graph {
 public:
  ValueId add_input(std::string name, DType dtype, Dims dims, RowMap rows = {});
  ValueId add_constant(Tensor tensor, std::string name = {});
  // The node's outputs, their dtypes and dims as op.infer says. Throws Error with the node's name in it.
  std::vector<ValueId> add_node(const OpDef& op, std::span<const ValueId> inputs, Attrs attrs, std::string name = {});

  [[nodiscard]] const Value& value(ValueId v) const { return values_[static_cast<std::size_t>(v)]; }
  [[nodiscard]] Value& value(ValueId v) { return values_[static_cast<std::size_t>(v)]; }
  [[nodiscard]] const Node& node(NodeId n) const { return nodes_[static_cast<std::size_t>(n)]; }
  [[nodiscard]] std::size_t value_count() const { return values_.size(); }
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] const Node* producer(ValueId v) const {
    return value(v).producer < 0 ? nullptr : &node(value(v).producer);
  }
  [[nodiscard]] bool is_constant(ValueId v) const { return v >= 0 && value(v).constant.defined(); }

  [[nodiscard]] const std::vector<ValueId>& inputs() const { return inputs_; }
  [[nodiscard]] const std::vector<ValueId>& outputs() const { return outputs_; }
  void set_outputs(std::vector<ValueId> outputs) { outputs_ = std::move(outputs); }

  // Gives a value one more name; the first name given is the one that is printed.
  void set_name(ValueId v, const std::string& name);
  // The value of that name, or kNoValue.
  [[nodiscard]] ValueId find(std::string_view name) const;
  // Every name -> value.
  [[nodiscard]] const std::unordered_map<std::string, ValueId>& names() const { return names_; }
  // "conv1" or "%12".
  [[nodiscard]] std::string label(ValueId v) const;

  // One line per node: `%3 conv1: float32[1, 64, 112, 112] = conv(%1, %2; pads=[3, 3])`.
  [[nodiscard]] std::string to_text() const;
  // Checks every invariant (order, indices, producers, inferred dtypes and dims); throws kInternal on a violation.
  void verify() const;
  // For every value the number of node inputs and graph outputs that read it.
  [[nodiscard]] std::vector<int> use_counts() const;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_, outputs_;
  std::unordered_map<std::string, ValueId> names_;
};

}  // namespace onnxray
