// The gradient of attention on tensor cores (attention.cuh).
#pragma once
#include "kernels/cuda/attention_common.cuh"

namespace onnxray::cuda {
namespace {

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

}  // namespace
}  // namespace onnxray::cuda
