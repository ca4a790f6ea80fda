// The heart of convolutions and matrix products: a block of threads multiplies a [rows x depth] by a [depth x columns]
// matrix that two loaders bring, slice by slice, into a ring of buffers in shared memory by cp.async; warps multiply
// tiles of them on the tensor cores. One body for 3xTF32, TF32 and bfloat16: operands stay float32 in shared memory and
// are rounded when they enter registers.
#pragma once
#include "kernels/cuda/mask_bits.cuh"

namespace onnxray::cuda {

inline constexpr int kSlice = 32;  // of the sum, per buffer

// A block's tile, a warp's tile, buffers in the ring, and how many blocks should fit a multiprocessor.
template <int kRows_, int kCols_, int kWarpRows_, int kWarpCols_, int kStages_, int kBlocks_>
struct Tile {
  static constexpr int kRows = kRows_, kCols = kCols_, kWarpRows = kWarpRows_, kWarpCols = kWarpCols_;
  static constexpr int kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kWarpsDown = kRows / kWarpRows, kWarpsAcross = kCols / kWarpCols;
  static constexpr int kThreads = 32 * kWarpsDown * kWarpsAcross;
  static constexpr int kMi = kWarpRows / 16, kNi = kWarpCols / 8;
  static_assert(kNi % 2 == 0 && kRows % kWarpRows == 0 && kCols % kWarpCols == 0);
};

using MediumTile = Tile<64, 64, 32, 32, 3, 3>;
using NarrowTile = Tile<128, 16, 32, 16, 3, 3>;
template <Precision kPrecision>
struct WideTileOf {
  using type = Tile<128, 128, 64, 32, 3, 2>;
};
template <>
struct WideTileOf<Precision::kExact> {
  using type = Tile<128, 64, 32, 32, 3, 2>;
};
template <Precision kPrecision>
using WideTile = typename WideTileOf<kPrecision>::type;

// An operand's slice in shared memory, in words. Along the sum ("by depth"): one line per row of the matrix, 4 words of
// padding, so that the 8 lines of an ldmatrix meet 32 different banks. Across: one line per depth, 8 words of padding,
// so that the 4 x 8 words of a fragment do.
template <int kExtent, bool kByDepth>
inline constexpr int kLine = kByDepth ? kSlice + 4 : kExtent + 8;
template <int kExtent, bool kByDepth>
inline constexpr int kSliceWords = (kByDepth ? kExtent : kSlice) * kLine<kExtent, kByDepth>;

template <class T, bool kAByDepth, bool kBByDepth>
inline constexpr int kRingWords = T::kStages*(kSliceWords<T::kRows, kAByDepth> + kSliceWords<T::kCols, kBByDepth>);

// Brings slices of a matrix in memory, in order. `kVector` words at a time: 4 where every line begins at 16 bytes.
template <int kExtent, bool kByDepth, int kVector, int kThreads>
class MatrixLoader {
 public:
  // Lines of `matrix` are `line` words apart; of its `extent` rows (of a) or columns (of b) the tile begins at `first`.
  ONNXRAY_DEVICE MatrixLoader(const float* matrix, int line, int first, int extent, int depth) : line_(line) {
    const int down = static_cast<int>(threadIdx.x) / kAcross;
    from_ =
        matrix + static_cast<long long>(kByDepth ? first + down : down) * line + (kByDepth ? word() : first + word());
    lines_left_ = (kByDepth ? extent - first : depth) - down;
    words_left_ = (kByDepth ? depth : extent - first) - word();
  }

  // Zeros past the matrix, and where the slice does not exist.
  ONNXRAY_DEVICE void load(float* slice, bool exists = true) {
    const int words = words_left_ < 0 || !exists ? 0 : words_left_ < kVector ? words_left_ : kVector;
    float* const to = slice + static_cast<int>(threadIdx.x) / kAcross * kLine<kExtent, kByDepth> + word();
    // Every unrolled copy costs an address that stays in registers.
#pragma unroll(kVector == 4 ? 8 : 2)
    for (int i = 0; i < kCopies; ++i) {
      const unsigned valid = i * kDown < lines_left_ ? 4u * static_cast<unsigned>(words) : 0u;
      const float* const from = from_ + static_cast<long long>(i * kDown) * line_;
      if constexpr (kVector == 4) {
        copy_async_16(to + i * kDown * kLine<kExtent, kByDepth>, from, valid);
      } else {
        copy_async_4(to + i * kDown * kLine<kExtent, kByDepth>, from, valid);
      }
    }
    if constexpr (kByDepth) {
      from_ += kSlice;
      words_left_ -= kSlice;
    } else {
      from_ += static_cast<long long>(kSlice) * line_;
      lines_left_ -= kSlice;
    }
  }

 private:
  static constexpr int kAcross = (kByDepth ? kSlice : kExtent) / kVector, kDown = kThreads / kAcross;
  static constexpr int kCopies = (kByDepth ? kExtent : kSlice) / kDown;
  static_assert(kThreads % kAcross == 0 && (kByDepth ? kExtent : kSlice) % kDown == 0);
  ONNXRAY_DEVICE static int word() { return static_cast<int>(threadIdx.x) % kAcross * kVector; }

  const float* from_;  // this thread's first word of the next slice; not to be read where nothing is left
  int line_, lines_left_, words_left_;
};

namespace detail {

// 16 x 8 words of a (row-major fragments) at `row`, depth `k`.
template <int kExtent, bool kByDepth>
ONNXRAY_DEVICE void load_a(std::uint32_t (&a)[4], const float* slice, int row, int k) {
  constexpr int kStride = kLine<kExtent, kByDepth>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (kByDepth) {
    load_matrix_x4(a, slice + (row + lane % 16) * kStride + k + lane / 16 * 4);
  } else {
    const float* from = slice + (k + lane % 4) * kStride + row + lane / 4;
    a[0] = __float_as_uint(from[0]);
    a[1] = __float_as_uint(from[8]);
    a[2] = __float_as_uint(from[4 * kStride]);
    a[3] = __float_as_uint(from[4 * kStride + 8]);
  }
}

// 8 words x 16 columns of b: two fragments.
template <int kExtent, bool kByDepth>
ONNXRAY_DEVICE void load_b(std::uint32_t (&b0)[2], std::uint32_t (&b1)[2], const float* slice, int column, int k) {
  constexpr int kStride = kLine<kExtent, kByDepth>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (kByDepth) {
    std::uint32_t b[4];
    load_matrix_x4(b, slice + (column + lane % 8 + lane / 16 * 8) * kStride + k + lane / 8 % 2 * 4);
    b0[0] = b[0];
    b0[1] = b[1];
    b1[0] = b[2];
    b1[1] = b[3];
  } else {
    const float* from = slice + (k + lane % 4) * kStride + column + lane / 4;
    b0[0] = __float_as_uint(from[0]);
    b0[1] = __float_as_uint(from[4 * kStride]);
    b1[0] = __float_as_uint(from[8]);
    b1[1] = __float_as_uint(from[4 * kStride + 8]);
  }
}

// word = high + low up to 2^-22 of it, both TF32; low is NaN where word is not finite.
ONNXRAY_DEVICE void split_tf32(std::uint32_t word, std::uint32_t& high, std::uint32_t& low) {
  const float x = __uint_as_float(word), h = round_tf32(x);
  high = __float_as_uint(h);
  low = __float_as_uint(round_tf32(x - h));
}

}  // namespace detail

// acc += a b over `slices` slices of the sum. Every thread of the block calls it; `ring` has kRingWords words. The
// order of additions depends on the tile alone.
template <Precision kPrecision, class T, bool kAByDepth, bool kBByDepth, class A, class B>
ONNXRAY_DEVICE void multiply_slices(float* ring, int slices, A& a_loader, B& b_loader,
                                    float (&acc)[T::kMi][T::kNi][4]) {
  constexpr int kAWords = kSliceWords<T::kRows, kAByDepth>, kStage = kAWords + kSliceWords<T::kCols, kBByDepth>;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int row = warp / T::kWarpsAcross * T::kWarpRows, column = warp % T::kWarpsAcross * T::kWarpCols;
  const auto fetch = [&](int slice) {
    if (slice < slices) {
      float* stage = ring + slice % T::kStages * kStage;
      a_loader.load(stage);
      b_loader.load(stage + kAWords);
    }
    copy_async_commit();  // also an empty group, so that the count of groups is that of slices
  };
  for (int s = 0; s < T::kStages - 1; ++s) fetch(s);

  for (int s = 0; s < slices; ++s) {
    copy_async_wait<T::kStages - 2>();
    __syncthreads();  // slice s is whole, and everybody has left the buffer that is filled next
    fetch(s + T::kStages - 1);
    const float* a_slice = ring + s % T::kStages * kStage;
    const float* b_slice = a_slice + kAWords;

    if constexpr (kPrecision == Precision::kTf32) {
#pragma unroll
      for (int k = 0; k < kSlice; k += 8) {
        std::uint32_t a[T::kMi][4], b[T::kNi][2];
#pragma unroll
        for (int i = 0; i < T::kMi; ++i) {
          detail::load_a<T::kRows, kAByDepth>(a[i], a_slice, row + 16 * i, k);
          for (int w = 0; w < 4; ++w) a[i][w] = __float_as_uint(round_tf32(__uint_as_float(a[i][w])));
        }
#pragma unroll
        for (int j = 0; j < T::kNi; j += 2) {
          detail::load_b<T::kCols, kBByDepth>(b[j], b[j + 1], b_slice, column + 8 * j, k);
          for (int w = 0; w < 2; ++w) {
            b[j][w] = __float_as_uint(round_tf32(__uint_as_float(b[j][w])));
            b[j + 1][w] = __float_as_uint(round_tf32(__uint_as_float(b[j + 1][w])));
          }
        }
        mma<Tf32>(acc, a, b);
      }
    } else if constexpr (kPrecision == Precision::kBf16) {
      // A word of a fragment holds depths (q, q + 4) of an 8-word tile: any order of the sum will do that both share.
#pragma unroll
      for (int k = 0; k < kSlice; k += 16) {
        std::uint32_t a[T::kMi][4], b[T::kNi][2];
#pragma unroll
        for (int i = 0; i < T::kMi; ++i) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            std::uint32_t w[4];
            detail::load_a<T::kRows, kAByDepth>(w, a_slice, row + 16 * i, k + 8 * half);
            a[i][2 * half] = pack_bf16(__uint_as_float(w[0]), __uint_as_float(w[2]));
            a[i][2 * half + 1] = pack_bf16(__uint_as_float(w[1]), __uint_as_float(w[3]));
          }
        }
#pragma unroll
        for (int j = 0; j < T::kNi; j += 2) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            std::uint32_t u[2], v[2];
            detail::load_b<T::kCols, kBByDepth>(u, v, b_slice, column + 8 * j, k + 8 * half);
            b[j][half] = pack_bf16(__uint_as_float(u[0]), __uint_as_float(u[1]));
            b[j + 1][half] = pack_bf16(__uint_as_float(v[0]), __uint_as_float(v[1]));
          }
        }
        mma<Bf16>(acc, a, b);
      }
    } else {
      // 3xTF32 (Ootomo and Yokota, arXiv 2203.03341): the small products first. The tensor core truncates as it adds,
      // so a slice is summed from zero and added to the total by the ordinary, rounding, adder.
      float sum[T::kNi / 2][T::kMi][2][4] = {};
#pragma unroll
      for (int k = 0; k < kSlice; k += 8) {
        std::uint32_t a_high[T::kMi][4], a_low[T::kMi][4];
#pragma unroll
        for (int i = 0; i < T::kMi; ++i) {
          std::uint32_t a[4];
          detail::load_a<T::kRows, kAByDepth>(a, a_slice, row + 16 * i, k);
#pragma unroll
          for (int w = 0; w < 4; ++w) detail::split_tf32(a[w], a_high[i][w], a_low[i][w]);
        }
#pragma unroll
        for (int j = 0; j < T::kNi / 2; ++j) {
          std::uint32_t b[2][2], b_high[2][2], b_low[2][2];
          detail::load_b<T::kCols, kBByDepth>(b[0], b[1], b_slice, column + 16 * j, k);
#pragma unroll
          for (int w = 0; w < 2; ++w) {
            detail::split_tf32(b[0][w], b_high[0][w], b_low[0][w]);
            detail::split_tf32(b[1][w], b_high[1][w], b_low[1][w]);
          }
          mma<Tf32>(sum[j], a_low, b_high);
          mma<Tf32>(sum[j], a_high, b_low);
          mma<Tf32>(sum[j], a_high, b_high);
        }
      }
#pragma unroll
      for (int i = 0; i < T::kMi; ++i) {
#pragma unroll
        for (int j = 0; j < T::kNi; ++j) {
#pragma unroll
          for (int w = 0; w < 4; ++w) acc[i][j][w] += sum[j / 2][i][j % 2][w];
        }
      }
    }
  }
  copy_async_wait<0>();
}

template <class T>
ONNXRAY_DEVICE T finish(T v, const Epilogue<T>& e, long long channel, long long at) {
  if (e.bias != nullptr) v += e.bias[channel];
  if (e.sum != nullptr) v += e.sum[at];
  if (e.relu && v <= T{0}) v = T{0};  // a NaN stays
  if (e.mask != nullptr && !(e.mask[at] > T{0})) v = T{0};
  if (e.mask_bits != nullptr && !mask_bit(e.mask_bits, at)) v = T{0};
  return v;
}

// The same for two neighbouring channels that both exist, at an even element; stores and returns them.
ONNXRAY_DEVICE float2 finish_pair(float v0, float v1, const Epilogue<float>& e, long long channel, long long at,
                                  float* y) {
  if (e.bias != nullptr) {
    v0 += e.bias[channel];
    v1 += e.bias[channel + 1];
  }
  if (e.sum != nullptr) {
    const float2 s = *reinterpret_cast<const float2*>(e.sum + at);
    v0 += s.x;
    v1 += s.y;
  }
  if (e.relu) {
    if (v0 <= 0.0f) v0 = 0.0f;
    if (v1 <= 0.0f) v1 = 0.0f;
  }
  if (e.mask != nullptr) {
    const float2 m = *reinterpret_cast<const float2*>(e.mask + at);
    if (!(m.x > 0.0f)) v0 = 0.0f;
    if (!(m.y > 0.0f)) v1 = 0.0f;
  }
  if (e.mask_bits != nullptr) {
    const std::uint32_t m = e.mask_bits[at >> 5] >> (at & 31);
    if ((m & 1) == 0) v0 = 0.0f;
    if ((m & 2) == 0) v1 = 0.0f;
  }
  const float2 v = make_float2(v0, v1);
  *reinterpret_cast<float2*>(y + at) = v;
  return v;
}

// Finishes and stores the block's tile. Its first column is `channel` of the result, `columns` exist from there on.
// place(row): the element where the row of the tile begins, negative where there is no row. `pairs`: rows begin at even
// elements and `columns` is even. With out_bits, both are multiples of 32. Every thread of the block calls it.
template <class T, class Place>
ONNXRAY_DEVICE void finish_tile(const float (&acc)[T::kMi][T::kNi][4], const Epilogue<float>& e, int channel,
                                int columns, bool pairs, Place place, float* y) {
  static_assert(T::kWarpCols == 32 || T::kWarpCols == 16);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int row = warp / T::kWarpsAcross * T::kWarpRows + lane / 4;
  const int across = warp % T::kWarpsAcross * T::kWarpCols;
#pragma unroll
  for (int i = 0; i < T::kMi; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const long long begin = place(row + 16 * i + 8 * half);
      std::uint32_t bits = 0;
#pragma unroll
      for (int j = 0; j < T::kNi; ++j) {
        const int column = across + lane % 4 * 2 + 8 * j;
        if (begin < 0 || column >= columns) continue;
        const float v0 = acc[i][j][2 * half], v1 = acc[i][j][2 * half + 1];
        const long long at = begin + column;
        if (pairs) {
          const float2 v = finish_pair(v0, v1, e, channel + column, at, y);
          bits |= (static_cast<std::uint32_t>(v.x > 0.0f) | static_cast<std::uint32_t>(v.y > 0.0f) << 1) << (8 * j);
        } else {
          y[at] = finish(v0, e, channel + column, at);
          if (column + 1 < columns) y[at + 1] = finish(v1, e, channel + column + 1, at + 1);
        }
      }
      if (e.out_bits != nullptr) {
        // The four threads of a row hold every fourth pair of its columns.
        bits <<= lane % 4 * 2;
        bits |= __shfl_xor_sync(kFullMask, bits, 1);
        bits |= __shfl_xor_sync(kFullMask, bits, 2);
        if (lane % 4 == 0 && begin >= 0 && across < columns) {
          if constexpr (T::kWarpCols == 32) e.out_bits[(begin + across) / 32] = bits;
          else reinterpret_cast<std::uint16_t*>(e.out_bits)[(begin + across) / 16] = static_cast<std::uint16_t>(bits);
        }
      }
    }
  }
}

}  // namespace onnxray::cuda
