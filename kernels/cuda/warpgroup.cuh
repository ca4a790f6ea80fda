// Products on Hopper's warpgroup instructions (wgmma.cuh): a block of threads multiplies rows that a loader brings by a
// packed matrix, [128 x depth] by [depth x columns], as tile.cuh does by mma.sync. Two warpgroups of 64 rows each; A
// goes from shared memory through registers, where it is rounded (TF32, bfloat16) or split (3xTF32); B was rounded or
// split when it was packed. The result passes through shared memory, so that every access of the epilogue is a whole
// line. Where the rows of A come from is the kernels' matter: conv_warpgroup.cuh gathers them, gemm_warpgroup.cuh reads
// them as they lie.
#pragma once
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/tiles.h"
#include "kernels/cuda/wgmma.cuh"

namespace onnxray::cuda {
namespace {

inline constexpr int kBlockColumns = 64;  // columns that are packed together

// How an operand B is packed: `kParts` (high and low) to a slice, in each kLine words to a column.
template <Precision kPrecision>
struct PackedForm {
  static constexpr int kParts = kPrecision == Precision::kExact ? 2 : 1;
  static constexpr int kLine = kPrecision == Precision::kBf16 ? kCoreLine : kSwizzledLine;
  static constexpr int kPartWords = kBlockColumns * kLine, kBlockWords = kParts * kPartWords;
};
// Words of a packed [columns x depth], multiples of kBlockColumns and kSlice.
template <Precision kPrecision>
ONNXRAY_HOST_DEVICE constexpr long long packed_words(int columns, int depth) {
  return static_cast<long long>(columns / kBlockColumns) * (depth / kSlice) * PackedForm<kPrecision>::kBlockWords;
}
std::size_t packed_bytes(Precision precision, int columns, int depth) {
  const long long words = precision == Precision::kExact  ? packed_words<Precision::kExact>(columns, depth)
                          : precision == Precision::kTf32 ? packed_words<Precision::kTf32>(columns, depth)
                                                          : packed_words<Precision::kBf16>(columns, depth);
  return sizeof(float) * static_cast<std::size_t>(words);
}

template <Precision kPrecision_, int kCols_, int kStages_, int kBlocks_>
struct WarpgroupTile : PackedForm<kPrecision_> {
  static constexpr Precision kPrecision = kPrecision_;
  using Kind = std::conditional_t<kPrecision == Precision::kBf16, Bf16, Tf32>;
  static constexpr int kRows = 128, kCols = kCols_, kThreads = 256, kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kNi = kCols / 8;
  // Slices that are multiplied together: where no other block fills the time between, fewer and longer groups of
  // products.
  static constexpr int kTogether = kBlocks == 1 ? 2 : 1;
  static constexpr int kAhead = kStages - kTogether;  // slices that are fetched ahead
  // Where registers are short, nothing is held across the products.
  static constexpr bool kFetchFirst = kPrecision == Precision::kExact && kBlocks == 2;
  static constexpr int kAWords = kSliceWords<kRows, true>;
  static constexpr int kBWords = kCols / kBlockColumns * PackedForm<kPrecision>::kBlockWords;
  // The result in shared memory, per warp: 16 lines, padded so that the pairs of a fragment meet different banks.
  static constexpr int kOutLine = kCols + 8;
  static constexpr std::size_t kRingWords = kStages * (kAWords + kBWords);
  static_assert(kRows * kOutLine <= kRingWords);
};

// f.operator()<T>() for the tile's type T.
template <Precision kPrecision, class F>
void with_warpgroup_tile(ProductTile tile, F f) {
  if constexpr (kPrecision == Precision::kExact) {
    if (tile == ProductTile::kGroup128) return f.template operator()<WarpgroupTile<kPrecision, 128, 4, 1>>();
    f.template operator()<WarpgroupTile<kPrecision, 64, 3, 2>>();
  } else {
    if (tile == ProductTile::kGroup256) return f.template operator()<WarpgroupTile<kPrecision, 256, 4, 1>>();
    if (tile == ProductTile::kGroup128) return f.template operator()<WarpgroupTile<kPrecision, 128, 3, 2>>();
    f.template operator()<WarpgroupTile<kPrecision, 64, 4, 2>>();
  }
}

// Of shared memory, with kMore behind the ring.
template <class T, std::size_t kMore = 0>
constexpr std::size_t warpgroup_shared_bytes() {
  constexpr std::size_t kBytes = kSwizzledAlignment + T::kRingWords * sizeof(float) + kMore;
  static_assert(T::kBlocks * (kBytes + 1024) <= 228 * 1024);
  return kBytes;
}
// The ring in it. By hand: the block's shared memory is only promised to begin at 128 bytes.
ONNXRAY_DEVICE float* warpgroup_ring(unsigned char* memory) {
  const auto begins = reinterpret_cast<std::uintptr_t>(memory);
  return reinterpret_cast<float*>(
      memory + (static_cast<std::uintptr_t>(kSwizzledAlignment) - begins % kSwizzledAlignment) % kSwizzledAlignment);
}

// Loads, for each slice, kCols / 64 blocks of packed columns, each contiguous, parts behind one another.
template <class T>
class BlockLoader {
 public:
  // `packed`: a matrix of `slices` slices as pack_blocks makes it; its columns from `first` on, slices from `from` on.
  ONNXRAY_DEVICE BlockLoader(const float* packed, int first, int slices, int from)
      : step_(static_cast<long long>(slices) * T::kBlockWords) {
    from_ = packed + first / kBlockColumns * step_ + static_cast<long long>(from) * T::kBlockWords +
            4 * static_cast<int>(threadIdx.x);
  }

  // Zeros where the slice does not exist.
  ONNXRAY_DEVICE void load(float* slice, bool exists) {
#pragma unroll
    for (int block = 0; block < T::kCols / kBlockColumns; ++block) {
#pragma unroll
      for (int i = 0; i < T::kBlockWords; i += 4 * T::kThreads) {
        // Parts of all columns lie together, so that one product reads all of them.
        const int part = i / T::kPartWords, within = i % T::kPartWords;
        copy_async_16(slice + (part * T::kCols / kBlockColumns + block) * T::kPartWords + within +
                          4 * static_cast<int>(threadIdx.x),
                      from_ + block * step_ + i, exists ? 16 : 0);
      }
    }
    from_ += T::kBlockWords;
  }

 private:
  long long step_;  // words to the next block
  const float* from_;
};

// This warp's rows of A for one product, rounded unless they will be split.
template <class T>
ONNXRAY_DEVICE void load_rows(std::uint32_t (&a)[4], const float* slice, int row, int k) {
  if constexpr (T::kPrecision == Precision::kBf16) {
    // As in tile.cuh, a word holds depths (q, q + 4) of eight; pack_blocks puts B into the same order.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t w[4];
      detail::load_a<T::kRows, true>(w, slice, row, k + 8 * half);
      a[2 * half] = pack_bf16(__uint_as_float(w[0]), __uint_as_float(w[2]));
      a[2 * half + 1] = pack_bf16(__uint_as_float(w[1]), __uint_as_float(w[3]));
    }
  } else {
    detail::load_a<T::kRows, true>(a, slice, row, k);
    if constexpr (T::kPrecision == Precision::kTf32) {
#pragma unroll
      for (int w = 0; w < 4; ++w) a[w] = __float_as_uint(round_tf32(__uint_as_float(a[w])));
    }
  }
}

// acc += A B over `slices` slices of the sum, 16 rows to a warp. a_loader.load(slice, exists) brings a slice of A,
// zeros where it does not exist. Every thread of the block calls it; the ring is free when it returns.
template <class T, class A>
ONNXRAY_DEVICE void multiply_warpgroup(float* ring, int slices, A& a_loader, BlockLoader<T>& b_loader,
                                       float (&acc)[T::kNi][4]) {
  float* const a_ring = ring + T::kStages * T::kBWords;
  const int rounded = (slices + T::kTogether - 1) / T::kTogether * T::kTogether;
  int fetched = 0, fetch_stage = 0, stage = 0;
  const auto next = [](int at) { return at + 1 == T::kStages ? 0 : at + 1; };
  const auto fetch = [&] {
    if (fetched < rounded) {
      const bool exists = T::kTogether == 1 || fetched < slices;
      a_loader.load(a_ring + fetch_stage * T::kAWords, exists);
      b_loader.load(ring + fetch_stage * T::kBWords, exists);
    }
    copy_async_commit();  // also an empty group, so that the count of groups is that of slices
    ++fetched;
    fetch_stage = next(fetch_stage);
  };
  for (int s = 0; s < T::kAhead; ++s) fetch();

  using Kind = typename T::Kind;
  constexpr int kDepth = kProductDepth<Kind>;
  constexpr int kSteps = kSlice / kDepth, kAll = T::kTogether * kSteps;  // products of a slice, of those together
  const int warp = static_cast<int>(threadIdx.x / 32), warp_row = 16 * warp;
  for (int s = 0; s < slices; s += T::kTogether) {
    copy_async_wait<T::kAhead - T::kTogether>();
    warpgroup_publish();
    __syncthreads();  // the slices are whole, and everybody has left the buffers that are filled next
    const auto fetch_all = [&] {
      for (int i = 0; i < T::kTogether; ++i) fetch();
    };
    if constexpr (T::kFetchFirst) fetch_all();
    std::uint32_t a[kAll][4];
    const float* b[T::kTogether];
#pragma unroll
    for (int i = 0; i < T::kTogether; ++i) {
      b[i] = ring + stage * T::kBWords;
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        load_rows<T>(a[i * kSteps + k], a_ring + stage * T::kAWords, warp_row, kDepth * k);
      }
      stage = next(stage);
    }
    if constexpr (T::kPrecision != Precision::kExact) {
      warpgroup_fence(a);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply<Kind>(acc, a[k], b[k / kSteps], k % kSteps * kDepth);
      warpgroup_commit();
      if constexpr (!T::kFetchFirst) fetch_all();  // while the products run
      warpgroup_wait(acc);
    } else {
      // As in multiply_slices of tile.cuh: the small products first, and summed apart.
      std::uint32_t low[kAll][4];
#pragma unroll
      for (int k = 0; k < kAll; ++k) {
#pragma unroll
        for (int w = 0; w < 4; ++w) detail::split_tf32(a[k][w], a[k][w], low[k][w]);
      }
      float sum[T::kNi][4];
      const auto high = [&](int k) { return b[k / kSteps]; };
      const int b_low = T::kCols * T::kLine;
      warpgroup_fence(a);
      warpgroup_fence(low);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply<Kind>(sum, low[k], high(k), k % kSteps * kDepth, k > 0);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply<Kind>(sum, a[k], high(k) + b_low, k % kSteps * kDepth);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply<Kind>(sum, a[k], high(k), k % kSteps * kDepth);
      warpgroup_commit();
      if constexpr (!T::kFetchFirst) fetch_all();
      warpgroup_wait(sum);
#pragma unroll
      for (int j = 0; j < T::kNi; ++j) {
#pragma unroll
        for (int w = 0; w < 4; ++w) acc[j][w] += sum[j][w];
      }
    }
  }
  copy_async_wait<0>();
  __syncthreads();  // the ring is free
}

// Four neighbouring channels that all exist, at an element divisible by four: what the epilogue reads for them. Apart
// from finish_quad, so that several of them are on their way at once.
struct QuadInputs {
  float4 sum, mask;
  unsigned bits;  // of mask_bits
};
ONNXRAY_DEVICE QuadInputs quad_inputs(const Epilogue<float>& e, int at) {
  const float4 none = make_float4(0, 0, 0, 0);
  return {e.sum != nullptr ? *reinterpret_cast<const float4*>(e.sum + at) : none,
          e.mask != nullptr ? *reinterpret_cast<const float4*>(e.mask + at) : none,
          e.mask_bits != nullptr ? e.mask_bits[at >> 5] >> (at & 31) : 15u};
}
ONNXRAY_DEVICE float4 finish_quad(float4 v, const Epilogue<float>& e, float4 bias, const QuadInputs& in) {
  const auto one = [&](float x, float b, float s, float m, unsigned bit) {
    if (e.bias != nullptr) x += b;
    if (e.sum != nullptr) x += s;
    if (e.relu && x <= 0.0f) x = 0.0f;
    return (e.mask != nullptr && !(m > 0.0f)) || (in.bits & bit) == 0 ? 0.0f : x;
  };
  return make_float4(one(v.x, bias.x, in.sum.x, in.mask.x, 1), one(v.y, bias.y, in.sum.y, in.mask.y, 2),
                     one(v.z, bias.z, in.sum.z, in.mask.z, 4), one(v.w, bias.w, in.sum.w, in.mask.w, 8));
}

// Writes this warp's 16 lines of the tile, at most 128 columns at a time. begin(row): the element of the result where
// that one of them begins, or -1. The tile's first column is `first_channel` of the `channels` of `group`.
template <class T, class Begin>
ONNXRAY_DEVICE void store_lines(const float* lines, Begin begin, int first_channel, int channels, int group,
                                const Epilogue<float>& e, float* out) {
  constexpr int kPiece = T::kCols < 128 ? T::kCols : 128, kLanes = kPiece / 4, kAtOnce = 32 / kLanes;
  constexpr int kBatch = 4;  // accesses of a lane in flight
  const int lane = static_cast<int>(threadIdx.x % 32), line = lane / kLanes;
#pragma unroll
  for (int piece = 0; piece < T::kCols; piece += kPiece) {
    const int column = piece + lane % kLanes * 4, channel = first_channel + column, own = group * channels + channel;
    if (channels % 4 != 0) {
      for (int row = line; row < 16; row += kAtOnce) {
        if (begin(row) < 0) continue;
        for (int i = 0; i < 4 && channel + i < channels; ++i) {
          const long long at = static_cast<long long>(begin(row)) + own + i;
          out[at] = finish(lines[row * T::kOutLine + column + i], e, own + i, at);
        }
      }
      continue;
    }
    const bool exists = channel < channels;
    const float4 bias =
        e.bias != nullptr && exists ? *reinterpret_cast<const float4*>(e.bias + own) : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int from = 0; from < 16; from += kBatch * kAtOnce) {
      int at[kBatch];  // negative: nothing to write
      float4 v[kBatch];
      QuadInputs in[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int row = from + i * kAtOnce + line, begins = begin(row);
        at[i] = exists && begins >= 0 ? begins + own : -1;
        v[i] = *reinterpret_cast<const float4*>(lines + row * T::kOutLine + column);
        if (at[i] >= 0) in[i] = quad_inputs(e, at[i]);
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (at[i] >= 0) {
          v[i] = finish_quad(v[i], e, bias, in[i]);
          *reinterpret_cast<float4*>(out + at[i]) = v[i];
        }
        if (e.out_bits != nullptr) {  // eight lanes hold the 32 channels of a word
          unsigned bits = static_cast<unsigned>(v[i].x > 0.0f) | static_cast<unsigned>(v[i].y > 0.0f) << 1 |
                          static_cast<unsigned>(v[i].z > 0.0f) << 2 | static_cast<unsigned>(v[i].w > 0.0f) << 3;
          bits <<= lane % 8 * 4;
          for (int lanes = 1; lanes < 8; lanes *= 2) bits |= __shfl_xor_sync(kFullMask, bits, lanes);
          if (lane % 8 == 0 && at[i] >= 0) e.out_bits[at[i] >> 5] = bits;
        }
      }
    }
  }
}

// The same from the accumulators, through the ring. begin(row) of the tile's rows.
template <class T, class Begin>
ONNXRAY_DEVICE void finish_warpgroup(const float (&acc)[T::kNi][4], float* ring, Begin begin, int first_channel,
                                     int channels, int group, const Epilogue<float>& e, float* out) {
  const int warp_row = 16 * static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  float* const lines = ring + warp_row * T::kOutLine;
#pragma unroll
  for (int j = 0; j < T::kNi; ++j) {
    float* const to = lines + lane / 4 * T::kOutLine + 8 * j + lane % 4 * 2;
    *reinterpret_cast<float2*>(to) = make_float2(acc[j][0], acc[j][1]);
    *reinterpret_cast<float2*>(to + 8 * T::kOutLine) = make_float2(acc[j][2], acc[j][3]);
  }
  __syncwarp();
  store_lines<T>(
      lines, [&](int row) { return begin(warp_row + row); }, first_channel, channels, group, e, out);
}

// Packs a matrix of `columns` x `depth` (multiples of kBlockColumns and kSlice), value(column, k), into
// packed[block of columns][slice][part], the parts as the products read them: high (and low, for 3xTF32).
// All threads of the x axis of a grid.
template <Precision kPrecision, class Value>
ONNXRAY_DEVICE void pack_blocks(float* packed, int columns, int depth, Value value) {
  using Form = PackedForm<kPrecision>;
  const int line = depth / kSlice * Form::kLine;  // words to a column
  const long long count = static_cast<long long>(columns) * line;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int column = static_cast<int>(i / line), word = static_cast<int>(i % line);
    const int slice = word / Form::kLine, within = word % Form::kLine;
    const long long block = static_cast<long long>(column / kBlockColumns) * (depth / kSlice) + slice;
    float* const to = packed + block * Form::kBlockWords;
    if constexpr (kPrecision == Precision::kBf16) {
      const int k = within / 4 * 8 + within % 4;  // and k + 4, in the places of two neighbours: see load_rows
      to[core_word(column % kBlockColumns, within * 2)] =
          __uint_as_float(pack_bf16(value(column, slice * kSlice + k), value(column, slice * kSlice + k + 4)));
    } else {
      const float v = value(column, slice * kSlice + within), high = round_tf32(v);
      const int at = swizzled_word(column % kBlockColumns, within);
      to[at] = high;
      if constexpr (Form::kParts == 2) to[at + Form::kPartWords] = round_tf32(v - high);
    }
  }
}

}  // namespace
}  // namespace onnxray::cuda
