// A fixed partition of work over threads. Which indices a task covers depends only on n and grain, never on the number
// of threads, so results are the same for any thread count.
#pragma once
#include <cstdint>
#include <functional>

namespace onnxray {

// Calls body(begin, end) over [0, n) in pieces of at most `grain`; pieces run on up to `max_threads()` threads.
// The first exception thrown by a piece is rethrown on the calling thread.
void parallel_for(std::int64_t n, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body);

// Threads that parallel_for and the CPU backend may use; 0 asks for all hardware threads. Process-wide.
void set_max_threads(int threads);
[[nodiscard]] int max_threads();
// Tells the OpenMP runtime of the calling thread, which libraries below us share, about the limit.
void apply_thread_limit();

}  // namespace onnxray
