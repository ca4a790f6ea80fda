#include "algorithms/scheduler.h"

#include <algorithm>

#include "engine/op.h"

namespace onnxray {
namespace {
double seconds_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

// "conv [8, 56, 56, 64]": the operator and its result.
std::string describe(const PlanRun& run, std::size_t step) {
  const Node& node = run.step_node(step);
  return node.op->name + " " + to_string(run.plan().graph().value(node.outputs[0]).dims);
}

}  // namespace

Scheduler::Scheduler(const ComputeOptions& options, std::string phase, std::int64_t total)
    : options_(options), start_(std::chrono::steady_clock::now()), first_row_(start_) {
  progress_.phase = std::move(phase);
  progress_.total = total;
}

void Scheduler::run(RowProgram& program, std::int64_t count, const std::function<Row(std::int64_t)>& make,
                    const std::function<void(std::int64_t, std::int64_t)>& absorb,
                    const std::function<void(std::int64_t, std::int64_t)>& prepare) {
  if (progress_.done == 0) first_row_ = std::chrono::steady_clock::now();
  chunk_ = std::max(chunk_, program.chunk());
  peak_ = std::max(peak_, program.peak_bytes());
  program.plan_run().set_profiling(options_.profile);
  std::vector<Row> rows;
  for (std::int64_t first = 0; first < count; first += program.chunk()) {
    const std::int64_t n = std::min(program.chunk(), count - first);
    rows.clear();
    for (std::int64_t k = first; k < first + n; ++k) rows.push_back(make(k));
    if (prepare) prepare(first, n);
    program.run(rows);
    absorb(first, n);
    // Progress counts rows that are done, not queued.
    if (options_.progress) program.plan_run().synchronise();
    tick(n);
  }
  if (!options_.profile) return;
  const PlanRun& run = program.plan_run();
  for (std::size_t i = 0; i < run.step_seconds().size(); ++i) op_seconds_[describe(run, i)] += run.step_seconds()[i];
}

void Scheduler::run(PlanRun& plan, std::int64_t chunk, std::size_t peak_bytes, std::int64_t count,
                    const std::function<void(std::int64_t, std::int64_t)>& step) {
  if (progress_.done == 0) first_row_ = std::chrono::steady_clock::now();
  chunk_ = std::max(chunk_, chunk);
  peak_ = std::max(peak_, peak_bytes);
  plan.set_profiling(options_.profile);
  const std::vector<double> before = plan.step_seconds();
  for (std::int64_t first = 0; first < count; first += chunk) {
    const std::int64_t n = std::min(chunk, count - first);
    step(first, n);
    tick(n);
  }
  if (!options_.profile) return;
  for (std::size_t i = 0; i < plan.step_seconds().size(); ++i) {
    op_seconds_[describe(plan, i)] += plan.step_seconds()[i] - (i < before.size() ? before[i] : 0);
  }
}

void Scheduler::tick(std::int64_t rows) {
  progress_.done += rows;
  if (!options_.progress) return;
  progress_.seconds = seconds_since(start_);
  const double running = seconds_since(first_row_);
  progress_.remaining_seconds =
      running / static_cast<double>(progress_.done) * static_cast<double>(progress_.total - progress_.done);
  if (!options_.progress(progress_)) throw Error(ErrorKind::kCancelled, progress_.phase + ": cancelled");
}

void Scheduler::report(const Session& session, ComputeReport& out) const {
  out.rows = progress_.done;
  out.chunk = chunk_;
  out.seconds = seconds_since(start_);
  out.setup_seconds = std::chrono::duration<double>(first_row_ - start_).count();
  out.peak_bytes = peak_;
  out.op_seconds = op_seconds_;
  out.batched = session.batched();
  out.precision = session.precision();
  out.notices = session.notices();
}

}  // namespace onnxray
