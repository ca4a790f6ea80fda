#include "algorithms/attribution/path_ends.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace onnxray {

bool attributes_to_inputs(const Model& model, const Request& request) {
  return std::all_of(request.from.begin(), request.from.end(), [&](const std::string& name) {
    return std::any_of(model.inputs().begin(), model.inputs().end(),
                       [&](const ValueInfo& in) { return in.name == name; });
  });
}

Session session_of_path(const Model& model, const Request& request) {
  const bool inputs = attributes_to_inputs(model, request);
  const bool floats =
      std::any_of(model.inputs().begin(), model.inputs().end(), [](const ValueInfo& in) { return is_float(in.dtype); });
  Session session(model, request, inputs || (!floats && request.vary.empty()));
  session.expect_between();
  if (!inputs && !floats && request.vary.empty()) {
    session.notice("the model's inputs are integers: the path runs from the baseline of '" + request.from[0] +
                   "' itself");
  }
  return session;
}

void add_path_ends(Scheduler& scheduler, const Session& session, const std::vector<Tensor>& baselines,
                   Attribution& out) {
  const std::int64_t examples = session.examples();
  RowProgram ends(session, {.key = "path", .make = path_rows()}, baselines, 2 * examples);
  scheduler.run(
      ends, 2 * examples,
      [&](std::int64_t r) { return Row{.example = r % examples, .alpha = r < examples ? 1.0 : 0.0}; },
      [&](std::int64_t first, std::int64_t rows) {
        for (std::int64_t r = 0; r < rows; ++r) {
          auto& to = first + r < examples ? out.values : out.baseline_values;
          for (std::size_t k = 0; k < session.to().size(); ++k) to.push_back(ends.value(r, k));
        }
      });
}

void run_path(Scheduler& scheduler, RowProgram& program, const Quadrature& q, std::int64_t examples) {
  const auto steps = static_cast<std::int64_t>(q.alphas.size());
  scheduler.run(
      program, examples * steps,
      [&](std::int64_t r) {
        const auto step = static_cast<std::size_t>(r % steps);
        return Row{.example = r / steps, .alpha = q.alphas[step], .weight = q.weights[step]};
      },
      [](std::int64_t, std::int64_t) {});
}

std::vector<double> rise_of(const Attribution& out) {
  std::vector<double> rise;
  for (std::size_t r = 0; r < out.values.size(); ++r) rise.push_back(out.values[r] - out.baseline_values[r]);
  return rise;
}

void add_delta(Session& session, const std::vector<double>& rise, Attribution& out) {
  const std::size_t values = session.from().size(), rows = rise.size();
  std::vector<std::vector<double>> sums;
  bool each = true;
  std::string around;
  for (std::size_t i = 0; i < values; ++i) {
    sums.push_back(row_sums(out.attributions.at(session.from()[i].name)));
    const std::string past = session.bypass(std::vector<std::size_t>{i});
    if (past.empty()) continue;
    each = false;
    if (around.empty()) around = "'" + past + "' reaches the scalar around '" + session.from()[i].name + "'";
  }
  std::vector<std::size_t> all(values);
  std::iota(all.begin(), all.end(), std::size_t{0});
  if (!each && (!session.bypass(all).empty() || !session.are_parallel(all))) {
    session.notice("completeness is not claimed: " + around);
    return;
  }
  out.delta.assign(rows, 0);
  for (std::size_t r = 0; r < rows; ++r) {
    double together = -rise[r];
    for (std::size_t i = 0; i < values; ++i) {
      together += sums[i][r];
      const double error = sums[i][r] - rise[r];
      if (each && std::abs(error) > std::abs(out.delta[r])) out.delta[r] = error;
    }
    if (!each) out.delta[r] = together;
  }
}

std::vector<double> row_sums(const Tensor& rows) {
  const std::vector<double> v = rows.to_doubles();
  std::vector<double> sums(static_cast<std::size_t>(rows.dims().at(0)), 0);
  const std::size_t size = sums.empty() ? 0 : v.size() / sums.size();
  for (std::size_t r = 0; r < sums.size(); ++r) {
    for (std::size_t i = 0; i < size; ++i) sums[r] += v[r * size + i];
  }
  return sums;
}

PathDifference::PathDifference(const CutValue& value, const Tensor& baseline)
    : x_(value.actual.to_doubles()),
      baseline_(baseline.to_doubles()),
      size_(static_cast<std::size_t>(count_of(value.row_dims))),
      one_baseline_(baseline_.size() == size_) {}

void PathDifference::multiply(Tensor& rows, std::int64_t scalars) const {
  const auto v = rows.mutable_data<double>();
  for (std::size_t first = 0, row = 0; first < v.size(); first += size_, ++row) {
    const std::int64_t example = static_cast<std::int64_t>(row) / scalars;
    for (std::size_t j = 0; j < size_; ++j) v[first + j] *= (*this)(example, j);
  }
}

}  // namespace onnxray
