#include "kernels/sim/block.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "engine/base/error.h"
#include "kernels/sim/memory.h"

#if ONNXRAY_SIM_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_acquire(void* tag);
void __tsan_release(void* tag);
}
#endif

thread_local uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace onnxray::sim {
namespace {

constexpr std::size_t kStackBytes = kThreadSanitizer || ONNXRAY_SIM_ASAN ? 256 * 1024 : 64 * 1024;

thread_local Block* running = nullptr;

}  // namespace

Block& running_block() {
  ONNXRAY_ASSERT(running != nullptr, "a device function outside a kernel");
  return *running;
}

void acquire([[maybe_unused]] void* tag) {
#if ONNXRAY_SIM_TSAN
  __tsan_acquire(tag);
#endif
}
void release_order([[maybe_unused]] void* tag) {
#if ONNXRAY_SIM_TSAN
  __tsan_release(tag);
#endif
}

Block::Block() : threads_(kMaxThreads), warps_(kMaxThreads / kWarp) {}

Block::~Block() {
#if ONNXRAY_SIM_TSAN
  for (Arena& arena : arenas_) {
    for (void* fiber : arena.sanitizer_fibers) __tsan_destroy_fiber(fiber);
  }
#endif
}

std::string Block::run(const Options& options, const Launch& launch, Dim3 index) {
  schedule_ = options.schedule;
  async_ = options.async_copy;
  launch_ = &launch;
  block_ = launch.block;
  index_ = index;
  count_ = block_.x * block_.y * block_.z;
  random_ = (options.seed + 1) * 0x9e3779b97f4a7c15u ^ (index.x * 0x2545f491u + index.y * 0x4f6cdd1du + index.z + 1);
  if (random_ == 0) random_ = 1;
  const unsigned warps = (count_ + kWarp - 1) / kWarp;
  favoured_ = static_cast<unsigned>(options.seed % warps);

  for (unsigned w = 0; w < warps; ++w) {
    warps_[w].groups = 0;
    const unsigned lanes = std::min(kWarp, count_ - w * kWarp);
    warps_[w].exited = lanes == kWarp ? 0 : ~((1u << lanes) - 1);
  }
  ready_ = {};
  for (unsigned t = 0; t < count_; ++t) {
    CudaThread& thread = threads_[t];
    thread.state = State::kUnstarted;
    thread.stack = -1;
    thread.copy_count = thread.uncommitted = thread.group_count = 0;
    if (!thread.copies) thread.copies = std::make_unique<Copy[]>(kMaxCopies);
    set_ready(t);
  }
  waiting_ = generation_ = done_ = 0;
  passed_true_ = 0;
  failed_ = false;
  prepare_memory(launch.shared_bytes);

  blockDim = {block_.x, block_.y, block_.z};
  gridDim = {launch.grid.x, launch.grid.y, launch.grid.z};
  blockIdx = {index.x, index.y, index.z};
  main_.adopt_thread();
#if ONNXRAY_SIM_TSAN
  main_.tsan = __tsan_get_current_fiber();
  while (arena_->sanitizer_fibers.size() < count_) arena_->sanitizer_fibers.push_back(__tsan_create_fiber(0));
  for (unsigned t = 0; t < count_; ++t) threads_[t].fiber.tsan = arena_->sanitizer_fibers[t];
#endif
  acquire(&arena_->end_tag);
  release_order(&arena_->begin_tag);
  running = this;
  current_ = schedule_ == Schedule::kAscending ? count_ - 1 : 0;
  const int first = pick();
  start(static_cast<unsigned>(first));
  main_.switch_to(threads_[static_cast<unsigned>(first)].fiber);
  running = nullptr;
  if (!failed_) check_shared();
  return failed_ ? std::string(error_.data()) : std::string();
}

void Block::prepare_memory(std::size_t shared_bytes) {
  arena_ = &arenas_[turn_++ % arenas_.size()];
  if (!arena_->shared) arena_->shared = std::make_unique<StackBlock>(1, kMaxShared + 2 * kRedZone);
  if (!arena_->stacks || arena_->stacks->size() < count_) {
    arena_->stacks.reset();
    arena_->stacks = std::make_unique<StackBlock>(std::max(count_, 256u), kStackBytes);
  }
  free_stacks_.clear();
  for (std::size_t s = arena_->stacks->size(); s-- > 0;) free_stacks_.push_back(static_cast<int>(s));
  shared_ = arena_->shared->at(0).low + kRedZone;
  shared_bytes_ = shared_bytes;
  fill_between_red_zones(shared_, shared_bytes);
}

void Block::check_shared() {
  const std::string damage = red_zone_damage(shared_, shared_bytes_, "shared memory");
  if (damage.empty()) return;
  failed_ = true;
  std::snprintf(error_.data(), error_.size(), "block (%u, %u, %u): %s", index_.x, index_.y, index_.z, damage.c_str());
}

int Block::next_ready(unsigned from) const {
  if (from >= count_) return -1;
  unsigned word = from / 64;
  std::uint64_t bits = ready_[word] & ~std::uint64_t{0} << from % 64;
  const unsigned words = (count_ + 63) / 64;
  while (bits == 0) {
    if (++word == words) return -1;
    bits = ready_[word];
  }
  return static_cast<int>(word * 64) + std::countr_zero(bits);
}

int Block::previous_ready(unsigned from) const {  // the last one below `from`
  if (from == 0) return -1;
  int word = static_cast<int>((from - 1) / 64);
  std::uint64_t bits = ready_[word] & ~std::uint64_t{0} >> (63 - (from - 1) % 64);
  while (bits == 0) {
    if (--word < 0) return -1;
    bits = ready_[word];
  }
  return word * 64 + 63 - std::countl_zero(bits);
}

// The thread to run next, or -1 where none can.
int Block::pick() {
  int next = -1;
  switch (schedule_) {
    case Schedule::kAscending: next = next_ready(current_ + 1); return next >= 0 ? next : next_ready(0);
    case Schedule::kDescending: next = previous_ready(current_); return next >= 0 ? next : previous_ready(count_);
    case Schedule::kRandom:
      next = next_ready(static_cast<unsigned>(random() % count_));
      return next >= 0 ? next : next_ready(0);
    case Schedule::kWarpSkew:
      next = next_ready(favoured_ * kWarp);
      return next >= 0 && static_cast<unsigned>(next) < (favoured_ + 1) * kWarp ? next : next_ready(0);
  }
  return -1;
}

void Block::set_current(unsigned thread) {
  current_ = thread;
  clear_ready(thread);
  threadIdx.x = thread % block_.x;
  threadIdx.y = thread / block_.x % block_.y;
  threadIdx.z = thread / (block_.x * block_.y);
}

// Makes `thread` the current one, on a stack.
void Block::start(unsigned thread) {
  if (threads_[thread].state == State::kUnstarted) {
    int stack = static_cast<int>(thread);
    if (!kThreadSanitizer) {
      stack = free_stacks_.back();
      free_stacks_.pop_back();
    }
    threads_[thread].stack = stack;
    threads_[thread].fiber.prepare(arena_->stacks->at(static_cast<std::size_t>(stack)), thread, &Block::entry);
  }
  threads_[thread].state = State::kReady;
  set_current(thread);
}

void Block::entry() {
  Fiber::entered();
  running->thread_main();
}

void Block::thread_main() {
  acquire(&arena_->begin_tag);
  for (;;) {
    try {
      launch_->body(launch_->closure);
      finish_thread();
    } catch (const Stop&) {
      break;
    } catch (const std::exception& e) {
      failed_ = true;
      std::snprintf(error_.data(), error_.size(), "block (%u, %u, %u): %s", index_.x, index_.y, index_.z, e.what());
      break;
    }
    const int next = pick();
    if (next < 0) {
      if (done_ < count_) report_deadlock();
      break;
    }
    CudaThread& me = threads_[current_];
    CudaThread& then = threads_[next];
    if (then.state == State::kUnstarted && !kThreadSanitizer) {
      // Run to completion: a thread that never waits leaves its stack to the next one, without a switch.
      then.stack = me.stack;
      then.state = State::kReady;
      set_current(static_cast<unsigned>(next));
      continue;
    }
    if (!kThreadSanitizer) free_stacks_.push_back(me.stack);
    start(static_cast<unsigned>(next));
    me.fiber.switch_to(then.fiber, true);
  }
  threads_[current_].fiber.switch_to(main_, true);
}

void Block::finish_thread() {
  CudaThread& me = threads_[current_];
  if (me.copy_count > 0) stop("exit with %u pending asynchronous copies", me.copy_count);
  if (waiting_ > 0) stop("exit while %u threads wait in __syncthreads (%s:%u)", waiting_, barrier_file_, barrier_line_);
  me.state = State::kDone;
  ++done_;
  Warp& warp = warps_[current_ / kWarp];
  warp.exited |= 1u << lane();
  for (int g = warp.groups; g-- > 0;) {
    if ((warp.group[g].mask & ~warp.exited) == warp.group[g].arrived) complete(warp, current_ / kWarp, g);
  }
  release_order(&arena_->end_tag);
  release_order(&launch_->end_tag);
}

// Leaves the current thread, which waits, until it is chosen again.
void Block::wait() {
  const int next = pick();
  if (next < 0) {
    report_deadlock();
    throw Stop{};
  }
  if (static_cast<unsigned>(next) == current_) {
    set_current(current_);
    return;
  }
  CudaThread& me = threads_[current_];
  start(static_cast<unsigned>(next));
  me.fiber.switch_to(threads_[next].fiber);
}

}  // namespace onnxray::sim
