// The plans of one class of incremental rows. Internal to incremental_rows.
#pragma once
#include <memory>
#include <vector>

#include "algorithms/incremental_rows.h"

namespace onnxray {

// The plans of one class, bound to one example at a time.
class IncrementalRows::Program {
 public:
  Program(const IncrementalRows& owner, const Class& part);

  void start(std::int64_t example);
  [[nodiscard]] const std::vector<double>& clean_scalars() const { return clean_scalars_; }
  // Rows [first, first + count) of the class; scalars [count, K] in `to`.
  void run(std::int64_t first, std::int64_t count, double* to);
  // 0: the memory budget does not hold the clean example and one row.
  [[nodiscard]] std::int64_t chunk() const { return chunk_; }
  // The clean pass and the chunks follow each other; what is kept of the former stays.
  [[nodiscard]] std::size_t peak_bytes() const {
    return kept_bytes_ + std::max(clean_->arena_bytes(), plan_->arena_bytes());
  }
  [[nodiscard]] PlanRun& plan_run() { return *rows_; }
  [[nodiscard]] std::shared_ptr<const Plan> plan() const { return plan_; }

 private:
  [[nodiscard]] Graph clean_graph() const;
  [[nodiscard]] Graph rows_graph(std::int64_t rows) const;
  void choose_chunk();

  const IncrementalRows& owner_;
  const Class& part_;
  Incremental graphs_;
  std::vector<RowMap> target_maps_;
  std::int64_t chunk_ = 1;
  std::shared_ptr<const Plan> clean_, plan_;
  std::size_t kept_bytes_ = 0;
  std::vector<double> clean_scalars_;
  RunPool::Run rows_;
};

}  // namespace onnxray
