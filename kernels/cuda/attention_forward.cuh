// Attention on tensor cores (attention.cuh).
#pragma once
#include "kernels/cuda/attention_common.cuh"

namespace onnxray::cuda {
namespace {

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

}  // namespace
}  // namespace onnxray::cuda
