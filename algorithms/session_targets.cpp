// What a session explains: the scalars as seeds of the values they are read from.
#include "algorithms/session.h"

#include <algorithm>

#include "engine/op.h"

namespace onnxray {

std::int64_t flat_position(const Dims& dims, const std::vector<std::int64_t>& index, const std::string& what) {
  const auto refuse = [&](const char* why) {
    fail("index ", to_string(index), " of '", what, "' ", why, " (one row has shape ", to_string(dims), ")");
  };
  // Trailing extents of 1 need no index: class 281 of [1000, 1, 1].
  const bool rest_is_one =
      index.size() <= dims.size() && std::all_of(dims.begin() + static_cast<std::ptrdiff_t>(index.size()), dims.end(),
                                                 [](std::int64_t d) { return d == 1; });
  if (!rest_is_one) refuse("has another number of dimensions");
  std::int64_t flat = 0;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const std::int64_t given = i < index.size() ? index[i] : 0;
    const std::int64_t k = given < 0 ? given + dims[i] : given;
    if (k < 0 || k >= dims[i]) refuse("is out of range");
    flat = flat * dims[i] + k;
  }
  return flat;
}

std::string before_softmax(const Graph& canonical, const std::string& value) {
  const ValueId v = canonical.find(value);
  if (v == kNoValue) return value;
  const Node* node = canonical.producer(v);
  while (node != nullptr && (node->op->traits.view)) node = canonical.producer(node->inputs[0]);
  if (node == nullptr || node->op->name != "softmax") return value;
  // Before opset 13 the converter flattens around the Softmax: the named value lies behind a view.
  ValueId input = node->inputs[0];
  while (canonical.value(input).name.empty()) {
    const Node* view = canonical.producer(input);
    if (view == nullptr || !view->op->traits.view) return value;
    input = view->inputs[0];
  }
  return canonical.value(input).name;
}

void Session::resolve_targets(const Graph& canonical) {
  to_ = request_.to;
  if (to_.empty()) to_.push_back(Scalar{{Term{}}, ""});
  const std::string output = model_.outputs().at(0).name;
  for (Scalar& s : to_) {
    for (Term& t : s.terms) {
      if (t.value.empty()) {
        t.value = before_softmax(canonical, output);
        if (t.value != output) {
          const std::string text = "the output is a Softmax: explaining its input '" + t.value + "'";
          if (std::find(notices_.begin(), notices_.end(), text) == notices_.end()) notices_.push_back(text);
        }
      }
      const bool known = std::any_of(targets_.begin(), targets_.end(), [&](const Target& x) {
        return x.value == t.value && x.log_probability == t.log_probability;
      });
      if (!known) targets_.push_back({t.value, t.log_probability, {}, {}});
    }
    if (s.text.empty() && !s.terms.empty()) s.text = s.terms[0].value;
  }
}

void Session::make_seeds() {
  const Graph& g = structure_->whole;
  const std::vector<RowMap>& maps = structure_->maps;
  const auto k = static_cast<std::int64_t>(to_.size());
  for (Target& target : targets_) {
    const ValueId v = g.find(target.value);
    const RowMap rows = maps[static_cast<std::size_t>(v)];
    ONNXRAY_CHECK(is_float(g.value(v).dtype), "to '", target.value, "' is ", name_of(g.value(v).dtype),
                  ", expected a float value");
    ONNXRAY_CHECK(!batched_ || rows.is_rows(), "to '", target.value, "' does not carry rows");
    target.row_dims = row_dims_of(g.value(v).dims, rows);
    // A single row whose axis is unknown keeps it: [1, 1000] is indexed as [1000] all the same.
    if (!batched_ && !rows.is_rows() && !target.row_dims.empty() && target.row_dims[0] == 1) {
      target.row_dims.erase(target.row_dims.begin());
    }
    const std::int64_t size = count_of(target.row_dims);
    const Dims dims = with_rows(examples_ * k, target.row_dims);
    Tensor wide = Tensor::zeros(DType::f64, dims);
    const auto out = wide.mutable_data<double>();
    for (std::int64_t e = 0; e < examples_; ++e) {
      for (std::int64_t s = 0; s < k; ++s) {
        double* row = out.data() + (e * k + s) * size;
        for (const Term& t : to_[static_cast<std::size_t>(s)].terms) {
          if (t.value != target.value || t.log_probability != target.log_probability) continue;
          if (t.mask.defined()) {
            const Dims many = with_rows(examples_, target.row_dims);
            const bool per_example = t.mask.dims() == many;
            ONNXRAY_CHECK(per_example || t.mask.dims() == target.row_dims, "the mask for '", t.value, "' has shape ",
                          to_string(t.mask.dims()), ", expected ", to_string(target.row_dims));
            const auto m = t.mask.to_doubles();
            const std::int64_t first = per_example ? e * size : 0;
            for (std::int64_t i = 0; i < size; ++i) row[i] += t.coefficient * m[static_cast<std::size_t>(first + i)];
          } else if (t.index.empty()) {
            ONNXRAY_CHECK(size == 1, "'", t.value, "' has ", size, " elements per row (shape ",
                          to_string(target.row_dims), "): say which one, e.g. ", t.value, ":0 or --target");
            row[0] += t.coefficient;
          } else {
            ONNXRAY_CHECK(t.index.size() == 1 || static_cast<std::int64_t>(t.index.size()) == examples_, "got ",
                          t.index.size(), " targets for ", examples_, " examples");
            const auto& at = t.index[t.index.size() == 1 ? 0 : static_cast<std::size_t>(e)];
            row[flat_position(target.row_dims, at, t.value)] += t.coefficient;
          }
        }
      }
    }
    target.seeds = wide.to(float_type());
  }
}

}  // namespace onnxray
