// What the methods that follow paths share.
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/quadrature.h"
#include "algorithms/scheduler.h"

namespace onnxray {

// Whether every attributed value is an input of the model: then the inputs that are not attributed to stay as they are
// (Captum's additional_forward_args).
[[nodiscard]] bool attributes_to_inputs(const Model& model, const Request& request);

// The session of a method whose path runs through the inputs, or Request::vary, up to inner values. Where there is
// nothing to walk on, because all inputs are integers (token ids), the path runs in the attributed values' own space,
// and a notice says so.
[[nodiscard]] Session session_of_path(const Model& model, const Request& request);

// Adds the scalars at the examples and at their baselines to `out`: 2 * examples rows of a program on path_rows().
void add_path_ends(Scheduler& scheduler, const Session& session, const std::vector<Tensor>& baselines,
                   Attribution& out);

// The steps of every example's path, with the weights of the quadrature: examples * alphas rows of a program on
// path_rows(), whose folds do the rest.
void run_path(Scheduler& scheduler, RowProgram& program, const Quadrature& q, std::int64_t examples);

// F(x) - F(x') per example and scalar.
[[nodiscard]] std::vector<double> rise_of(const Attribution& out);

// Adds delta, the error of sum(attributions) = rise, where completeness holds. Inner values that all paths cross each
// sum to the rise: the worst of them counts. Values that only together cut all paths (several inputs, the branches of a
// block) sum to it together. Otherwise nothing is claimed, and a notice names what bypasses them.
void add_delta(Session& session, const std::vector<double>& rise, Attribution& out);

// Sum over the elements of each row of axis 0.
[[nodiscard]] std::vector<double> row_sums(const Tensor& rows);

// x - x' of a varied value, for example e; `baseline` has one row or one per example.
class PathDifference {
 public:
  PathDifference(const CutValue& value, const Tensor& baseline);
  [[nodiscard]] double operator()(std::int64_t example, std::size_t element) const {
    const std::size_t e = static_cast<std::size_t>(example) * size_ + element;
    return x_[e] - baseline_[one_baseline_ ? element : e];
  }
  // Multiplies [E * K, row_dims...] in place by the example's difference.
  void multiply(Tensor& rows, std::int64_t scalars) const;

 private:
  std::vector<double> x_, baseline_;
  std::size_t size_;
  bool one_baseline_;
};

}  // namespace onnxray
