// The one scheduler: pushes rows through a RowProgram chunk by chunk in key order, reports exact progress, cancels.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "algorithms/row_program.h"

namespace onnxray {

class Scheduler {
 public:
  // total: rows of all programs that will run.
  Scheduler(const ComputeOptions& options, std::string phase, std::int64_t total);

  // `more` rows than were known at first (methods that decide on the way).
  void expect(std::int64_t more) { progress_.total += more; }

  // Calls make(k) for every row 0..count-1, prepare(first, rows) before each chunk, where the method binds its per-row
  // inputs, and absorb(first, rows) after it.
  void run(RowProgram& program, std::int64_t count, const std::function<Row(std::int64_t)>& make,
           const std::function<void(std::int64_t first, std::int64_t rows)>& absorb,
           const std::function<void(std::int64_t first, std::int64_t rows)>& prepare = nullptr);

  // Rows of a plan that is no RowProgram: calls step(first, rows), which executes the plan, for each chunk.
  void run(PlanRun& plan, std::int64_t chunk, std::size_t peak_bytes, std::int64_t count,
           const std::function<void(std::int64_t first, std::int64_t rows)>& step);
  // Counts rows that were computed elsewhere.
  void count(std::int64_t rows) { tick(rows); }

  // Fills rows, chunk, seconds and peak memory, and what the session knows: batching, precision, notices.
  void report(const Session& session, ComputeReport& out) const;

 private:
  void tick(std::int64_t rows);

  const ComputeOptions& options_;
  Progress progress_;
  std::chrono::steady_clock::time_point start_, first_row_;
  std::int64_t chunk_ = 0;
  std::size_t peak_ = 0;
  std::map<std::string, double> op_seconds_;
};

}  // namespace onnxray
