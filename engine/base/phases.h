// Where the calling thread's time goes while it serves a request: what `onnxray bench --profile` prints. Costs nothing
// worth mentioning where nobody collects.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>

namespace onnxray {

enum class Phase : std::size_t {
  kOther,     // the method itself
  kPrepare,   // checks, graphs, passes, plans, runs
  kUpload,    // inputs to the device
  kRun,       // kernels; on a device: queueing them
  kWait,      // for the device
  kDownload,  // results to the caller's memory
};
inline constexpr std::array<const char*, 6> kPhaseNames{"other", "prepare", "upload", "run", "wait", "download"};

// Collects the calling thread's phases from here to the end of the scope. Every moment counts for one phase, the
// innermost.
class CollectPhases {
 public:
  CollectPhases() : outer_(current()) {
    current() = this;
    since_ = Clock::now();
  }
  ~CollectPhases() { current() = outer_; }
  CollectPhases(const CollectPhases&) = delete;
  CollectPhases& operator=(const CollectPhases&) = delete;

  // By Phase, up to now.
  [[nodiscard]] std::array<double, 6> seconds() {
    enter(phase_);
    return seconds_;
  }

 private:
  friend class InPhase;
  using Clock = std::chrono::steady_clock;

  static CollectPhases*& current() {
    thread_local CollectPhases* collector = nullptr;
    return collector;
  }
  // Returns the phase that is left.
  Phase enter(Phase phase) {
    const Clock::time_point now = Clock::now();
    seconds_[static_cast<std::size_t>(phase_)] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
    const Phase left = phase_;
    phase_ = phase;
    return left;
  }

  CollectPhases* outer_;
  Clock::time_point since_;
  Phase phase_ = Phase::kOther;
  std::array<double, 6> seconds_{};
};

// The scope belongs to a phase.
class InPhase {
 public:
  explicit InPhase(Phase phase) : collector_(CollectPhases::current()) {
    if (collector_ != nullptr) left_ = collector_->enter(phase);
  }
  ~InPhase() {
    if (collector_ != nullptr) (void)collector_->enter(left_);
  }
  InPhase(const InPhase&) = delete;
  InPhase& operator=(const InPhase&) = delete;

 private:
  CollectPhases* collector_;
  Phase left_ = Phase::kOther;
};

}  // namespace onnxray
