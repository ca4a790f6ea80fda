// RunPool: runs that wait for the next request of their plan, with their memory and what they recorded. Allocating an
// arena and recording its steps cost more than a small request computes.
#pragma once
#include <list>
#include <memory>
#include <mutex>

#include "engine/plan.h"

namespace onnxray {

class RunPool final : public IdleMemory, public std::enable_shared_from_this<RunPool> {
 public:
  // Brings a run back; one that failed, or whose plan nobody else holds, is destroyed.
  struct Return {
    std::weak_ptr<RunPool> pool;
    std::size_t limit = 0;
    void operator()(PlanRun* run) const noexcept;
  };
  using Run = std::unique_ptr<PlanRun, Return>;

  // `device`: null for the host. Registered with the device, whose failing allocations release what is idle.
  [[nodiscard]] static std::shared_ptr<RunPool> make(const std::shared_ptr<const Device>& device);

  // A run of the plan for the caller alone, an idle one if there is one. `memory_bytes`: what it and the idle runs may
  // take together, the least recently used ones go first; 0: three quarters of a device's memory, 1 GiB of a host's.
  [[nodiscard]] Run take(std::shared_ptr<const Plan> plan, std::size_t memory_bytes = 0);

  bool release() override;
  [[nodiscard]] std::size_t idle_bytes() const;
  [[nodiscard]] std::size_t idle_runs() const;

 private:
  using Runs = std::list<std::unique_ptr<PlanRun>>;
  void put(std::unique_ptr<PlanRun> run, std::size_t limit);
  // Moves to `out` what nobody can ask for any more, then the oldest runs until `bytes` more fit below the limit.
  void evict(std::size_t bytes, std::size_t limit, Runs& out);

  static constexpr std::size_t kMostRuns = 16;
  std::size_t default_limit_ = std::size_t{1} << 30;
  mutable std::mutex mutex_;
  Runs idle_;  // most recently used first
};

}  // namespace onnxray
