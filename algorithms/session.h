// Session: one request on one model, up to the point where methods differ. It finds the values, cuts the graph between
// what varies and what is asked, runs the part before the cut once per example, and builds row programs for the rest.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/request.h"

namespace onnxray {

// A value at the cut, with its actual contents for every example, rows first: [E, one_row dims without the row axis].
struct CutValue {
  std::string name;
  DType dtype = DType::f32;  // as computed
  Dims one_row;              // in the graph, for one row
  RowMap rows;               // how the graph carries its rows; none: shared by all examples
  Dims row_dims;             // one row as users see it (rows first, row axis removed)
  Tensor actual;             // [E, row_dims...], or [one_row...] when shared
};

class Session {
 public:
  // `cut_at_from`: what varies is `from` itself (integrated gradients, ablation of a layer); else request.vary, by
  // default every input.
  // `any_dtype`: integers and booleans may be attributed to as well, for methods without gradients; a model without
  // float inputs then has all its inputs attributed to by default.
  Session(const Model& model, const Request& request, bool cut_at_from, bool any_dtype = false);

  [[nodiscard]] std::int64_t examples() const { return examples_; }
  [[nodiscard]] bool batched() const { return batched_; }
  [[nodiscard]] Precision precision() const { return precision_; }
  [[nodiscard]] DType float_type() const { return precision_ == Precision::kFloat64 ? DType::f64 : DType::f32; }
  [[nodiscard]] const std::vector<CutValue>& vary() const { return vary_; }
  [[nodiscard]] const std::vector<CutValue>& held() const { return held_; }
  [[nodiscard]] const std::vector<CutValue>& from() const { return from_; }  // `actual` undefined unless from == vary
  [[nodiscard]] const std::vector<Scalar>& to() const { return to_; }
  // Seeds: for each `to` value, the weights whose product with the value is the scalar: [E * K, row_dims...], K =
  // number of scalars, example major.
  struct Target {
    std::string value;
    bool log_probability = false;
    Dims row_dims;
    Tensor seeds;
  };
  [[nodiscard]] const std::vector<Target>& targets() const { return targets_; }
  [[nodiscard]] const std::vector<std::string>& notices() const { return notices_; }
  // Adds a notice to the request's, unless it is there or empty.
  void notice(const std::string& text) const {
    if (!text.empty() && std::find(notices_.begin(), notices_.end(), text) == notices_.end()) notices_.push_back(text);
  }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const Request& request() const { return request_; }

  // The graph behind the cut for one row: inputs vary..., held...; outputs targets..., from....
  [[nodiscard]] const Graph& suffix() const { return *suffix_; }
  // Identifies the suffix among all requests on the model; empty when it depends on data and must not be cached.
  [[nodiscard]] const std::string& key() const { return key_; }

  // The same request with its cut moved: `suffix` has the inputs vary..., held... and the outputs targets..., vary...,
  // where the varied values, any number of them, are called `names`; set_actual gives their contents, rows first. What
  // moved_cut gives depends on no contents.
  struct Cut {
    std::shared_ptr<const Graph> suffix;
    std::vector<CutValue> vary;
  };
  [[nodiscard]] Cut moved_cut(Graph suffix, const std::vector<std::string>& names) const;
  [[nodiscard]] Session cut_again(const Cut& cut) const;
  void set_actual(std::vector<Tensor> actual);

  // A value that carries what varies to the scalars without passing any of the from values `which`; empty if they cut
  // all paths.
  [[nodiscard]] std::string bypass(const std::vector<std::size_t>& which) const;
  // The same past all of them.
  [[nodiscard]] std::string bypass() const;
  // Whether none of the from values `which` depends on another.
  [[nodiscard]] bool are_parallel(const std::vector<std::size_t>& which) const;
  // Throws naming an inner from value that no scalar depends on.
  void expect_between() const;

  // Actual contents of a `from` value for every example: [E, row_dims...].
  [[nodiscard]] Tensor actual_of(const std::string& value) const;

 private:
  // What requests of one structure (shapes, names, precision) have in common: everything but contents and targets'
  // elements.
  struct Structure {
    bool batched = true;
    std::vector<CutValue> vary, held, from;  // without contents
    Graph whole;                             // one row, from the model's inputs
    std::vector<RowMap> maps;                // of its values
    std::shared_ptr<const Graph> suffix = std::make_shared<Graph>();
    std::vector<std::string> notices;
    [[nodiscard]] std::vector<const Graph*> graphs() const { return {&whole, suffix.get()}; }
  };
  // What the structure depends on.
  struct Asked {
    std::vector<std::string> vary, from;
    bool cut_at_from = false, any_dtype = false;
  };
  [[nodiscard]] Structure structure_of(const Graph& canonical, const Asked& asked) const;

  Tensor run_prefix(const std::string& value, const CutValue& shape) const;
  [[nodiscard]] ValueId from_output(std::size_t i) const { return suffix_->outputs()[targets_.size() + i]; }
  // Values of the suffix that depend on `start` (themselves included) around what is blocked.
  [[nodiscard]] std::vector<char> reached(const std::vector<ValueId>& start, const std::vector<ValueId>& blocked) const;
  void resolve_targets(const Graph& canonical);
  void make_seeds();

  const Model& model_;
  const Request& request_;
  std::int64_t examples_ = 1;
  bool batched_ = true;
  Precision precision_;
  std::vector<CutValue> vary_, held_, from_;
  std::vector<Scalar> to_;
  std::vector<Target> targets_;
  mutable std::vector<std::string> notices_;
  std::shared_ptr<const Structure> structure_;
  std::shared_ptr<const Graph> suffix_;
  std::string key_;
  NamedTensors inputs_;
};

// A name as a part of a key: no name can imitate the rest of one.
[[nodiscard]] std::string keyed(const char* role, const std::string& name);

// [row axis first, then the other dims; inner blocks follow the row]: how arrays are handed over.
[[nodiscard]] ValueId rows_first(Builder& b, ValueId v, const RowMap& rows, bool batched);
// The inverse, for a value whose dims at one row are `one_row`.
[[nodiscard]] ValueId from_rows_first(Builder& b, ValueId v, const Dims& one_row, const RowMap& rows, bool batched);
// dims of one row of a value as users see it.
[[nodiscard]] Dims row_dims_of(const Dims& one_row, const RowMap& rows);
// [rows, row_dims...]
[[nodiscard]] Dims with_rows(std::int64_t rows, const Dims& row_dims);

// Position of an index (trailing extents of 1 may be left out, negative numbers count from the end) in one row of
// `what`.
[[nodiscard]] std::int64_t flat_position(const Dims& row_dims, const std::vector<std::int64_t>& index,
                                         const std::string& what);

// Checks the inputs and says which canonical graph serves them; fills the number of examples.
[[nodiscard]] Specialisation specialisation_of(const Model& model, const Request& request, std::int64_t& examples);
// dims of one row of a named value, rows first, for the request's inputs.
[[nodiscard]] Dims row_dims_of_value(const Model& model, const Request& request, const std::string& value);

// If the value is a Softmax's output, the Softmax's input; else the value itself.
[[nodiscard]] std::string before_softmax(const Graph& canonical, const std::string& value);

}  // namespace onnxray
