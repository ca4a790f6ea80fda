// The plain matrix product under matmul and convolution in float64 (and in float32 where oneDNN is not used): register
// tiles over packed panels. Every element of the result is summed over k in ascending order, in blocks of kGemmK, so it
// does not depend on how many rows or columns there are nor on the number of threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

// c[i * ldc + j] += sum over p in [0, k) of a[p * mr + i] * b[p * nr + j] for an mr x nr tile.
template <class T>
struct GemmTile {
  std::int64_t mr = 0, nr = 0;
  void (*run)(std::int64_t k, const T* a, const T* b, T* c, std::int64_t ldc) = nullptr;
};
// The fastest tile this processor has.
template <class T>
[[nodiscard]] const GemmTile<T>& gemm_tile();

inline constexpr std::int64_t kGemmK = 256;
inline constexpr std::int64_t kGemmM = 96, kGemmN = 256;  // one task's block of the result
inline constexpr std::int64_t kGemmEdge = 64;             // no tile is larger than this

// Elements of scratch one worker needs.
inline constexpr std::int64_t kGemmScratch =
    (kGemmM + kGemmEdge) * kGemmK + (kGemmN + kGemmEdge) * kGemmK + (kGemmM + kGemmEdge) * (kGemmN + kGemmEdge);

// Runs body(worker, task) for every task on at most `workers` threads; a worker has one task at a time, so `worker`
// may index scratch memory.
template <class F>
void for_tasks(std::int64_t workers, std::int64_t tasks, const F& body) {
  std::atomic<std::int64_t> next{0};
  parallel_for(std::min(workers, tasks), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = begin; w < end; ++w) {
      for (std::int64_t t = next++; t < tasks; t = next++) body(w, t);
    }
  });
}

[[nodiscard]] inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The block [m0, m1) x [n0, n1) of C = A B over k in [0, K).
//   pack_a(dst, mr, m, rows, k0, kc): dst[p * mr + i] = A[m + i, k0 + p] for i < rows (the rest stays as it is)
//   pack_b(dst, nr, n, cols, k0, kc): dst[p * nr + j] = B[k0 + p, n + j] for j < cols
//   store(m, n, cols, row): row[j] = C[m, n + j]
// m1 - m0 <= kGemmM, n1 - n0 <= kGemmN; scratch holds kGemmScratch elements.
template <class T, class PackA, class PackB, class Store>
void gemm_block(std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1, std::int64_t K, T* scratch,
                const PackA& pack_a, const PackB& pack_b, const Store& store) {
  const GemmTile<T>& tile = gemm_tile<T>();
  const std::int64_t mr = tile.mr, nr = tile.nr;
  const std::int64_t mp = ceil_div(m1 - m0, mr), np = ceil_div(n1 - n0, nr);
  const std::int64_t ldc = np * nr;
  T* a = scratch;
  T* b = a + (kGemmM + kGemmEdge) * kGemmK;
  T* c = b + (kGemmN + kGemmEdge) * kGemmK;
  std::fill(c, c + mp * mr * ldc, T{0});
  for (std::int64_t k0 = 0; k0 < K; k0 += kGemmK) {
    const std::int64_t kc = std::min(kGemmK, K - k0);
    for (std::int64_t i = 0; i < mp; ++i) {
      const std::int64_t rows = std::min(mr, m1 - m0 - i * mr);
      T* dst = a + i * mr * kc;
      if (rows < mr) std::fill(dst, dst + mr * kc, T{0});
      pack_a(dst, mr, m0 + i * mr, rows, k0, kc);
    }
    for (std::int64_t j = 0; j < np; ++j) {
      const std::int64_t cols = std::min(nr, n1 - n0 - j * nr);
      T* dst = b + j * nr * kc;
      if (cols < nr) std::fill(dst, dst + nr * kc, T{0});
      pack_b(dst, nr, n0 + j * nr, cols, k0, kc);
    }
    for (std::int64_t i = 0; i < mp; ++i) {
      for (std::int64_t j = 0; j < np; ++j) {
        tile.run(kc, a + i * mr * kc, b + j * nr * kc, c + i * mr * ldc + j * nr, ldc);
      }
    }
  }
  for (std::int64_t m = m0; m < m1; ++m) store(m, n0, n1 - n0, static_cast<const T*>(c + (m - m0) * ldc));
}

// pack_a or pack_b of a strided matrix: element (i, p) at x[i * step_i + p * step_p].
template <class T>
void pack_strided(T* dst, std::int64_t width, std::int64_t count, std::int64_t kc, const T* x, std::int64_t step_i,
                  std::int64_t step_p) {
  if (step_i == 1) {
    for (std::int64_t p = 0; p < kc; ++p) {
      std::memcpy(dst + p * width, x + p * step_p, static_cast<std::size_t>(count) * sizeof(T));
    }
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const T* from = x + i * step_i;
    T* to = dst + i;
    for (std::int64_t p = 0; p < kc; ++p) to[p * width] = from[p * step_p];
  }
}

}  // namespace onnxray::cpu
