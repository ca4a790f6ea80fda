// Attention by online softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691): a block of threads
// owns 64 queries of one head and walks over the keys, 32 at a time, with the running maximum, the running sum and the
// result in registers; the [Sq, Sk] scores are never in memory. The gradient recomputes them from the saved
// log-sum-exp, in two kernels that each own what they sum (queries for dq, keys for dk and dv), so that no atomics are
// needed and results have the same bits every time.
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

template <Precision kPrecision, int kDepth>
ONNXRAY_KERNEL_BOUNDS(kAttentionThreads, kDepth <= 64 ? 3 : 2)
attention_kernel(Attention<float> p, float lowest) {
  ONNXRAY_SHARED(float, memory);
  constexpr int kLd = kAttentionLine<kDepth>, kNi = kDepth / 8;
  const std::int64_t z = blockIdx.x / static_cast<unsigned>(p.row_blocks);
  const int first_row = static_cast<int>(blockIdx.x % static_cast<unsigned>(p.row_blocks)) * kAttentionRows;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int row = first_row + 16 * warp + lane / 4, column = lane % 4 * 2;  // of this thread's first result
  const bool idle = first_row + 16 * warp >= p.queries;
  const float* const q_tile = memory + 16 * warp * kLd;
  LinePairs<kDepth> keys(memory + kAttentionRows * kLd, p.k + z * p.keys * p.head, p.v + z * p.keys * p.value_head,
                         p.keys, p.head, p.value_head);
  fetch_lines<kDepth, kAttentionRows>(memory, p.q + (z * p.queries + first_row) * p.head, p.queries - first_row,
                                      p.head);
  keys.fetch(0);
  const float* const mask = p.mask.at(z);

  float y[kNi][4] = {};
  float top[2] = {lowest, lowest}, sum[2] = {0.0f, 0.0f};
  for (int step = 0; step < keys.steps(); ++step) {
    keys.arrive(step);
    if (idle) continue;
    float s[4][4];
    multiply_lines<kPrecision, kDepth>(s, q_tile, keys.first(step));
    const int key = opaque(step * kAttentionColumns + column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* line = nullptr;
      if (mask != nullptr && row + 8 * half < p.queries) {
        line = mask + std::int64_t{row + 8 * half} * p.mask.query_step + key * p.mask.key_step;
      }
      float highest = top[half];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int at = key + 8 * j + e;
          float& x = s[j][2 * half + e];
          x *= p.scale;
          if (at >= p.keys) x = lowest;
          else if (line != nullptr) x += line[(8 * j + e) * p.mask.key_step];
          highest = x > highest ? x : highest;
        }
      }
      highest = over_row(highest, [](float a, float b) { return a < b ? b : a; });
      // Nothing but -infinity so far: any finite number will do.
      const float base = highest == lowest ? 0.0f : highest;
      const float factor = vmath::exp(top[half] - base);
      top[half] = highest;
      sum[half] *= factor;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = s[j][2 * half + e];
          x = vmath::exp(x - base);
          sum[half] += x;
        }
      }
#pragma unroll
      for (int j = 0; j < kNi; ++j) {
        y[j][2 * half] *= factor;
        y[j][2 * half + 1] *= factor;
      }
    }
    multiply_weights<kPrecision, kDepth>(y, s, keys.second(step));
  }
  copy_async_wait<0>();
  if (idle) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = row + 8 * half;
    const float total = over_row(sum[half], [](float a, float b) { return a + b; });
    if (query >= p.queries) continue;
    const std::int64_t line = z * p.queries + query;
    if (column == 0 && p.log_sum_exp != nullptr) p.log_sum_exp[line] = top[half] + std::log(total);
    if (p.y == nullptr) continue;
    const float scale = p.masked && total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
    for (int j = 0; j < kNi; ++j) {
      if (8 * j + column >= p.value_head) continue;
      *reinterpret_cast<float2*>(p.y + line * p.value_head + 8 * j + column) =
          make_float2(y[j][2 * half] * scale, y[j][2 * half + 1] * scale);
    }
  }
}

// dot = the sum over y dy of a query; a warp for each.
ONNXRAY_KERNEL_BOUNDS(kThreads, 4)
attention_dot_kernel(std::int64_t count, int n, const float* y, const float* dy, float* dot) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (std::int64_t l = std::int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32; l < count;
       l += std::int64_t{gridDim.x} * (kThreads / 32)) {
    float sum = 0.0f;
    for (int i = lane; i < n; i += 32) sum += y[l * n + i] * dy[l * n + i];
    sum = warp_sum(sum);
    if (lane == 0) dot[l] = sum;
  }
}

template <int kDepth>
ONNXRAY_DEVICE void store_rows(float* to, const float (&acc)[kDepth / 8][4], float scale, int row, int rows, int column,
                               int words) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (row + 8 * half >= rows) continue;
#pragma unroll
    for (int j = 0; j < kDepth / 8; ++j) {
      if (8 * j + column >= words) continue;
      *reinterpret_cast<float2*>(to + static_cast<std::int64_t>(row + 8 * half) * words + 8 * j + column) =
          make_float2(acc[j][2 * half] * scale, acc[j][2 * half + 1] * scale);
    }
  }
}

// What a block sums. dk and dv together share the scores; beyond heads of 64 they do not fit the registers.
enum class Part { kQueries, kKeys, kValues, kKeysAndValues };

// With P = exp(scale q k^T + mask - log_sum_exp) and dS = P (dy v^T - dot): a block owns 64 queries and sums dq = scale
// dS k over the keys, or 64 keys and sums dk = scale dS^T q and dv = P^T dy over the queries. kScores: how q and k are
// multiplied, which should be as in the forward pass.
template <Precision kScores, Precision kPrecision, int kDepth, Part kPart>
ONNXRAY_KERNEL_BOUNDS(kAttentionThreads, 2)
attention_grad_kernel(Attention<float> p, float lowest) {
  ONNXRAY_SHARED(float, memory);
  constexpr int kLd = kAttentionLine<kDepth>, kNi = kDepth / 8;
  constexpr bool kOfKeys = kPart != Part::kQueries, kValues = kPart == Part::kValues || kPart == Part::kKeysAndValues;
  constexpr bool kOurs = kPart != Part::kValues;  // dq or dk
  const std::int64_t z = blockIdx.x / static_cast<unsigned>(p.row_blocks);
  const int first_row = static_cast<int>(blockIdx.x % static_cast<unsigned>(p.row_blocks)) * kAttentionRows;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int row = first_row + 16 * warp + lane / 4, column = lane % 4 * 2;
  const int rows = kOfKeys ? p.keys : p.queries, columns = kOfKeys ? p.queries : p.keys;
  const bool idle = first_row + 16 * warp >= rows;
  const float *q = p.q + z * p.queries * p.head, *k = p.k + z * p.keys * p.head;
  const float *dy = p.dy + z * p.queries * p.value_head, *v = p.v + z * p.keys * p.value_head;
  const float *log_sum_exp = p.log_sum_exp_in + z * p.queries, *dot = p.dot + z * p.queries;
  const float* const mask = p.mask.at(z);
  // The scores' factors and the weights' factors: (q, k) and (dy, v), ours first.
  float* const ours = memory;
  float* const ours_weights = memory + kAttentionRows * kLd;
  LinePairs<kDepth> theirs(memory + 2 * kAttentionRows * kLd, kOfKeys ? q : k, kOfKeys ? dy : v, columns, p.head,
                           p.value_head);
  fetch_lines<kDepth, kAttentionRows>(ours, (kOfKeys ? k : q) + static_cast<std::int64_t>(first_row) * p.head,
                                      rows - first_row, p.head);
  fetch_lines<kDepth, kAttentionRows>(ours_weights,
                                      (kOfKeys ? v : dy) + static_cast<std::int64_t>(first_row) * p.value_head,
                                      rows - first_row, p.value_head);
  theirs.fetch(0);
  const bool values = p.dv != nullptr, scores = kPart != Part::kKeysAndValues || p.dk != nullptr;

  const int row_step = kOfKeys ? p.mask.key_step : p.mask.query_step;
  const int column_step = kOfKeys ? p.mask.query_step : p.mask.key_step;
  float row_lse[2] = {}, row_dot[2] = {};
#pragma unroll
  for (int half = 0; !kOfKeys && half < 2; ++half) {
    if (row + 8 * half >= rows) continue;
    row_lse[half] = log_sum_exp[row + 8 * half];
    row_dot[half] = dot[row + 8 * half];
  }

  float d_ours[kOurs ? kNi : 1][4] = {};
  float d_values[kValues ? kNi : 1][4] = {};
  for (int step = 0; step < theirs.steps(); ++step) {
    theirs.arrive(step);
    if (idle) continue;
    float s[4][4];
    multiply_lines<kScores, kDepth>(s, ours + 16 * warp * kLd, theirs.first(step));
    const int first_column = opaque(step * kAttentionColumns + column);
    const float* const column_lse = log_sum_exp + first_column;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool row_there = row + 8 * half < rows;
      const float* line = nullptr;
      if (mask != nullptr && row_there)
        line = mask + std::int64_t{row + 8 * half} * row_step + std::int64_t{first_column} * column_step;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const bool column_there = first_column + 8 * j + e < columns;
          float& x = s[j][2 * half + e];
          x *= p.scale;
          if (line != nullptr && column_there) x += line[(8 * j + e) * column_step];
          const float l = !kOfKeys ? row_lse[half] : column_there ? column_lse[8 * j + e] : 0.0f;
          const float w = vmath::exp(x - l);
          x = row_there && column_there && !(p.masked && l == lowest) ? w : 0.0f;
        }
      }
    }
    if constexpr (kValues) {
      if (values) multiply_weights<kPrecision, kDepth>(d_values, s, theirs.second(step));
    }
    if constexpr (kOurs) {
      if (!scores) continue;
      float dp[4][4];
      multiply_lines<kPrecision, kDepth>(dp, ours_weights + 16 * warp * kLd, theirs.second(step));
      const int first = opaque(first_column);
      const float* const column_dot = dot + first;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int w = 0; w < 4; ++w) {
          const bool column_there = first + 8 * j + w % 2 < columns;
          s[j][w] *= dp[j][w] - (!kOfKeys ? row_dot[w / 2] : column_there ? column_dot[8 * j + w % 2] : 0.0f);
        }
      }
      multiply_weights<kPrecision, kDepth>(d_ours, s, theirs.first(step));
    }
  }
  copy_async_wait<0>();
  if (idle) return;
  if constexpr (kOurs) {
    float* const to = kOfKeys ? p.dk : p.dq;
    if (to != nullptr) store_rows<kDepth>(to + z * rows * p.head, d_ours, p.scale, row, rows, column, p.head);
  }
  if constexpr (kValues) {
    if (values) store_rows<kDepth>(p.dv + z * rows * p.value_head, d_values, 1.0f, row, rows, column, p.value_head);
  }
}

// --- plain kernels: a thread for each query, or for each key ---

template <class T>
ONNXRAY_DEVICE T dot_product(const T* a, const T* b, int n) {
  T sum = T(0);
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
ONNXRAY_DEVICE T score_of(const Attention<T>& p, const T* mask, std::int64_t z, int query, int key) {
  const T s = p.scale * dot_product(p.q + (z * p.queries + query) * p.head, p.k + (z * p.keys + key) * p.head, p.head);
  return mask == nullptr ? s : s + mask[std::int64_t{query} * p.mask.query_step + key * p.mask.key_step];
}

template <class T>
ONNXRAY_KERNEL(void)
attention_plain_kernel(Attention<T> p, T lowest) {
  for (std::int64_t i = first_item(); i < p.batches * p.queries; i += item_step()) {
    const std::int64_t z = i / p.queries;
    const int query = static_cast<int>(i % p.queries);
    const T* const mask = p.mask.at(z);
    T top = lowest, sum = T(0);
    for (int j = 0; j < p.keys; ++j) {
      const T s = score_of(p, mask, z, query, j);
      top = s > top ? s : top;
    }
    const T base = top == lowest ? T(0) : top;
    for (int j = 0; j < p.keys; ++j) sum += vmath::exp(score_of(p, mask, z, query, j) - base);
    if (p.log_sum_exp != nullptr) p.log_sum_exp[i] = top + std::log(sum);
    if (p.y == nullptr) continue;
    T* const y = p.y + i * p.value_head;
    const T scale = p.masked && sum == T(0) ? T(0) : T(1) / sum;
    for (int c = 0; c < p.value_head; ++c) y[c] = T(0);
    for (int j = 0; j < p.keys; ++j) {
      const T w = vmath::exp(score_of(p, mask, z, query, j) - base) * scale;
      for (int c = 0; c < p.value_head; ++c) y[c] += w * p.v[(z * p.keys + j) * p.value_head + c];
    }
  }
}

template <class T, bool kOfKeys>
ONNXRAY_KERNEL(void)
attention_grad_plain_kernel(Attention<T> p, T lowest) {
  const int rows = kOfKeys ? p.keys : p.queries, columns = kOfKeys ? p.queries : p.keys;
  for (std::int64_t i = first_item(); i < p.batches * rows; i += item_step()) {
    const std::int64_t z = i / rows;
    const int row = static_cast<int>(i % rows);
    const T* const mask = p.mask.at(z);
    T* const d = kOfKeys ? p.dk : p.dq;
    for (int c = 0; d != nullptr && c < p.head; ++c) d[i * p.head + c] = T(0);
    for (int c = 0; kOfKeys && p.dv != nullptr && c < p.value_head; ++c) p.dv[i * p.value_head + c] = T(0);
    for (int column = 0; column < columns; ++column) {
      const int query = kOfKeys ? column : row, key = kOfKeys ? row : column;
      const std::int64_t a = z * p.queries + query, b = z * p.keys + key;
      const T l = p.log_sum_exp_in[a];
      const T w = p.masked && l == lowest ? T(0) : vmath::exp(score_of(p, mask, z, query, key) - l);
      const T* const dy = p.dy + a * p.value_head;
      if (kOfKeys && p.dv != nullptr) {
        for (int c = 0; c < p.value_head; ++c) p.dv[i * p.value_head + c] += w * dy[c];
      }
      if (d == nullptr) continue;
      const T dot = dot_product(dy, p.y_in + a * p.value_head, p.value_head);
      const T ds = w * (dot_product(dy, p.v + b * p.value_head, p.value_head) - dot) * p.scale;
      for (int c = 0; c < p.head; ++c) d[i * p.head + c] += ds * (kOfKeys ? p.q[a * p.head + c] : p.k[b * p.head + c]);
    }
  }
}

// --- prepare ---

bool on_tensor_cores(std::int64_t head, std::int64_t value_head) {
  return head >= 1 && head % 4 == 0 && value_head % 4 == 0 && std::max(head, value_head) <= kAttentionMaxHead;
}

// Calls f.template operator()<kDepth>() with the kernels' width for these heads.
template <class F>
decltype(auto) visit_depth(int head, F&& f) {
  if (head <= 32) return f.template operator()<32>();
  if (head <= 64) return f.template operator()<64>();
  if (head <= 96) return f.template operator()<96>();
  return f.template operator()<128>();
}
template <class F>
decltype(auto) visit_precision(Precision precision, F&& f) {
  switch (precision) {
    case Precision::kTf32: return f.template operator()<Precision::kTf32>();
    case Precision::kBf16: return f.template operator()<Precision::kBf16>();
    default: return f.template operator()<Precision::kExact>();
  }
}

// q, k, v from input `first` on, the mask behind them. None where the kernels decline.
template <class T>
std::optional<Attention<T>> attention_of(const PrepareCtx& c, std::size_t first) {
  const Dims &q = c.dims(first), &k = c.dims(first + 1), &v = c.dims(first + 2);
  const std::size_t rank = q.size();
  const Dims batch(q.begin(), q.end() - 2);
  if (count_of(batch) >= kMaxElements || std::max(q[rank - 2], k[rank - 2]) >= kMaxElements ||
      std::max(q[rank - 1], v[rank - 1]) >= kMaxElements) {
    return std::nullopt;
  }
  Attention<T> p{};
  p.batches = count_of(batch);
  p.queries = static_cast<int>(q[rank - 2]);
  p.keys = static_cast<int>(k[rank - 2]);
  p.head = static_cast<int>(q[rank - 1]);
  p.value_head = static_cast<int>(v[rank - 1]);
  p.scale = static_cast<T>(c.attrs.real("scale", 1));
  p.masked = c.attrs.integer("masked", 0) != 0;
  if (c.has(first + 3)) {
    Dims scores = batch;
    scores.push_back(p.queries);
    scores.push_back(p.keys);
    const Dims strides = broadcast_strides(c.dims(first + 3), scores);
    const auto walk = walk_of<1>(batch, {Dims(strides.begin(), strides.end() - 2)});
    if (!walk) return std::nullopt;
    p.mask.batch = *walk;
    p.mask.query_step = static_cast<int>(strides[rank - 2]);
    p.mask.key_step = static_cast<int>(strides[rank - 1]);
  }
  return p;
}

template <class T>
constexpr T lowest_of() {
  return -std::numeric_limits<T>::infinity();
}

// Whether the tiled kernels take it, with p.row_blocks for `rows` rows.
template <class T>
bool set_blocks(Attention<T>& p, int rows) {
  p.row_blocks = static_cast<int>(ceil_div(rows, kAttentionRows));
  return p.batches * p.row_blocks < kMaxElements;
}

inline Step attention(const PrepareCtx& c) {
  if (count_of(c.out_dims()) == 0 && count_of(c.out_dims(1)) == 0) return no_work();
  const bool masked = c.has(3), value = c.output_read(0), log_sum_exp = c.output_read(1);
  const auto bound = [=]<class T>(Attention<T> p, const RunArgs& a) {
    p.q = static_cast<const T*>(a.in[0]);
    p.k = static_cast<const T*>(a.in[1]);
    p.v = static_cast<const T*>(a.in[2]);
    p.mask.p = masked ? static_cast<const T*>(a.in[3]) : nullptr;
    p.y = value ? static_cast<T*>(a.out[0]) : nullptr;
    p.log_sum_exp = log_sum_exp ? static_cast<T*>(a.out[1]) : nullptr;
    return p;
  };
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    auto p = attention_of<T>(c, 0);
    if (!p) return {};
    if constexpr (std::is_same_v<T, float>) {
      if (on_tensor_cores(p->head, p->value_head) && set_blocks(*p, p->queries)) {
        return visit_precision(precision_of(c), [&]<Precision kPrecision>() -> Step {
          return visit_depth(std::max(p->head, p->value_head), [&]<int kDepth>() -> Step {
            return {[p = *p, bound](const RunArgs& a) {
              launch(attention_kernel<kPrecision, kDepth>, Dim3{static_cast<unsigned>(p.batches * p.row_blocks)},
                     Dim3{kAttentionThreads}, attention_shared<kDepth>(1), a.stream, bound(p, a), lowest_of<float>());
            }};
          });
        });
      }
    }
    return {[p = *p, bound](const RunArgs& a) {
      launch(attention_plain_kernel<T>, grid_of(p.batches * p.queries), Dim3{kThreads}, 0, a.stream, bound(p, a),
             lowest_of<T>());
    }};
  });
}

template <Precision kScores, Precision kPrecision, int kDepth>
void run_attention_grad(Attention<float> p, float* dot, Stream stream) {
  const auto run = [&](auto kernel, int rows) {
    set_blocks(p, rows);
    launch(kernel, Dim3{static_cast<unsigned>(p.batches * p.row_blocks)}, Dim3{kAttentionThreads},
           attention_shared<kDepth>(2), stream, p, lowest_of<float>());
  };
  if (p.dq != nullptr || p.dk != nullptr) {
    const std::int64_t lines = p.batches * p.queries;
    launch(attention_dot_kernel, grid_of(lines, kThreads / 32), Dim3{kThreads}, 0, stream, lines, p.value_head, p.y_in,
           p.dy, dot);
  }
  p.dot = dot;
  if (p.dq != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kQueries>, p.queries);
  if constexpr (kDepth <= 64) {
    if (p.dk == nullptr && p.dv == nullptr) return;
    run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kKeysAndValues>, p.keys);
  } else {
    if (p.dk != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kKeys>, p.keys);
    if (p.dv != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kValues>, p.keys);
  }
}

inline Step attention_grad(const PrepareCtx& c) {
  const bool masked = c.has(4);
  const bool wanted[] = {c.output_read(0) && count_of(c.out_dims(0)) > 0,
                         c.output_read(1) && count_of(c.out_dims(1)) > 0,
                         c.output_read(2) && count_of(c.out_dims(2)) > 0};
  if (!wanted[0] && !wanted[1] && !wanted[2]) return no_work();
  const auto bound = [=]<class T>(Attention<T> p, const RunArgs& a) {
    const auto in = [&](std::size_t i) { return static_cast<const T*>(a.in[i]); };
    const auto out = [&](std::size_t i) { return wanted[i] ? static_cast<T*>(a.out[i]) : nullptr; };
    p.dy = in(0);
    p.q = in(1);
    p.k = in(2);
    p.v = in(3);
    p.mask.p = masked ? in(4) : nullptr;
    p.y_in = in(5);
    p.log_sum_exp_in = in(6);
    p.dq = out(0);
    p.dk = out(1);
    p.dv = out(2);
    return p;
  };
  return visit_float(c.dtype(1), [&]<class T>() -> Step {
    auto p = attention_of<T>(c, 1);
    if (!p) return {};
    if constexpr (std::is_same_v<T, float>) {
      if (on_tensor_cores(p->head, p->value_head) && set_blocks(*p, std::max(p->queries, p->keys))) {
        const bool exact_scores = c.attrs.text("scores_mode", "exact") == "exact";
        return visit_precision(precision_of(c), [&]<Precision kPrecision>() -> Step {
          return visit_depth(std::max(p->head, p->value_head), [&]<int kDepth>() -> Step {
            const std::size_t scratch = sizeof(float) * static_cast<std::size_t>(p->batches * p->queries);
            const auto step = [&](auto run) -> Step {
              return {[p = *p, bound, run](const RunArgs& a) {
                        run(bound(p, a), reinterpret_cast<float*>(a.scratch), a.stream);
                      },
                      scratch};
            };
            if constexpr (kPrecision == Precision::kTf32) {
              if (exact_scores) return step(run_attention_grad<Precision::kExact, kPrecision, kDepth>);
            }
            return step(run_attention_grad<kPrecision, kPrecision, kDepth>);
          });
        });
      }
    }
    return {[p = *p, bound](const RunArgs& a) {
      const Attention<T> q = bound(p, a);
      const auto run = [&](auto kernel, int rows) {
        launch(kernel, grid_of(q.batches * rows), Dim3{kThreads}, 0, a.stream, q, lowest_of<T>());
      };
      if (q.dq != nullptr) run(attention_grad_plain_kernel<T, false>, q.queries);
      if (q.dk != nullptr || q.dv != nullptr) run(attention_grad_plain_kernel<T, true>, q.keys);
    }};
  });
}

}  // namespace

void register_attention(Backend& b) {
  b.add("attention", attention);
  b.add("attention_grad", attention_grad);
  b.wants_attention = on_tensor_cores;
}

}  // namespace onnxray::cuda
