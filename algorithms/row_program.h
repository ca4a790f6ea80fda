// RowProgram: rows made, pushed through the model behind the cut, differentiated and folded, all in one plan. A row is
// an example with its varied values replaced: by the actual ones, by a point on the path from a baseline, or by the
// baseline under a mask. Memory depends on the rows per chunk, not on how many chunks there are.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "algorithms/session.h"
#include "engine/plan.h"

namespace onnxray {

enum class RowMaker {
  kActual,  // the example as it is
  kPath,    // alpha x + (1 - alpha) baseline
  kMask,    // mask ? baseline : x
};

struct RowSpec {
  RowMaker maker = RowMaker::kActual;
  bool gradient = false;  // of every scalar with respect to every `from` value
  bool fold = false;      // add weight * gradient into per-example states instead of handing gradients out
};

struct Row {
  std::int64_t example = 0;
  double alpha = 1;   // kPath
  double weight = 0;  // of this row's gradient in the fold
};

class RowProgram {
 public:
  // baselines: one per varied value, [E or 1, row_dims...] (ignored for kActual). `total` rows will be asked for in
  // all; the chunk follows from the session, the memory budget and `total`.
  RowProgram(const Session& session, RowSpec spec, const std::vector<Tensor>& baselines, std::int64_t total);

  [[nodiscard]] std::int64_t chunk() const { return chunk_; }
  // Runs up to chunk() rows. kMask: one bool mask per varied value, [rows, row_dims...].
  void run(std::span<const Row> rows, std::span<const Tensor> masks = {});

  // After run(): the scalars of row r, one per `to`.
  [[nodiscard]] double value(std::int64_t r, std::size_t scalar = 0) const;
  // The gradients with respect to from()[i]: [rows * K, row_dims...], scalars innermost. Without fold.
  [[nodiscard]] Tensor gradient(std::size_t i) const;
  // The folded gradients: float64 [E * K, row_dims...].
  [[nodiscard]] const Tensor& folded(std::size_t i) const { return states_.at(i); }
  [[nodiscard]] std::size_t peak_bytes() const { return run_->plan().arena_bytes(); }
  [[nodiscard]] PlanRun& plan_run() { return *run_; }

 private:
  [[nodiscard]] Graph build(std::int64_t rows) const;

  const Session& session_;
  RowSpec spec_;
  std::vector<Tensor> baselines_;
  std::int64_t chunk_ = 1, scalars_ = 1;
  std::unique_ptr<PlanRun> run_;
  std::vector<Tensor> states_;
  std::vector<double> values_;
  std::int64_t used_rows_ = 0;
};

}  // namespace onnxray
