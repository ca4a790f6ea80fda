// Runs CUDA kernels on the CPU: the same source, one fiber per CUDA thread, blocks one after another (or a few at a
// time on OS threads). Not a model of speed but of what is allowed: threads of a block are interleaved by a chosen
// schedule, shared memory starts as NaN between red zones, asynchronous copies arrive as late or as early as the rules
// permit, and every misuse that can be seen (below) ends the launch with an Error. With the thread sanitizer, data
// races between CUDA threads are reported as races (scripts/kernel_races.sh).
//
// Errors (ErrorKind::kInternal, "simulator: ..."): launch limits; threads of a block in different __syncthreads or one
// gone before it; lanes of a warp in different collectives, or a lane outside its own mask; all threads waiting; exit
// with pending asynchronous copies; misaligned or out-of-range asynchronous copies; writes into the red zones of shared
// memory or of memory from allocate().
#pragma once
#include <cstddef>
#include <cstdint>

namespace onnxray::sim {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Which of the threads that could go on does. Each runs until it must wait.
enum class Schedule {
  kAscending,   // the next one in thread order
  kDescending,  // the one before in thread order
  kRandom,      // seeded, over the whole block
  kWarpSkew,    // warp (seed mod warps) as far ahead as it may go, the others as far behind
};

// When the bytes of an asynchronous copy (cp.async) arrive.
enum class AsyncCopy {
  kLate,   // at the wait that guarantees them; until then the destination is NaN
  kEarly,  // at once
};

struct Options {
  Schedule schedule = Schedule::kAscending;
  std::uint64_t seed = 1;
  AsyncCopy async_copy = AsyncCopy::kLate;
  bool truncate_sums = false;  // tensor cores truncate after each instruction, as real ones do; otherwise they round
  int os_threads = 0;  // blocks at a time; 0: as many as the machine has processors, 1 under the thread sanitizer

  // ONNXRAY_SIM_SCHEDULE=ascending|descending|random|warp-skew, ONNXRAY_SIM_SEED=n, ONNXRAY_SIM_ASYNC=late|early,
  // ONNXRAY_SIM_THREADS=n
  static Options from_environment();
};

// The options of all launches; not to be changed during one. Initially from the environment.
Options& options();

// What the launches since reset_counters() did, for tests of cost models.
struct Counters {
  std::uint64_t launches = 0, blocks = 0, barriers = 0, collectives = 0;
  std::uint64_t bank_conflicts = 0;  // of ldmatrix: further passes because lines met in a bank
  std::uint64_t multiply_adds = 0;   // of the tensor-core wrappers
  std::uint64_t async_copy_bytes = 0;
};
Counters counters();
void reset_counters();

// "Device" memory: NaN-filled, between red zones that are checked after every launch and by release.
void* allocate(std::size_t bytes);
void release(void* pointer);

using Body = void (*)(const void* closure);

// Runs body(closure) once for each thread of each block. Throws Error as listed above.
void run(Dim3 grid, Dim3 block, std::size_t shared_bytes, Body body, const void* closure);

}  // namespace onnxray::sim
