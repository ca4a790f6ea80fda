// Converters: one function per ONNX operator (and incompatible version) that lowers a node onto engine ops. They decode
// attributes and opset differences only; all shape rules live in OpDef::infer. Shapes are concrete here, so a
// converter may branch on ranks and compute targets; what it adds over constants folds at once.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/builder.h"
#include "onnx_import/node.h"

namespace onnxray::onnx_import {

// Gives the contents of values that shapes depend on (see Specialiser in specialise.h).
class ConstantSource {
 public:
  virtual ~ConstantSource() = default;
  // The contents of `v`, or an undefined tensor when they are not known before running.
  virtual Tensor known(ValueId v) = 0;
  // The same, but what is not known is computed from the actual inputs; throws when there are none.
  virtual Tensor require(ValueId v, std::string_view what) = 0;
};

class ConvertCtx {
 public:
  ConvertCtx(Builder& b, const OnnxNode& node, std::int64_t version, std::vector<ValueId> inputs,
             ConstantSource& constants)
      : b(b),
        node(node),
        version(version),
        inputs_(std::move(inputs)),
        outputs_(node.outputs.size(), kNoValue),
        constants_(constants) {}

  Builder& b;
  const OnnxNode& node;
  const std::int64_t version;  // of the node's domain, as the model declares it

  [[nodiscard]] std::size_t count() const { return inputs_.size(); }
  [[nodiscard]] bool has(std::size_t i) const { return i < inputs_.size() && inputs_[i] != kNoValue; }
  // Input i; an absent one throws, naming it.
  [[nodiscard]] ValueId in(std::size_t i) const {
    ONNXRAY_CHECK(has(i), "input ", i, " is missing");
    return inputs_[i];
  }
  [[nodiscard]] const std::vector<ValueId>& inputs() const { return inputs_; }
  [[nodiscard]] Dims dims(std::size_t i) const { return b.dims(in(i)); }
  [[nodiscard]] DType dtype(std::size_t i) const { return b.dtype(in(i)); }
  [[nodiscard]] std::size_t rank(std::size_t i) const { return dims(i).size(); }

  // Contents of input i, which must be known to build the graph (shapes, axes, repeats).
  [[nodiscard]] Tensor constant(std::size_t i) { return constants_.require(in(i), "input " + std::to_string(i)); }
  [[nodiscard]] std::vector<std::int64_t> constant_ints(std::size_t i) { return constant(i).to_ints(); }
  // Contents of input i where they are known already, else an undefined tensor.
  [[nodiscard]] Tensor known(std::size_t i) { return constants_.known(in(i)); }

  // Attributes. A value of another type throws; the defaults are ONNX's and stand at the call.
  [[nodiscard]] bool has_attr(std::string_view name) const;
  [[nodiscard]] std::int64_t attr_int(std::string_view name, std::int64_t otherwise) const;
  [[nodiscard]] double attr_float(std::string_view name, double otherwise) const;  // float32 in the file
  [[nodiscard]] std::string attr_string(std::string_view name, std::string otherwise) const;
  [[nodiscard]] std::vector<std::int64_t> attr_ints(std::string_view name,
                                                    std::vector<std::int64_t> otherwise = {}) const;
  [[nodiscard]] std::vector<double> attr_floats(std::string_view name, std::vector<double> otherwise = {}) const;
  [[nodiscard]] std::vector<std::string> attr_strings(std::string_view name,
                                                      std::vector<std::string> otherwise = {}) const;
  [[nodiscard]] Tensor attr_tensor(std::string_view name) const;

  // Axes from the attribute "axes" (versions before `since`) or from input `i`; nullopt when absent. Normalised.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> axes(std::int64_t since, std::size_t i, std::size_t rank);

  void out(std::size_t i, ValueId v) {
    if (i < outputs_.size()) outputs_[i] = v;
  }
  void out(ValueId v) { out(0, v); }
  // Whether the model uses output i.
  [[nodiscard]] bool wants(std::size_t i) const { return i < node.outputs.size() && !node.outputs[i].empty(); }
  [[nodiscard]] const std::vector<ValueId>& outputs() const { return outputs_; }

 private:
  std::vector<ValueId> inputs_, outputs_;
  ConstantSource& constants_;
};

using ConvertFn = void (*)(ConvertCtx&);

struct OpRow {
  std::string op_type;
  std::int64_t since = 1;  // valid from this opset version until the next row of the same op
  ConvertFn convert = nullptr;
  std::string domain;        // "" is ai.onnx
  bool has_gradient = true;  // tier 1 with gradient, or plumbing (shapes, integers, piecewise constant)
};

class OpTable {
 public:
  void add(OpRow row) { rows_[row.domain + ":" + row.op_type].push_back(std::move(row)); }
  // The newest row not newer than `version`; null if there is none.
  [[nodiscard]] const OpRow* find(const std::string& domain, const std::string& op_type, std::int64_t version) const;
  // All rows, sorted by name and version; for doctor and the generated tables.
  [[nodiscard]] std::vector<OpRow> all() const;

 private:
  std::unordered_map<std::string, std::vector<OpRow>> rows_;
};

[[nodiscard]] const OpTable& op_table();

// One per family; op_table.cpp calls them all.
void add_math_rows(OpTable& t);        // unary, binary, comparison, logic, casts, min/max/sum/mean, clip, where
void add_activation_rows(OpTable& t);  // Relu family, Gelu, Swish, ...
void add_conv_rows(OpTable& t);        // Conv, ConvTranspose, pooling, global pooling, LRN
void add_matmul_rows(OpTable& t);      // MatMul, Gemm, Einsum
void add_norm_rows(OpTable& t);        // normalisations, Softmax family
void add_reduce_rows(OpTable& t);      // Reduce*, ArgMax/ArgMin, CumSum
void add_layout_rows(OpTable& t);      // Reshape, Transpose, Concat, Slice, Pad, Resize, ...
void add_index_rows(OpTable& t);       // Gather*, Scatter*, TopK, OneHot, NonZero, Trilu, ...
void add_sequence_rows(OpTable& t);    // LSTM, GRU, RNN, Attention, RotaryEmbedding
void add_constant_rows(OpTable& t);    // Constant, ConstantOfShape, Shape, Size, Range, EyeLike, Identity, Dropout

}  // namespace onnxray::onnx_import
