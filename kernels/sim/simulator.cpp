#include "kernels/sim/simulator.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "kernels/sim/device.h"
#include "kernels/sim/fiber.h"

#if ONNXRAY_SIM_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_acquire(void* tag);
void __tsan_release(void* tag);
void __tsan_read_range(const void* address, unsigned long bytes);
void __tsan_write_range(const void* address, unsigned long bytes);
}
#endif

thread_local uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace onnxray::sim {
namespace {

constexpr unsigned kMaxThreads = 1024, kWarp = 32;
constexpr std::size_t kMaxShared = 227 * 1024;
constexpr std::size_t kRedZone = 512;
constexpr std::uint32_t kPoison = 0x7fc0dead;   // a quiet NaN
constexpr std::uint32_t kRedWord = 0xfee1dead;  // a huge negative number
constexpr std::size_t kStackBytes = kThreadSanitizer || ONNXRAY_SIM_ASAN ? 256 * 1024 : 64 * 1024;
constexpr unsigned kMaxCopies = 512;

// Thrown through a kernel to end a CUDA thread; the message is in the block.
struct Stop {};

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
void observe_write([[maybe_unused]] void* pointer, [[maybe_unused]] std::size_t bytes) {
#if ONNXRAY_SIM_TSAN
  __tsan_write_range(pointer, bytes);
#endif
}

void fill(std::byte* bytes, std::size_t count, std::uint32_t word) {
  for (std::size_t i = 0; i + 4 <= count; i += 4) std::memcpy(bytes + i, &word, 4);
  std::memcpy(bytes + count / 4 * 4, &word, count % 4);
}

// The first byte that is not as fill() left it, or `count`.
std::size_t first_change(const std::byte* bytes, std::size_t count, std::uint32_t word) {
  std::byte expected[4];
  std::memcpy(expected, &word, 4);
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes[i] != expected[i % 4]) return i;
  }
  return count;
}

// --- registered allocations ---

struct Allocations {
  std::mutex mutex;
  std::map<const std::byte*, std::size_t> sizes;  // by the pointer handed out

  static Allocations& get() {
    static auto* all = new Allocations;  // outlives every static that releases memory
    return *all;
  }
  static std::string damage(const std::byte* pointer, std::size_t size) {
    const std::size_t before = first_change(pointer - kRedZone, kRedZone, kRedWord);
    if (before < kRedZone)
      return onnxray::detail::concat("a write ", kRedZone - before, " bytes before device memory of ", size, " bytes");
    const std::size_t after = first_change(pointer + size, kRedZone, kRedWord);
    if (after < kRedZone)
      return onnxray::detail::concat("a write ", after, " bytes past the end of device memory of ", size, " bytes");
    return "";
  }
  // The first damaged red zone, which is mended.
  std::string check() {
    const std::lock_guard lock(mutex);
    for (const auto& [pointer, size] : sizes) {
      std::string text = damage(pointer, size);
      if (text.empty()) continue;
      fill(const_cast<std::byte*>(pointer) - kRedZone, kRedZone, kRedWord);
      fill(const_cast<std::byte*>(pointer) + size, kRedZone, kRedWord);
      return text;
    }
    return "";
  }
  // Whether [pointer, +bytes) leaves the allocation that it begins in or whose red zone it touches.
  bool leaves(const void* pointer, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    const auto* from = static_cast<const std::byte*>(pointer);
    auto next = sizes.upper_bound(from);
    if (next != sizes.end() && from + bytes > next->first - kRedZone) return true;
    if (next == sizes.begin()) return false;
    const auto& [begin, size] = *--next;
    return from < begin + size + kRedZone && from + bytes > begin + size;
  }
};

// --- counters ---

struct AtomicCounters {
  std::atomic<std::uint64_t> launches{0}, blocks{0}, barriers{0}, collectives{0}, multiply_adds{0}, async_copy_bytes{0};
};
AtomicCounters total;

// --- one block ---

enum class State : unsigned char { kUnstarted, kReady, kBarrier, kCollective, kDone };

struct Copy {
  std::byte* to;
  const std::byte* from;
  unsigned bytes, valid;
};

struct CudaThread {
  State state = State::kUnstarted;
  int stack = -1;
  Fiber fiber;
  // Asynchronous copies, oldest first; group_ends[i] is the end of committed group i among them.
  std::unique_ptr<Copy[]> copies;
  unsigned copy_count = 0;
  std::vector<unsigned> group_ends;
  const char* waits_file = "";
  unsigned waits_line = 0;
};

// The lanes that wait together in a warp function.
struct Group {
  const char* name;
  Exchange exchange;
  unsigned mask, arrived;
};

struct Warp {
  unsigned exited = 0;  // lanes, also those that the block does not have
  int groups = 0;
  unsigned generation = 0;
  std::array<Group, kWarp> group;
  std::array<void*, kWarp> operands;
  std::array<unsigned char, 2> order_tags;
};

class Block {
 public:
  Block() : threads_(kMaxThreads), warps_(kMaxThreads / kWarp) {
    for (CudaThread& thread : threads_) thread.group_ends.reserve(64);
  }

  // Runs one block; "" or what went wrong.
  std::string run(const Options& options, Dim3 grid, Dim3 block, Dim3 index, std::size_t shared_bytes, Body body,
                  const void* closure, void* launch_tag);

  void* shared() { return shared_; }
  int barrier(bool predicate, const char* file, unsigned line);
  void collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders);
  void copy_async(void* to, const void* from, unsigned bytes, unsigned valid);
  void commit_copies();
  void wait_copies(unsigned groups_left);
  [[nodiscard]] unsigned lane() const { return current_ % kWarp; }
  [[noreturn]] void stop(const char* format, ...) __attribute__((format(printf, 2, 3)));

  std::uint64_t barriers = 0, collectives = 0, multiply_adds = 0, async_copy_bytes = 0;

 private:
  static void entry();
  void thread_main();
  void finish_thread();
  void complete(Warp& warp, unsigned warp_index, int group);
  int pick();
  void set_current(unsigned thread);
  void start(unsigned thread);
  void wait();
  void leave(int next);
  void set_ready(unsigned thread) { ready_[thread / 64] |= std::uint64_t{1} << thread % 64; }
  void clear_ready(unsigned thread) { ready_[thread / 64] &= ~(std::uint64_t{1} << thread % 64); }
  [[nodiscard]] int next_ready(unsigned from) const;
  [[nodiscard]] int previous_ready(unsigned from) const;
  void report(const char* format, std::va_list arguments);
  void report_deadlock();
  void perform(const Copy& copy);
  void prepare_memory(std::size_t shared_bytes);
  void check_shared();
  std::uint64_t random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    return random_ ^= random_ << 17;
  }

  std::vector<CudaThread> threads_;
  std::vector<Warp> warps_;
  std::array<std::uint64_t, kMaxThreads / 64> ready_{};
  std::unique_ptr<StackBlock> stacks_;
  std::vector<int> free_stacks_;
  Fiber main_;

  Schedule schedule_{};
  AsyncCopy async_{};
  std::uint64_t random_ = 1;
  unsigned favoured_ = 0;  // the warp that kWarpSkew lets run ahead
  Dim3 block_{}, index_{};
  unsigned count_ = 0, current_ = 0, done_ = 0;
  Body body_ = nullptr;
  const void* closure_ = nullptr;
  void* launch_tag_ = nullptr;

  std::byte* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;
  std::unique_ptr<StackBlock> shared_memory_;

  // The barrier: who waits, at which line, how many passed true; the results of the last two generations.
  unsigned waiting_ = 0, generation_ = 0;
  int passed_true_ = 0;
  std::array<int, 2> barrier_result_{};
  std::array<unsigned char, 2> barrier_tags_{};
  const char* barrier_file_ = "";
  unsigned barrier_line_ = 0;

  bool failed_ = false;
  std::array<char, 600> error_{};
};

thread_local Block* running = nullptr;

Block& block() {
  ONNXRAY_ASSERT(running != nullptr, "a device function outside a kernel");
  return *running;
}

std::string Block::run(const Options& options, Dim3 grid, Dim3 block, Dim3 index, std::size_t shared_bytes, Body body,
                       const void* closure, void* launch_tag) {
  schedule_ = options.schedule;
  async_ = options.async_copy;
  block_ = block;
  index_ = index;
  count_ = block.x * block.y * block.z;
  body_ = body;
  closure_ = closure;
  launch_tag_ = launch_tag;
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
    thread.copy_count = 0;
    thread.group_ends.clear();
    set_ready(t);
  }
  waiting_ = generation_ = done_ = 0;
  passed_true_ = 0;
  failed_ = false;
  prepare_memory(shared_bytes);

  blockDim = {block.x, block.y, block.z};
  gridDim = {grid.x, grid.y, grid.z};
  blockIdx = {index.x, index.y, index.z};
  main_.adopt_thread();
#if ONNXRAY_SIM_TSAN
  main_.tsan = __tsan_get_current_fiber();
  for (unsigned t = 0; t < count_; ++t) threads_[t].fiber.tsan = __tsan_create_fiber(0);
#endif
  Block* const outer = running;
  running = this;
  current_ = schedule_ == Schedule::kAscending ? count_ - 1 : 0;
  const int first = pick();
  start(static_cast<unsigned>(first));
  main_.switch_to(threads_[first].fiber);
  running = outer;
#if ONNXRAY_SIM_TSAN
  for (unsigned t = 0; t < count_; ++t) __tsan_destroy_fiber(threads_[t].fiber.tsan);
#endif
  if (!failed_) check_shared();
  return failed_ ? std::string(error_.data()) : std::string();
}

// Fresh addresses for every block under the thread sanitizer, which would otherwise see races between blocks and
// between threads that used the same stack.
void Block::prepare_memory(std::size_t shared_bytes) {
  shared_bytes_ = shared_bytes;
  if (!shared_memory_ || kThreadSanitizer) {
    shared_memory_.reset();
    shared_memory_ = std::make_unique<StackBlock>(1, kMaxShared + 2 * kRedZone);
  }
  if (!stacks_ || stacks_->size() < count_ || kThreadSanitizer) {
    stacks_.reset();
    stacks_ = std::make_unique<StackBlock>(count_, kStackBytes);
  }
  free_stacks_.clear();
  for (std::size_t s = stacks_->size(); s-- > 0;) free_stacks_.push_back(static_cast<int>(s));
  shared_ = shared_memory_->at(0).low + kRedZone;
  fill(shared_ - kRedZone, kRedZone, kRedWord);
  fill(shared_, shared_bytes, kPoison);
  fill(shared_ + shared_bytes, kRedZone, kRedWord);
}

void Block::check_shared() {
  const std::size_t before = first_change(shared_ - kRedZone, kRedZone, kRedWord);
  const std::size_t after = first_change(shared_ + shared_bytes_, kRedZone, kRedWord);
  if (before == kRedZone && after == kRedZone) return;
  failed_ = true;
  std::snprintf(error_.data(), error_.size(), "block (%u, %u, %u): a write %zu bytes %s shared memory of %zu bytes",
                index_.x, index_.y, index_.z, before < kRedZone ? kRedZone - before : after,
                before < kRedZone ? "before" : "past the end of", shared_bytes_);
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
    const int stack = free_stacks_.back();
    free_stacks_.pop_back();
    threads_[thread].stack = stack;
    threads_[thread].fiber.prepare(stacks_->at(static_cast<std::size_t>(stack)), thread, &Block::entry);
  }
  threads_[thread].state = State::kReady;
  set_current(thread);
}

void Block::entry() {
  Fiber::entered();
  running->thread_main();
}

void Block::thread_main() {
  for (;;) {
    try {
      body_(closure_);
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
    free_stacks_.push_back(me.stack);
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
  release_order(launch_tag_);
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

int Block::barrier(bool predicate, const char* file, unsigned line) {
  ++barriers;
  if (done_ > 0) stop("__syncthreads (%s:%u) after %u threads of the block have exited", file, line, done_);
  if (waiting_ > 0 && (line != barrier_line_ || std::strcmp(file, barrier_file_) != 0)) {
    stop("__syncthreads at %s:%u while others wait at %s:%u", file, line, barrier_file_, barrier_line_);
  }
  barrier_file_ = file;
  barrier_line_ = line;
  const unsigned parity = generation_ & 1;
  release_order(&barrier_tags_[parity]);
  passed_true_ += predicate ? 1 : 0;
  if (++waiting_ == count_) {
    barrier_result_[parity] = passed_true_;
    passed_true_ = 0;
    waiting_ = 0;
    ++generation_;
    for (unsigned t = 0; t < count_; ++t) {
      threads_[t].state = State::kReady;
      set_ready(t);
    }
  } else {
    threads_[current_].state = State::kBarrier;
  }
  wait();
  acquire(&barrier_tags_[parity]);
  return barrier_result_[parity];
}

void Block::collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders) {
  ++collectives;
  const unsigned warp_index = current_ / kWarp, me = lane(), bit = 1u << me;
  Warp& warp = warps_[warp_index];
  if ((mask & bit) == 0) stop("%s with mask %08x by lane %u, which is not in it", name, mask, me);
  int found = -1;
  for (int g = 0; g < warp.groups; ++g) {
    Group& group = warp.group[g];
    if (group.mask == mask && group.exchange == exchange && std::strcmp(group.name, name) == 0) {
      found = g;
    } else if ((group.mask & mask) != 0 && ((group.mask & bit) != 0 || (group.arrived & mask) != 0)) {
      stop("lanes of one warp in different collectives: lane %u in %s (mask %08x), lanes %08x in %s (mask %08x)", me,
           name, mask, group.arrived, group.name, group.mask);
    }
  }
  if (found < 0) {
    found = warp.groups++;
    warp.group[found] = {name, exchange, mask, 0};
  }
  const unsigned parity = warp.generation & 1;
  if (orders) release_order(&warp.order_tags[parity]);
  Group& group = warp.group[found];
  group.arrived |= bit;
  warp.operands[me] = operand;
  if ((mask & ~warp.exited) == group.arrived) {
    complete(warp, warp_index, found);
    // Going on without a switch is a legal order; the others would be too.
    if (schedule_ == Schedule::kAscending || schedule_ == Schedule::kWarpSkew) {
      threads_[current_].state = State::kReady;
      clear_ready(current_);
      if (orders) acquire(&warp.order_tags[parity]);
      return;
    }
  } else {
    threads_[current_].state = State::kCollective;
  }
  wait();
  if (orders) acquire(&warp.order_tags[parity]);
}

void Block::complete(Warp& warp, unsigned warp_index, int index) {
  const Group group = warp.group[index];
  warp.group[index] = warp.group[--warp.groups];
  ++warp.generation;
  group.exchange(warp.operands.data(), group.arrived);
  for (unsigned lanes = group.arrived; lanes != 0; lanes &= lanes - 1) {
    const unsigned thread = warp_index * kWarp + static_cast<unsigned>(std::countr_zero(lanes));
    threads_[thread].state = State::kReady;
    set_ready(thread);
  }
}

void Block::perform(const Copy& copy) {
  observe_write(copy.to, copy.bytes);
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(copy.to + copy.valid, 0, copy.bytes - copy.valid);
}

void Block::copy_async(void* to, const void* from, unsigned bytes, unsigned valid) {
  async_copy_bytes += valid;
  const Copy copy{static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, valid};
  if (valid > bytes) stop("cp.async of %u bytes with %u valid ones", bytes, valid);
  if (copy.to < shared_ || copy.to + bytes > shared_ + shared_bytes_) {
    stop("cp.async to byte %td of shared memory of %zu bytes", copy.to - shared_, shared_bytes_);
  }
  if (reinterpret_cast<std::uintptr_t>(to) % bytes != 0)
    stop("cp.async of %u bytes to a misaligned destination", bytes);
  if (valid > 0) {
    if (reinterpret_cast<std::uintptr_t>(from) % bytes != 0)
      stop("cp.async of %u bytes from a misaligned source", bytes);
    if (Allocations::get().leaves(from, valid)) stop("cp.async from outside of device memory");
    observe_read(from, valid);
  }
  CudaThread& me = threads_[current_];
  if (!me.copies) me.copies = std::make_unique<Copy[]>(kMaxCopies);
  if (me.copy_count == kMaxCopies) stop("more than %u pending asynchronous copies of one thread", kMaxCopies);
  me.copies[me.copy_count++] = copy;
  if (async_ == AsyncCopy::kEarly) {
    perform(copy);
  } else {
    observe_write(copy.to, bytes);
    fill(copy.to, bytes, kPoison);
  }
}

void Block::commit_copies() {
  CudaThread& me = threads_[current_];
  if (me.group_ends.size() ==
      me.group_ends.capacity()) {  // no allocation on a fiber: empty groups at the front are gone
    std::size_t empty = 0;
    while (empty < me.group_ends.size() && me.group_ends[empty] == 0) ++empty;
    if (empty == 0) stop("more than %zu pending groups of asynchronous copies", me.group_ends.size());
    me.group_ends.erase(me.group_ends.begin(), me.group_ends.begin() + static_cast<std::ptrdiff_t>(empty));
  }
  me.group_ends.push_back(me.copy_count);
}

void Block::wait_copies(unsigned groups_left) {
  CudaThread& me = threads_[current_];
  if (me.group_ends.size() <= groups_left) return;
  const std::size_t finished = me.group_ends.size() - groups_left;
  const unsigned copies = me.group_ends[finished - 1];
  if (async_ == AsyncCopy::kLate) {
    for (unsigned i = 0; i < copies; ++i) perform(me.copies[i]);
  }
  std::memmove(me.copies.get(), me.copies.get() + copies, (me.copy_count - copies) * sizeof(Copy));
  me.copy_count -= copies;
  me.group_ends.erase(me.group_ends.begin(), me.group_ends.begin() + static_cast<std::ptrdiff_t>(finished));
  for (unsigned& end : me.group_ends) end -= copies;
}

void Block::report(const char* format, std::va_list arguments) {
  if (failed_) return;  // the first one counts
  failed_ = true;
  const int length = std::snprintf(error_.data(), error_.size(), "block (%u, %u, %u) thread %u: ", index_.x, index_.y,
                                   index_.z, current_);
  std::vsnprintf(error_.data() + length, error_.size() - static_cast<std::size_t>(length), format, arguments);
}

void Block::stop(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  report(format, arguments);
  va_end(arguments);
  throw Stop{};
}

void Block::report_deadlock() {
  if (failed_) return;
  unsigned at_barrier = 0, in_collective = 0;
  int example = -1;
  for (unsigned t = 0; t < count_; ++t) {
    at_barrier += threads_[t].state == State::kBarrier ? 1 : 0;
    if (threads_[t].state != State::kCollective) continue;
    ++in_collective;
    if (example < 0) example = static_cast<int>(t);
  }
  failed_ = true;
  int length = std::snprintf(error_.data(), error_.size(), "block (%u, %u, %u): no thread can go on: ", index_.x,
                             index_.y, index_.z);
  const auto rest = [&] { return error_.size() - static_cast<std::size_t>(length); };
  if (at_barrier > 0) {
    length += std::snprintf(error_.data() + length, rest(), "%u wait in __syncthreads (%s:%u) ", at_barrier,
                            barrier_file_, barrier_line_);
  }
  if (example >= 0) {
    const Warp& warp = warps_[static_cast<unsigned>(example) / kWarp];
    length += std::snprintf(error_.data() + length, rest(),
                            "%u wait in a collective, e.g. thread %d in %s (mask %08x, here %08x)", in_collective,
                            example, warp.group[0].name, warp.group[0].mask, warp.group[0].arrived);
  }
}

// --- a grid ---

Block& block_of_this_os_thread() {
  thread_local std::unique_ptr<Block> mine;
  if (!mine) mine = std::make_unique<Block>();
  return *mine;
}

struct Launch {
  Dim3 grid, block;
  std::size_t shared_bytes;
  Body body;
  const void* closure;
  std::uint64_t blocks;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::string error;
  unsigned char tag = 0;

  void work() {
    Block& runner = block_of_this_os_thread();
    runner.barriers = runner.collectives = runner.multiply_adds = runner.async_copy_bytes = 0;
    const Options& with = options();
    for (std::uint64_t i; !failed && (i = next++) < blocks;) {
      if (with.schedule == Schedule::kDescending) i = blocks - 1 - i;
      const Dim3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                       static_cast<unsigned>(i / grid.x / grid.y)};
      std::string text = runner.run(with, grid, block, index, shared_bytes, body, closure, &tag);
      if (text.empty()) continue;
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) error = std::move(text);
    }
    total.barriers += runner.barriers;
    total.collectives += runner.collectives;
    total.multiply_adds += runner.multiply_adds;
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
  void work(Launch& launch, int helpers) {
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < helpers) {
        threads_.emplace_back([this, index = static_cast<int>(threads_.size())] { loop(index); });
        threads_.back().detach();
      }
      launch_ = &launch;
      helpers_ = busy_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    launch.work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void loop(int index) {
    std::uint64_t seen = 0;
    for (;;) {
      Launch* launch = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (index >= helpers_) continue;
        launch = launch_;
      }
      launch->work();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Launch* launch_ = nullptr;
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
  return {total.launches, total.blocks, total.barriers, total.collectives, total.multiply_adds, total.async_copy_bytes};
}

void reset_counters() {
  total.launches = total.blocks = total.barriers = total.collectives = total.multiply_adds = total.async_copy_bytes = 0;
}

void* allocate(std::size_t bytes) {
  const std::size_t whole = (bytes + 2 * kRedZone + 255) / 256 * 256;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(256, whole));
  ONNXRAY_CHECK(memory != nullptr, "simulator: no memory for ", bytes, " bytes");
  std::byte* pointer = memory + kRedZone;
  fill(memory, kRedZone, kRedWord);
  fill(pointer, bytes, kPoison);
  fill(pointer + bytes, kRedZone, kRedWord);
  Allocations& all = Allocations::get();
  const std::lock_guard lock(all.mutex);
  all.sizes.emplace(pointer, bytes);
  return pointer;
}

void release(void* pointer) {
  if (pointer == nullptr) return;
  std::string damage;
  auto* bytes = static_cast<std::byte*>(pointer);
  {
    Allocations& all = Allocations::get();
    const std::lock_guard lock(all.mutex);
    const auto found = all.sizes.find(bytes);
    ONNXRAY_ASSERT(found != all.sizes.end(), "simulator: release of a pointer that allocate did not give");
    damage = Allocations::damage(bytes, found->second);
    all.sizes.erase(found);
  }
  std::free(bytes - kRedZone);
  ONNXRAY_ASSERT(damage.empty(), "simulator: ", damage);
}

void run(Dim3 grid, Dim3 block, std::size_t shared_bytes, Body body, const void* closure) {
  static std::mutex one_at_a_time;
  ONNXRAY_ASSERT(running == nullptr, "simulator: a launch inside a kernel");
  const std::lock_guard lock(one_at_a_time);
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads < 1 || threads > kMaxThreads || block.z > 64)
    fail_internal("simulator: a block of ", threads, " threads");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    fail_internal("simulator: a grid of ", grid.x, "x", grid.y, "x", grid.z, " blocks");
  }
  if (shared_bytes > kMaxShared)
    fail_internal("simulator: ", shared_bytes, " bytes of shared memory, at most ", kMaxShared);

  Launch launch;
  launch.grid = grid;
  launch.block = block;
  launch.shared_bytes = shared_bytes;
  launch.body = body;
  launch.closure = closure;
  launch.blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  ++total.launches;
  total.blocks += launch.blocks;
  int os_threads = options().os_threads;
  if (os_threads <= 0) os_threads = static_cast<int>(std::thread::hardware_concurrency());
  if (kThreadSanitizer) os_threads = 1;
  os_threads =
      static_cast<int>(std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(os_threads, 1)), launch.blocks));
  if (os_threads > 1) {
    Workers::get().work(launch, os_threads - 1);
  } else {
    launch.work();
  }
  acquire(&launch.tag);
  if (launch.failed) fail_internal("simulator: ", launch.error);
  const std::string damage = Allocations::get().check();
  if (!damage.empty()) fail_internal("simulator: ", damage);
}

// --- what kernels call ---

void* shared_memory() { return block().shared(); }
int barrier(bool predicate, const char* file, unsigned line) { return block().barrier(predicate, file, line); }
void collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders) {
  block().collective(name, mask, operand, exchange, orders);
}
unsigned lane() { return block().lane(); }
void fence() {
  static unsigned char tag;
  release_order(&tag);
  acquire(&tag);
}
void count_multiply_adds(std::uint64_t count) { block().multiply_adds += count; }
void trap(const char* what) { block().stop("%s", what); }
void copy_async(void* shared, const void* global, unsigned bytes, unsigned valid) {
  block().copy_async(shared, global, bytes, valid);
}
void commit_copies() { block().commit_copies(); }
void wait_copies(unsigned groups_left) { block().wait_copies(groups_left); }
void observe_read([[maybe_unused]] const void* pointer, [[maybe_unused]] std::size_t bytes) {
#if ONNXRAY_SIM_TSAN
  __tsan_read_range(pointer, bytes);
#endif
}

}  // namespace onnxray::sim
