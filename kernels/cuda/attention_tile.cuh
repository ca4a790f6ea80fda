// Products of attention on the tensor cores, one warp at a time: 16 lines against 32 lines of another matrix, and 16 x
// 32 weights from registers against the same 32 lines. Matrices lie line by line in shared memory, kDepth words each
// with 4 words of padding: the 8 lines of an ldmatrix then meet 32 different banks, and so do the 2 x 4 lines x 8
// words of the weights' partner.
#pragma once
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/tile.cuh"

namespace onnxray::cuda {

inline constexpr int kAttentionColumns = 32;  // lines of the other matrix per step

template <int kDepth>
inline constexpr int kAttentionLine = kDepth + 4;

// 16 rows of the left operand, 16 deep: two fragments as the tensor cores take them.
template <Precision kPrecision>
struct DeepRows {
  static constexpr bool kExact = kPrecision == Precision::kExact, kBf16 = kPrecision == Precision::kBf16;
  std::uint32_t high[kBf16 ? 1 : 2][1][4], low[kExact ? 2 : 1][1][4];

  // Depths [8 half, 8 half + 8) of both halves.
  ONNXRAY_DEVICE explicit DeepRows(const std::uint32_t (&words)[2][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t(&w)[4] = words[half];
      if constexpr (kBf16) {
        // A word holds depths q and q + 4 of 8: any order of the sum will do that both operands share.
        high[0][0][2 * half] = pack_bf16(__uint_as_float(w[0]), __uint_as_float(w[2]));
        high[0][0][2 * half + 1] = pack_bf16(__uint_as_float(w[1]), __uint_as_float(w[3]));
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if constexpr (kExact) detail::split_tf32(w[i], high[half][0][i], low[half][0][i]);
          else high[half][0][i] = __float_as_uint(round_tf32(__uint_as_float(w[i])));
        }
      }
    }
  }

  // acc += rows b for 16 columns. Exact products are summed from zero, 16 deep, and added by the ordinary, rounding,
  // adder (tile.cuh says why).
  ONNXRAY_DEVICE void multiply(float (&left)[4], float (&right)[4], const std::uint32_t (&b)[2][2][2]) const {
    float sum[1][2][4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      sum[0][0][w] = kExact ? 0.0f : left[w];
      sum[0][1][w] = kExact ? 0.0f : right[w];
    }
    if constexpr (kBf16) {
      std::uint32_t y[2][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          y[j][half] = pack_bf16(__uint_as_float(b[half][j][0]), __uint_as_float(b[half][j][1]));
        }
      }
      mma<Bf16>(sum, high[0], y);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t y[2][2], y_low[2][2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
#pragma unroll
          for (int w = 0; w < 2; ++w) {
            if constexpr (kExact) detail::split_tf32(b[half][j][w], y[j][w], y_low[j][w]);
            else y[j][w] = __float_as_uint(round_tf32(__uint_as_float(b[half][j][w])));
          }
        }
        if constexpr (kExact) {
          mma<Tf32>(sum, low[half], y);
          mma<Tf32>(sum, high[half], y_low);
        }
        mma<Tf32>(sum, high[half], y);
      }
    }
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      left[w] = kExact ? left[w] + sum[0][0][w] : sum[0][0][w];
      right[w] = kExact ? right[w] + sum[0][1][w] : sum[0][1][w];
    }
  }
};

// x y^T: 16 lines of x against 32 lines of y.
template <Precision kPrecision, int kDepth>
ONNXRAY_DEVICE void multiply_lines(float (&product)[4][4], const float* x, const float* y) {
  constexpr int kLd = kAttentionLine<kDepth>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float* const x_from = x + lane % 16 * kLd + lane / 16 * 4;
  const float* const y_from = y + (lane % 8 + lane / 16 * 8) * kLd + lane / 8 % 2 * 4;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int w = 0; w < 4; ++w) product[j][w] = 0.0f;
  }
#pragma unroll 1
  for (int k = 0; k < kDepth; k += 16) {
    std::uint32_t words[2][4];
    load_matrix_x4(words[0], x_from + k);
    load_matrix_x4(words[1], x_from + k + 8);
    const DeepRows<kPrecision> rows(words);
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      std::uint32_t b[2][2][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t w[4];
        load_matrix_x4(w, y_from + 8 * j * kLd + k + 8 * half);
        b[half][0][0] = w[0];
        b[half][0][1] = w[1];
        b[half][1][0] = w[2];
        b[half][1][1] = w[3];
      }
      rows.multiply(product[j], product[j + 1], b);
    }
  }
}

// acc += weights y: 16 x 32 weights, laid out as a product's result, against 32 lines of y. A result holds columns 2q
// and 2q + 1 where an operand wants depths q and q + 4: the sum takes them in that order, and y's lines with them.
template <Precision kPrecision, int kDepth>
ONNXRAY_DEVICE void multiply_weights(float (&acc)[kDepth / 8][4], const float (&weights)[4][4], const float* y) {
  constexpr int kLd = kAttentionLine<kDepth>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float* const from = y + lane % 4 * 2 * kLd + lane / 4;
  static_assert(kAttentionColumns == 32);
  // Unrolled, exact products of wide heads hold more words in flight than there are registers on sm_80.
  [[maybe_unused]] constexpr int kUnroll = kPrecision == Precision::kExact && kDepth > 96 ? 1 : 2;
#pragma unroll kUnroll
  for (int k = 0; k < kAttentionColumns; k += 16) {
    std::uint32_t words[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // Indexed by k, which a loop that stays rolled does not know, the weights would go to memory.
      const auto word = [&](int i) { return __float_as_uint(k == 0 ? weights[half][i] : weights[2 + half][i]); };
      words[half][0] = word(0);
      words[half][1] = word(2);
      words[half][2] = word(1);
      words[half][3] = word(3);
    }
    const DeepRows<kPrecision> rows(words);
#pragma unroll
    for (int j = 0; j < kDepth / 8; j += 2) {
      std::uint32_t b[2][2][2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int t = 0; t < 2; ++t) {
          const float* const p = from + (k + 8 * half) * kLd + 8 * (j + t);
          b[half][t][0] = __float_as_uint(p[0]);
          b[half][t][1] = __float_as_uint(p[kLd]);
        }
      }
      rows.multiply(acc[j], acc[j + 1], b);
    }
  }
}

}  // namespace onnxray::cuda
