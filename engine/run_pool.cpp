#include "engine/run_pool.h"

#include "engine/base/phases.h"

namespace onnxray {

std::shared_ptr<RunPool> RunPool::make(const std::shared_ptr<const Device>& device) {
  auto pool = std::make_shared<RunPool>();
  if (device) {
    pool->default_limit_ = device->total_bytes() / 4 * 3;
    device->register_idle(pool);
  }
  return pool;
}

void RunPool::evict(std::size_t bytes, std::size_t limit, Runs& out) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    const auto next = std::next(it);
    if ((*it)->shared_plan().use_count() == 1) out.splice(out.end(), idle_, it);
    it = next;
  }
  for (const auto& run : idle_) bytes += run->bytes();
  while (!idle_.empty() && (bytes > limit || idle_.size() >= kMostRuns)) {
    bytes -= idle_.back()->bytes();
    out.splice(out.end(), idle_, std::prev(idle_.end()));
  }
}

RunPool::Run RunPool::take(std::shared_ptr<const Plan> plan, std::size_t memory_bytes) {
  const InPhase phase(Phase::kPrepare);
  const std::size_t limit = memory_bytes > 0 ? memory_bytes : default_limit_;
  Return back{weak_from_this(), limit};
  Runs gone;  // destroyed without the lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = idle_.begin(); it != idle_.end(); ++it) {
      if (&(*it)->plan() != plan.get()) continue;
      PlanRun* run = it->release();
      idle_.erase(it);
      return {run, std::move(back)};
    }
    evict(plan->arena_bytes(), limit, gone);
  }
  gone.clear();
  try {
    return {new PlanRun(plan), std::move(back)};
  } catch (const Error&) {
    if (!release()) throw;
  }
  return {new PlanRun(std::move(plan)), std::move(back)};
}

void RunPool::put(std::unique_ptr<PlanRun> run, std::size_t limit) {
  Runs gone;
  const std::size_t bytes = run->bytes();
  if (!run->reset() || run->shared_plan().use_count() == 1 || bytes > limit) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  evict(bytes, limit, gone);
  idle_.push_front(std::move(run));
}

void RunPool::Return::operator()(PlanRun* run) const noexcept {
  std::unique_ptr<PlanRun> owned(run);
  try {
    if (const auto to = pool.lock()) to->put(std::move(owned), limit);
  } catch (...) {
    // Not kept; nothing is lost but time.
  }
}

bool RunPool::release() {
  Runs gone;
  const std::lock_guard<std::mutex> lock(mutex_);
  gone.swap(idle_);
  return !gone.empty();
}

std::size_t RunPool::idle_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t sum = 0;
  for (const auto& run : idle_) sum += run->bytes();
  return sum;
}

std::size_t RunPool::idle_runs() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return idle_.size();
}

}  // namespace onnxray
