// Builder: adds nodes to a graph by op name and folds what is constant. Importer, gradients, passes and methods all
// write graphs through it, so all of them read like formulas.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/op.h"

namespace onnxray {

// Computes a node on constant inputs (absent inputs are undefined tensors). Supplied by whoever has a backend.
using Evaluator = std::function<std::vector<Tensor>(const Graph&, const Node&, std::span<const Tensor>)>;

class Builder {
 public:
  // With an evaluator, a node whose inputs are all constant becomes constants (unless that would grow memory much).
  explicit Builder(Graph& graph, Evaluator evaluate = nullptr) : graph(graph), evaluate_(std::move(evaluate)) {}

  // One-output ops. Unneeded trailing outputs are dropped by the planner.
  ValueId op(std::string_view name, std::initializer_list<ValueId> inputs, Attrs attrs = {});
  ValueId op(std::string_view name, const std::vector<ValueId>& inputs, Attrs attrs = {});
  std::vector<ValueId> ops(std::string_view name, const std::vector<ValueId>& inputs, Attrs attrs = {});
  // A copy of `node` over other inputs, attributes included.
  std::vector<ValueId> clone(const Node& node, const std::vector<ValueId>& inputs);
  std::vector<ValueId> add_node(const OpDef& op, const std::vector<ValueId>& inputs, Attrs attrs, std::string name);

  ValueId constant(Tensor t);
  // A scalar constant of v's dtype.
  ValueId scalar_like(ValueId v, double x);
  ValueId zeros(DType dtype, Dims dims);

  // A copy: a reference would dangle once a node is added.
  [[nodiscard]] Dims dims(ValueId v) const { return graph.value(v).dims; }
  [[nodiscard]] DType dtype(ValueId v) const { return graph.value(v).dtype; }
  [[nodiscard]] std::size_t rank(ValueId v) const { return dims(v).size(); }

  // Arithmetic, broadcasting.
  ValueId add(ValueId a, ValueId b) { return op("add", {a, b}); }
  ValueId sub(ValueId a, ValueId b) { return op("sub", {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return op("mul", {a, b}); }
  ValueId div(ValueId a, ValueId b) { return op("div", {a, b}); }
  ValueId add(ValueId a, double s) { return add(a, scalar_like(a, s)); }
  ValueId mul(ValueId a, double s) { return mul(a, scalar_like(a, s)); }
  ValueId neg(ValueId a) { return op("neg", {a}); }
  ValueId where(ValueId c, ValueId a, ValueId b) { return op("where", {c, a, b}); }

  // Shape. Each returns its argument when there is nothing to do.
  ValueId reshape(ValueId v, Dims dims);
  ValueId transpose(ValueId v, const std::vector<std::int64_t>& perm);
  ValueId expand(ValueId v, const Dims& dims);
  ValueId cast(ValueId v, DType dtype);
  ValueId unsqueeze(ValueId v, std::int64_t axis);
  ValueId slice(ValueId v, std::int64_t axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
  // reduce: "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod".
  ValueId reduce(std::string_view name, ValueId v, std::vector<std::int64_t> axes, bool keepdims);
  // Sums the axes along which `dims` was broadcast to v's shape.
  ValueId sum_to(ValueId v, const Dims& dims);
  ValueId matmul(ValueId a, ValueId b, bool trans_a = false, bool trans_b = false);

  Graph& graph;
  std::string context;  // name given to the nodes that are added, e.g. "conv1 (Conv)"
  [[nodiscard]] const Evaluator& evaluator() const { return evaluate_; }

 private:
  Evaluator evaluate_;
};

}  // namespace onnxray
