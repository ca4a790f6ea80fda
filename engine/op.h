// OpDef: everything the engine knows about one operator, in one record. Kernels sit in Backend tables (backend.h).
//
//   OpDef{.name = "relu",
//         .infer = infer_unary,                                   // dtypes, shapes and ALL argument checks
//         .grad = [](GradCtx& c) { c.set(0, c.b.op("relu_grad", {c.dy(), c.y()})); },
//         .rows = rows_elementwise,
//         .traits = {.elementwise = true, .inplace = true}}
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph.h"

namespace onnxray {

class Builder;

// What `infer` sees: the inputs' types, shapes and (where constant) contents; it appends one entry per output.
class InferCtx {
 public:
  InferCtx(const Graph& graph, const OpDef& op, std::span<const ValueId> inputs, const Attrs& attrs)
      : attrs(attrs), graph_(graph), op_(op), inputs_(inputs) {}

  [[nodiscard]] std::size_t count() const { return inputs_.size(); }
  [[nodiscard]] bool has(std::size_t i) const { return i < inputs_.size() && inputs_[i] != kNoValue; }
  [[nodiscard]] const Dims& dims(std::size_t i) const;
  [[nodiscard]] DType dtype(std::size_t i) const;
  [[nodiscard]] std::size_t rank(std::size_t i) const { return dims(i).size(); }
  // Throws unless there are between lo and hi inputs and the first `lo` of them are present.
  void expect_inputs(std::size_t lo, std::size_t hi) const;
  // Throws unless inputs a and b have one dtype.
  void expect_same_dtype(std::size_t a, std::size_t b) const;
  void expect_float(std::size_t i) const;

  void output(DType dtype, Dims dims) { outputs.push_back({dtype, std::move(dims)}); }

  struct Output {
    DType dtype;
    Dims dims;
  };
  const Attrs& attrs;
  std::vector<Output> outputs;

 private:
  const Graph& graph_;
  const OpDef& op_;
  std::span<const ValueId> inputs_;
};

// What `grad` sees. Values may have more rows here than in the forward pass (several targets per example): x(i), y(i)
// and dy(i) all agree with each other, and dims(i) is the shape of x(i). A returned cotangent may have the shape of
// the output where the op broadcasts: autodiff sums it back to the input's shape on the edge.
class GradCtx {
 public:
  GradCtx(Builder& b, const Node& node) : b(b), node(node), attrs(node.attrs) {}
  virtual ~GradCtx() = default;

  [[nodiscard]] virtual ValueId x(std::size_t i) = 0;
  [[nodiscard]] virtual ValueId y(std::size_t i = 0) = 0;
  // kNoValue when nobody needs output i.
  [[nodiscard]] virtual ValueId dy(std::size_t i = 0) = 0;
  [[nodiscard]] virtual bool wanted(std::size_t i) const = 0;
  [[nodiscard]] virtual Dims dims(std::size_t i) const = 0;
  virtual void set(std::size_t i, ValueId cotangent) = 0;

  Builder& b;
  const Node& node;
  const Attrs& attrs;
};

// What `rows` sees: the shapes for one row and how the inputs carry rows. It says how the outputs carry them, may ask
// for a row-constant input to be repeated for every row, and adapts attributes that hold a row-dependent extent.
class RowsCtx {
 public:
  struct Input {
    const Dims* dims = nullptr;  // null: absent
    RowMap rows;
    DType dtype = DType::f32;
  };
  std::int64_t count = 1;  // rows B
  std::vector<Input> inputs;
  std::vector<const Dims*> output_dims;  // for one row
  Attrs attrs;                           // to be changed in place
  std::vector<RowMap> outputs;           // one per output, filled by the rule; starts as mixed
  std::vector<RowMap> expand;  // one per input; kRows: repeat this row-constant input so that it has these rows
};

struct OpTraits {
  bool elementwise = false;  // out[i] depends on the inputs at i alone (after broadcasting)
  bool view = false;         // output 0 is input 0's memory under other dims
  bool linear = false;       // linear in each of its active inputs, the others held fixed (bias included: affine)
  bool moves = false;        // moves or selects elements, computes none
  bool inplace = false;      // output 0 may be written over input 0 when both have one dtype and shape
  bool updates = false;      // output 0 IS input 0's memory, updated (a run's state)
  bool commutative = false;
  bool outer_rows = false;          // its rows rule handles RowMap::outer (elementwise ops do)
  bool piecewise_constant = false;  // gradient is zero wherever it exists
};

using InferFn = void (*)(InferCtx&);
using GradFn = void (*)(GradCtx&);
using RowsFn = void (*)(RowsCtx&);
// Rewrites a composite into primitives; returns the outputs.
using ExpandFn = std::vector<ValueId> (*)(Builder&, const Node&, std::span<const ValueId> inputs);
// Rewrites attributes and inputs for NHWC data: input i is channels-last where `last[i]`; the rule returns false if
// the op cannot take it. See passes/channels_last.h.
struct ChannelsLastCtx;
using ChannelsLastFn = bool (*)(ChannelsLastCtx&);
// Which rectangle of the inputs a rectangle of output 0 reads, and the node that computes it from that alone; false if
// the op cannot say. See passes/window.h.
struct WindowCtx;
using WindowFn = bool (*)(WindowCtx&);

struct OpDef {
  std::string name;
  InferFn infer = nullptr;
  GradFn grad = nullptr;      // null: not differentiable, unless traits.piecewise_constant
  RowsFn rows = nullptr;      // null: any input that carries rows makes the outputs mixed
  ExpandFn expand = nullptr;  // set for composites
  ChannelsLastFn channels_last = nullptr;
  WindowFn window = nullptr;  // elementwise ops need none
  OpTraits traits;
};

// The operators, registered once by explicit functions per family; read-only afterwards.
class OpRegistry {
 public:
  void add(OpDef op);
  [[nodiscard]] const OpDef* find(std::string_view name) const;
  [[nodiscard]] const std::deque<OpDef>& all() const { return ops_; }

 private:
  std::deque<OpDef> ops_;
  std::unordered_map<std::string_view, const OpDef*> by_name_;
};

// The registry of all built-in ops (engine/ops/register.cpp).
[[nodiscard]] const OpRegistry& ops();
// By name; an unknown name is our own bug and throws kInternal.
[[nodiscard]] const OpDef& op(std::string_view name);

// Shared rules (engine/ops/common.cpp).
void infer_unary(InferCtx& c);         // same dtype and dims as input 0
void infer_unary_float(InferCtx& c);   // the same, floats only
void infer_binary(InferCtx& c);        // broadcast, one dtype
void infer_compare(InferCtx& c);       // broadcast, one dtype -> bool
void rows_elementwise(RowsCtx& c);     // any number of broadcasting inputs
void rows_unary_any_axis(RowsCtx& c);  // output has input 0's dims axis by axis; the row axis passes through
// Aligns row-constant inputs with the row axis of the others (same rank or broadcasting from the right); returns the
// row map of the broadcast result, mixed when the inputs' axes disagree.
[[nodiscard]] RowMap rows_broadcast(RowsCtx& c, std::size_t result_rank);
// The gradient of a composite by way of its expansion.
void grad_through_expansion(GradCtx& c);

}  // namespace onnxray
