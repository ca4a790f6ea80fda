#include "kernels/sim/simulator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "kernels/sim/block.h"
#include "kernels/sim/device.h"
#include "kernels/sim/memory.h"

#if ONNXRAY_SIM_TSAN
extern "C" void __tsan_read_range(const void* address, unsigned long bytes);
#endif

namespace onnxray::sim {
namespace {

struct AtomicCounters {
  std::atomic<std::uint64_t> launches{0}, blocks{0}, barriers{0}, collectives{0}, multiply_adds{0}, bank_conflicts{0},
      async_copy_bytes{0};
};
AtomicCounters total;

Block& block_of_this_os_thread() {
  thread_local std::unique_ptr<Block> mine;
  if (!mine) mine = std::make_unique<Block>();
  return *mine;
}

// The blocks of a launch as OS threads take them.
struct Queue {
  const Launch& launch;
  std::uint64_t blocks;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::string error;

  void work() {
    Block& runner = block_of_this_os_thread();
    runner.barriers = runner.collectives = runner.multiply_adds = runner.bank_conflicts = runner.async_copy_bytes = 0;
    const Options& with = options();
    for (std::uint64_t i; !failed && (i = next++) < blocks;) {
      if (with.schedule == Schedule::kDescending) i = blocks - 1 - i;
      const Dim3 index{static_cast<unsigned>(i % launch.grid.x),
                       static_cast<unsigned>(i / launch.grid.x % launch.grid.y),
                       static_cast<unsigned>(i / launch.grid.x / launch.grid.y)};
      std::string text = runner.run(with, launch, index);
      if (text.empty()) continue;
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) error = std::move(text);
    }
    total.barriers += runner.barriers;
    total.collectives += runner.collectives;
    total.multiply_adds += runner.multiply_adds;
    total.bank_conflicts += runner.bank_conflicts;
    total.async_copy_bytes += runner.async_copy_bytes;
  }
};

// Helpers that wait for launches; they live as long as the process.
class Workers {
 public:
  static Workers& get() {
    static auto* all = new Workers;
    return *all;
  }
  void work(Queue& queue, int helpers) {
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < helpers) {
        threads_.emplace_back([this, index = static_cast<int>(threads_.size())] { loop(index); });
        threads_.back().detach();
      }
      queue_ = &queue;
      helpers_ = busy_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    queue.work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void loop(int index) {
    std::uint64_t seen = 0;
    for (;;) {
      Queue* queue = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (index >= helpers_) continue;
        queue = queue_;
      }
      queue->work();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Queue* queue_ = nullptr;
  int helpers_ = 0, busy_ = 0;
  std::uint64_t generation_ = 0;
};

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Options Options::from_environment() {
  Options o;
  const std::string_view schedule = environment("ONNXRAY_SIM_SCHEDULE"), async = environment("ONNXRAY_SIM_ASYNC");
  if (schedule == "descending") {
    o.schedule = Schedule::kDescending;
  } else if (schedule == "random") {
    o.schedule = Schedule::kRandom;
  } else if (schedule == "warp-skew") {
    o.schedule = Schedule::kWarpSkew;
  } else {
    ONNXRAY_CHECK(schedule.empty() || schedule == "ascending", "ONNXRAY_SIM_SCHEDULE is ", schedule,
                  ", expected ascending, descending, random or warp-skew");
  }
  ONNXRAY_CHECK(async.empty() || async == "late" || async == "early", "ONNXRAY_SIM_ASYNC is ", async,
                ", expected late or early");
  if (async == "early") o.async_copy = AsyncCopy::kEarly;
  if (const char* seed = environment("ONNXRAY_SIM_SEED"); *seed != 0) o.seed = std::strtoull(seed, nullptr, 10);
  o.os_threads = std::atoi(environment("ONNXRAY_SIM_THREADS"));
  return o;
}

Options& options() {
  static Options all = Options::from_environment();
  return all;
}

Counters counters() {
  Counters c;
  c.launches = total.launches;
  c.blocks = total.blocks;
  c.barriers = total.barriers;
  c.collectives = total.collectives;
  c.bank_conflicts = total.bank_conflicts;
  c.multiply_adds = total.multiply_adds;
  c.async_copy_bytes = total.async_copy_bytes;
  return c;
}

void reset_counters() {
  total.launches = total.blocks = total.barriers = total.collectives = 0;
  total.bank_conflicts = total.multiply_adds = total.async_copy_bytes = 0;
}

void run(Dim3 grid, Dim3 block, std::size_t shared_bytes, Body body, const void* closure) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads < 1 || threads > kMaxThreads || block.z > 64)
    fail_internal("simulator: a block of ", threads, " threads");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    fail_internal("simulator: a grid of ", grid.x, "x", grid.y, "x", grid.z, " blocks");
  }
  if (shared_bytes > kMaxShared)
    fail_internal("simulator: ", shared_bytes, " bytes of shared memory, at most ", kMaxShared);

  const Launch launch{grid, block, shared_bytes, body, closure};
  Queue queue{launch, std::uint64_t{grid.x} * grid.y * grid.z};
  ++total.launches;
  total.blocks += queue.blocks;
  int os_threads = options().os_threads;
  if (os_threads <= 0) os_threads = static_cast<int>(std::thread::hardware_concurrency());
  if (kThreadSanitizer) os_threads = 1;
  os_threads =
      static_cast<int>(std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(os_threads, 1)), queue.blocks));
  if (os_threads > 1) {
    Workers::get().work(queue, os_threads - 1);
  } else {
    queue.work();
  }
  acquire(&launch.end_tag);
  if (queue.failed) fail_internal("simulator: ", queue.error);
  const std::string damage = check_allocations();
  if (!damage.empty()) fail_internal("simulator: ", damage);
}

// --- what kernels call ---

void* shared_memory() { return running_block().shared(); }
int barrier(bool predicate, const char* file, unsigned line) { return running_block().barrier(predicate, file, line); }
void collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders) {
  running_block().collective(name, mask, operand, exchange, orders);
}
unsigned lane() { return running_block().lane(); }
void fence() {
  static unsigned char tag;
  release_order(&tag);
  acquire(&tag);
}
void count_multiply_adds(std::uint64_t count) { running_block().multiply_adds += count; }
void count_bank_conflicts(std::uint64_t count) { running_block().bank_conflicts += count; }
void trap(const char* what) { running_block().stop("%s", what); }
void copy_async(void* shared, const void* global, unsigned bytes, unsigned valid) {
  running_block().copy_async(shared, global, bytes, valid);
}
void commit_copies() { running_block().commit_copies(); }
void wait_copies(unsigned groups_left) { running_block().wait_copies(groups_left); }
void observe_read([[maybe_unused]] const void* pointer, [[maybe_unused]] std::size_t bytes) {
#if ONNXRAY_SIM_TSAN
  __tsan_read_range(pointer, bytes);
#endif
}

}  // namespace onnxray::sim
