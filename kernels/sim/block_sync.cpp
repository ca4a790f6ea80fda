// What CUDA threads of a block do with each other: barriers, warp functions, asynchronous copies; and the errors of
// these.
#include <bit>
#include <cstdio>
#include <cstring>

#include "kernels/sim/block.h"
#include "kernels/sim/memory.h"

#if ONNXRAY_SIM_TSAN
extern "C" void __tsan_write_range(const void* address, unsigned long bytes);
#endif

namespace onnxray::sim {
namespace {

void observe_write([[maybe_unused]] void* pointer, [[maybe_unused]] std::size_t bytes) {
#if ONNXRAY_SIM_TSAN
  __tsan_write_range(pointer, bytes);
#endif
}

}  // namespace

int Block::barrier(bool predicate, const char* file, unsigned line) {
  ++barriers;
  if (done_ > 0) stop("__syncthreads (%s:%u) after %u threads of the block have exited", file, line, done_);
  if (waiting_ > 0 && (line != barrier_line_ || std::strcmp(file, barrier_file_) != 0)) {
    stop("__syncthreads at %s:%u while others wait at %s:%u", file, line, barrier_file_, barrier_line_);
  }
  barrier_file_ = file;
  barrier_line_ = line;
  const unsigned parity = generation_ & 1;
  release_order(&arena_->barrier_tags[parity]);
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
  acquire(&arena_->barrier_tags[parity]);
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
  if (orders) release_order(&arena_->warp_tags[warp_index][parity]);
  Group& group = warp.group[found];
  group.arrived |= bit;
  warp.operands[me] = operand;
  if ((mask & ~warp.exited) == group.arrived) {
    complete(warp, warp_index, found);
    // Going on without a switch is a legal order; the others would be too.
    if (schedule_ == Schedule::kAscending || schedule_ == Schedule::kWarpSkew) {
      threads_[current_].state = State::kReady;
      clear_ready(current_);
      if (orders) acquire(&arena_->warp_tags[warp_index][parity]);
      return;
    }
  } else {
    threads_[current_].state = State::kCollective;
  }
  wait();
  if (orders) acquire(&arena_->warp_tags[warp_index][parity]);
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
    if (leaves_allocation(from, valid)) stop("cp.async from outside of device memory");
    observe_read(from, valid);
  }
  CudaThread& me = threads_[current_];
  if (me.copy_count == kMaxCopies) stop("more than %u pending asynchronous copies of one thread", kMaxCopies);
  me.copies[(me.first_copy + me.copy_count++) % kMaxCopies] = copy;
  ++me.uncommitted;
  if (async_ == AsyncCopy::kEarly) {
    perform(copy);
  } else {
    observe_write(copy.to, bytes);
    fill(copy.to, bytes, kPoison);
  }
}

void Block::commit_copies() {
  CudaThread& me = threads_[current_];
  if (me.group_count == kMaxGroups) wait_copies(kMaxGroups - 1);  // legal at any time; nobody keeps so many
  me.groups[(me.first_group + me.group_count++) % kMaxGroups] = me.uncommitted;
  me.uncommitted = 0;
}

void Block::wait_copies(unsigned groups_left) {
  CudaThread& me = threads_[current_];
  for (; me.group_count > groups_left; --me.group_count) {
    const unsigned copies = me.groups[me.first_group];
    me.first_group = (me.first_group + 1) % kMaxGroups;
    for (unsigned i = 0; i < copies; ++i) {
      if (async_ == AsyncCopy::kLate) perform(me.copies[me.first_copy]);
      me.first_copy = (me.first_copy + 1) % kMaxCopies;
    }
    me.copy_count -= copies;
  }
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

}  // namespace onnxray::sim
