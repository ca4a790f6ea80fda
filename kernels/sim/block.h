// One block of a grid: its CUDA threads as fibers, the schedule, barriers, warp functions, asynchronous copies.
#pragma once
#include <array>
#include <cstdarg>
#include <memory>
#include <string>
#include <vector>

#include "kernels/sim/device.h"
#include "kernels/sim/fiber.h"
#include "kernels/sim/simulator.h"

namespace onnxray::sim {

inline constexpr unsigned kMaxThreads = 1024, kWarp = 32;
inline constexpr std::size_t kMaxShared = 227 * 1024;
inline constexpr unsigned kMaxCopies = 512, kMaxGroups = 64;  // pending ones of a thread

// What the blocks of a launch share. The tag stands for its end with the thread sanitizer.
struct Launch {
  Dim3 grid, block;
  std::size_t shared_bytes = 0;
  Body body = nullptr;
  const void* closure = nullptr;
  mutable unsigned char end_tag = 0;
};

// Thrown through a kernel to end a CUDA thread; the message is in the block.
struct Stop {};

// For the thread sanitizer: what came before release_order(tag) came before what follows acquire(tag).
void acquire(void* tag);
void release_order(void* tag);

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
  // Asynchronous copies and their groups as rings, oldest first; a group is the number of its copies, the copies after
  // those of all groups are not committed. Nothing is allocated while kernels run.
  std::unique_ptr<Copy[]> copies;
  unsigned first_copy = 0, copy_count = 0, uncommitted = 0;
  std::array<unsigned, kMaxGroups> groups;
  unsigned first_group = 0, group_count = 0;
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
};

// What the CUDA threads of a block live on. Under the thread sanitizer blocks take turns with two of them: threads of
// neighbouring blocks are then strangers to it, whose conflicting accesses it reports, and what a block leaves behind
// is ordered before the block after the next.
struct Arena {
  std::unique_ptr<StackBlock> stacks, shared;
  std::vector<void*> sanitizer_fibers;
  unsigned char begin_tag = 0, end_tag = 0;
  std::array<unsigned char, 2> barrier_tags{};
  std::array<std::array<unsigned char, 2>, kMaxThreads / kWarp> warp_tags{};
};

// One running block of one OS thread; reused for the next.
class Block {
 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Runs one block; "" or what went wrong.
  std::string run(const Options& options, const Launch& launch, Dim3 index);

  void* shared() { return shared_; }
  int barrier(bool predicate, const char* file, unsigned line);
  void collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders);
  void copy_async(void* to, const void* from, unsigned bytes, unsigned valid);
  void commit_copies();
  void wait_copies(unsigned groups_left);
  [[nodiscard]] unsigned lane() const { return current_ % kWarp; }
  [[noreturn]] void stop(const char* format, ...) __attribute__((format(printf, 2, 3)));

  std::uint64_t barriers = 0, collectives = 0, multiply_adds = 0, bank_conflicts = 0, async_copy_bytes = 0;

 private:
  static void entry();
  void thread_main();
  void finish_thread();
  void complete(Warp& warp, unsigned warp_index, int group);
  int pick();
  void set_current(unsigned thread);
  void start(unsigned thread);
  void wait();
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
  std::array<Arena, kThreadSanitizer ? 2 : 1> arenas_;
  Arena* arena_ = nullptr;
  unsigned turn_ = 0;
  std::vector<int> free_stacks_;
  Fiber main_;

  Schedule schedule_{};
  AsyncCopy async_{};
  std::uint64_t random_ = 1;
  unsigned favoured_ = 0;  // the warp that kWarpSkew lets run ahead
  Dim3 block_{}, index_{};
  unsigned count_ = 0, current_ = 0, done_ = 0;
  const Launch* launch_ = nullptr;

  std::byte* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;

  // The barrier: who waits, at which line, how many passed true; the results of the last two generations.
  unsigned waiting_ = 0, generation_ = 0;
  int passed_true_ = 0;
  std::array<int, 2> barrier_result_{};
  const char* barrier_file_ = "";
  unsigned barrier_line_ = 0;

  bool failed_ = false;
  std::array<char, 600> error_{};
};

// The block that runs on this OS thread; throws outside of kernels.
[[nodiscard]] Block& running_block();

}  // namespace onnxray::sim
