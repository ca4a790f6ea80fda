// Rows that differ from their example inside one box of one varied value: windows of occlusion, segments of feature
// ablation. They are computed incrementally (engine/passes/incremental.h): per layer only the rectangle that the change
// has reached, the rest from one clean pass per example. Rows fall into a few classes by their distance from the
// border, which keeps the rectangles small there; each class has a plan of its own.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "algorithms/scheduler.h"
#include "engine/passes/incremental.h"

namespace onnxray {

// The rows of every example, numbered from 0. Positions are those of the value's row as users see it (row_dims).
struct LocalRows {
  std::size_t value = 0;  // index into Session::vary()
  std::int64_t count = 0;
  // The box [begin, end) per axis outside of which row k equals its example.
  std::function<void(std::int64_t k, Dims& begin, Dims& end)> box;
  // Sets the elements of row k that the baseline replaces in `mask`, which covers [begin, begin + size) per axis,
  // row-major and false at first.
  std::function<void(std::int64_t k, const Dims& begin, const Dims& size, bool* mask)> mark;
};

// Row f of `count` replaces the elements whose feature is f. features: one id per element of a row of shape `row_dims`,
// row-major.
[[nodiscard]] LocalRows rows_of_features(std::size_t value, std::vector<std::int64_t> features, const Dims& row_dims,
                                         std::int64_t count);

class IncrementalRows {
 public:
  // baseline: of the varied value, [1 or E, row_dims...]. plan_work: what a class must save of all work to be split
  // off, in multiply-adds; compiling a plan of its own takes about as long.
  IncrementalRows(const Session& session, LocalRows rows, const Tensor& baseline, double plan_work = 4e9);

  // Whether rectangles cost clearly less than whole rows and fit into the memory budget. Otherwise, and where rows
  // cannot be batched, run whole rows.
  [[nodiscard]] bool pays() const { return !classes_.empty(); }
  [[nodiscard]] std::size_t classes() const { return classes_.size(); }
  // One line for the report: what was done and what it saves.
  [[nodiscard]] std::string notice() const;

  struct Result {
    std::vector<double> clean;  // the scalars of the examples: [E, K]
    std::vector<double> rows;   // those of the rows: [E, count, K]
  };
  // Counts examples * (count + 1) rows on the scheduler.
  [[nodiscard]] Result run(Scheduler& scheduler) const;

 private:
  struct Class {
    std::vector<std::int64_t> rows;                 // ascending
    Intervals intervals;                            // of its boxes
    std::vector<std::vector<std::size_t>> at_axis;  // per axis and row: which interval
    double work = 0;                                // of all rows
  };
  class Program;

  // A class of the given rows, whose boxes (per row, one interval per axis) are in `boxes`.
  [[nodiscard]] Class class_of(std::vector<std::int64_t> rows, const std::vector<std::vector<Interval>>& boxes) const;
  void classify(double plan_work);

  const Session& session_;
  LocalRows rows_;
  Tensor baseline_;
  Graph suffix_;                    // of the session, the targets alone
  std::vector<std::int64_t> axes_;  // spatial axes of the varied value in the graph
  std::vector<Class> classes_;
  double work_ = 0, full_work_ = 0;  // of all rows of an example
};

}  // namespace onnxray
