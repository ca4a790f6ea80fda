// What the attention kernels share: their arguments, and the pairs of matrices that they walk over.
#pragma once
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {
namespace {

inline constexpr int kAttentionWarps = 4, kAttentionRows = 16 * kAttentionWarps,
                     kAttentionThreads = 32 * kAttentionWarps;
inline constexpr int kAttentionMaxHead = 128;

// What is added to the scores: `p` is null for nothing. Steps are 0 where it is broadcast.
template <class T>
struct Mask {
  const T* p;
  Walk<1> batch;
  int query_step, key_step;
  // Of batch z.
  ONNXRAY_DEVICE const T* at(std::int64_t z) const {
    if (p == nullptr) return nullptr;
    std::int64_t offset[1];
    batch.at(static_cast<std::uint32_t>(z), offset);
    return p + offset[0];
  }
};

// Every matrix is dense, line by line, batch after batch: q, dq [queries, head], k, dk [keys, head], v, dv [keys,
// value_head], y, dy [queries, value_head], log_sum_exp and dot (the sums over y dy) [queries].
template <class T>
struct Attention {
  std::int64_t batches;
  int queries, keys, head, value_head;
  int row_blocks;  // tiled kernels: blocks of rows of one batch
  T scale;
  bool masked;
  Mask<T> mask;
  const T *q, *k, *v, *dy;
  const T *y_in, *log_sum_exp_in, *dot;
  T *y, *log_sum_exp, *dq, *dk, *dv;
};

// Copies kLines lines of `words` words, `left` of which exist, into shared memory; the rest becomes zero.
template <int kDepth, int kLines>
ONNXRAY_DEVICE void fetch_lines(float* to, const float* from, int left, int words) {
  constexpr int kAcross = kDepth / 4;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kLines * kAcross; i += kAttentionThreads) {
    const int line = i / kAcross, word = i % kAcross * 4;
    copy_async_16(to + line * kAttentionLine<kDepth> + word, from + static_cast<std::int64_t>(line) * words + word,
                  line < left && word < words ? 16 : 0);
  }
}

// Two matrices in turn, 32 lines of each per step, in a ring of two buffers.
template <int kDepth>
class LinePairs {
 public:
  static constexpr int kTile = kAttentionColumns * kAttentionLine<kDepth>;
  ONNXRAY_DEVICE LinePairs(float* ring, const float* first, const float* second, int lines, int first_words,
                           int second_words)
      : ring_(ring),
        first_(first),
        second_(second),
        lines_(lines),
        first_words_(first_words),
        second_words_(second_words) {}
  ONNXRAY_DEVICE int steps() const { return (lines_ + kAttentionColumns - 1) / kAttentionColumns; }
  ONNXRAY_DEVICE void fetch(int step) {
    if (step < steps()) {
      const int line = opaque(step * kAttentionColumns), left = lines_ - line;
      fetch_lines<kDepth, kAttentionColumns>(first(step), first_ + std::int64_t{line} * first_words_, left,
                                             first_words_);
      fetch_lines<kDepth, kAttentionColumns>(second(step), second_ + std::int64_t{line} * second_words_, left,
                                             second_words_);
    }
    copy_async_commit();
  }
  // Waits for `step`'s lines, then fetches the next: everybody has left the buffer they go to.
  ONNXRAY_DEVICE void arrive(int step) {
    copy_async_wait<0>();
    __syncthreads();
    fetch(step + 1);
  }
  ONNXRAY_DEVICE float* first(int step) const { return ring_ + step % 2 * 2 * kTile; }
  ONNXRAY_DEVICE float* second(int step) const { return first(step) + kTile; }

 private:
  float* ring_;
  const float *first_, *second_;
  int lines_, first_words_, second_words_;
};

template <int kDepth>
constexpr std::size_t attention_shared(int row_matrices) {
  return sizeof(float) * (static_cast<std::size_t>(row_matrices) * kAttentionRows * kAttentionLine<kDepth> +
                          4u * LinePairs<kDepth>::kTile);
}

// The reduction over the four lanes that share a row of a product.
template <class F>
ONNXRAY_DEVICE float over_row(float x, F f) {
  x = f(x, __shfl_xor_sync(kFullMask, x, 1));
  return f(x, __shfl_xor_sync(kFullMask, x, 2));
}

}  // namespace
}  // namespace onnxray::cuda
