#include "engine/base/parallel.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

namespace onnxray {
namespace {
std::atomic<int> g_threads{0};

#ifndef _OPENMP
// Without OpenMP (the fuzzer) everything runs in the calling thread.
int omp_get_num_procs() { return 1; }
int omp_in_parallel() { return 0; }
void omp_set_num_threads(int) {}
#endif
}  // namespace

void set_max_threads(int threads) {
  g_threads.store(threads);
  apply_thread_limit();
}

int max_threads() {
  const int t = g_threads.load();
  return t > 0 ? t : std::max(1, omp_get_num_procs());
}

void apply_thread_limit() { omp_set_num_threads(max_threads()); }

void parallel_for(std::int64_t n, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(1, grain);
  const std::int64_t pieces = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<std::int64_t>(max_threads(), pieces));
  if (threads <= 1 || omp_in_parallel() != 0) {
    for (std::int64_t i = 0; i < pieces; ++i) body(i * grain, std::min(n, (i + 1) * grain));
    return;
  }
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::int64_t i = 0; i < pieces; ++i) {
    try {
      body(i * grain, std::min(n, (i + 1) * grain));
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace onnxray
