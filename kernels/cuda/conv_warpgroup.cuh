// Implicit-GEMM convolution on Hopper's warpgroup products: rows are output positions, columns output channels, as in
// conv_tensor_core.cuh, whose gathering loader it shares. Two warpgroups of 64 rows each; A goes from shared memory
// through registers, where it is rounded (TF32) or split (3xTF32); B was rounded or split when it was packed. The
// result passes through shared memory, so that every access of the epilogue is a whole line.
#pragma once
#include "kernels/cuda/conv_tensor_core.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace onnxray::cuda {
namespace {

inline constexpr int kBlockColumns = 64;                           // columns that are packed together
inline constexpr int kBlockWords = kBlockColumns * kSwizzledLine;  // of one slice of them

inline constexpr int kMostTaps = 31;  // of a class, bits of a word

// Of the rows of a tile: where the source of each begins, which taps are inside it, where the result begins (-1: there
// is no such row). And of each tap how far its source is from the first one's.
template <int kRows>
struct TileRows {
  int source[kRows];
  unsigned taps[kRows];
  int result[kRows];
  int tap_offset[kMostTaps + 1];
};

// For all threads of the block.
template <int kRows, int kThreads>
ONNXRAY_DEVICE void find_rows(const ConvArgs& p, const ConvClass& c, int first_row, TileRows<kRows>& to) {
  const int in_pixel = p.groups * p.in_channels, out_pixel = p.groups * p.out_channels;
  const int out_d = p.backward ? p.axis[0].x : p.axis[0].y, out_h = p.backward ? p.axis[1].x : p.axis[1].y;
  const int out_w = p.backward ? p.axis[2].x : p.axis[2].y, rows = p.images * c.positions();
  const auto taps_inside = [](const GatherAxis& g, int base) {
    unsigned inside = 0;
    for (int t = 0; t < g.taps; ++t) {
      inside |=
          static_cast<unsigned>(static_cast<unsigned>(base + t * g.base_step) < static_cast<unsigned>(g.in_extent))
          << t;
    }
    return inside;
  };
  for (int i = static_cast<int>(threadIdx.x); i < kRows; i += kThreads) {
    const int row = first_row + i;
    int source = 0, result = -1;
    unsigned taps = 0;
    if (row < rows) {
      const int w = row % c.w.count, rest = row / c.w.count, h = rest % c.h.count, above = rest / c.h.count;
      const int d = above % c.d.count, image = above / c.d.count;
      const int in_d = c.d.base + d * c.d.in_step, in_h = c.h.base + h * c.h.in_step, in_w = c.w.base + w * c.w.in_step;
      source = (((image * c.d.in_extent + in_d) * c.h.in_extent + in_h) * c.w.in_extent + in_w) * in_pixel;
      result = (((image * out_d + c.d.first + d * c.d.out_step) * out_h + c.h.first + h * c.h.out_step) * out_w +
                c.w.first + w * c.w.out_step) *
               out_pixel;
      const unsigned inside_d = taps_inside(c.d, in_d), inside_h = taps_inside(c.h, in_h);
      const unsigned inside_w = taps_inside(c.w, in_w);
      int shift = 0;
      for (int td = 0; td < c.d.taps; ++td) {
        for (int th = 0; th < c.h.taps; ++th, shift += c.w.taps) {
          if (inside_d >> td & inside_h >> th & 1) taps |= inside_w << shift;
        }
      }
    }
    to.source[i] = source;
    to.taps[i] = taps;
    to.result[i] = result;
  }
  for (int tap = static_cast<int>(threadIdx.x); tap <= kMostTaps; tap += kThreads) {
    int offset = 0;
    if (tap < c.taps()) {
      const int tw = tap % c.w.taps, th = tap / c.w.taps % c.h.taps, td = tap / c.w.taps / c.h.taps;
      offset =
          ((td * c.d.base_step * c.h.in_extent + th * c.h.base_step) * c.w.in_extent + tw * c.w.base_step) * in_pixel;
    }
    to.tap_offset[tap] = offset;
  }
  __syncthreads();
}

template <Precision kPrecision_, int kCols_, int kStages_, int kBlocks_>
struct WarpgroupTile {
  static constexpr Precision kPrecision = kPrecision_;
  static constexpr int kRows = 128, kCols = kCols_, kThreads = 256, kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kNi = kCols / 8;
  // Slices that are multiplied together: where no other block fills the time between, fewer and longer groups of
  // products.
  static constexpr int kTogether = kBlocks == 1 ? 2 : 1;
  static constexpr int kAhead = kStages - kTogether;  // slices that are fetched ahead
  // Where registers are short, nothing is held across the products.
  static constexpr bool kFetchFirst = kPrecision == Precision::kExact && kBlocks == 2;
  static constexpr int kParts = kPrecision == Precision::kExact ? 2 : 1;  // high and low
  static constexpr int kAWords = kSliceWords<kRows, true>, kBWords = kParts * kCols * kSwizzledLine;
  // The result in shared memory, per warp: 16 lines, padded so that the pairs of a fragment meet different banks.
  static constexpr int kOutLine = kCols + 8;
  static constexpr std::size_t kRingWords = kStages * (kAWords + kBWords);
  static constexpr std::size_t kSharedBytes = kSwizzledAlignment + kRingWords * sizeof(float) + sizeof(TileRows<kRows>);
  static_assert(kRows * kOutLine <= kRingWords && kBlocks * (kSharedBytes + 1024) <= 228 * 1024);
};

// Brings slices of A: each thread has the same 16 bytes of 4 rows.
template <int kRows, int kThreads>
class TapLoader {
 public:
  ONNXRAY_DEVICE TapLoader(const TileRows<kRows>& rows, const float* memory, int channels, int from)
      : tap_offset_(rows.tap_offset), memory_(memory), channels_(channels) {
    const int k = from + column();
    tap_ = k / channels;
    channel_ = k % channels;
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i) {
      source_[i] = rows.source[row() + i * kDown];
      taps_[i] = rows.taps[row() + i * kDown];
    }
  }

  // Zeros where the slice does not exist.
  ONNXRAY_DEVICE void load(float* slice, bool exists) {
    const int tap = tap_ < kMostTaps ? tap_ : kMostTaps;
    const float* const from = memory_ + tap_offset_[tap] + channel_;
    float* const to = slice + row() * kLine<kRows, true> + column();
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i) {
      copy_async_16(to + i * kDown * kLine<kRows, true>, from + source_[i], exists && (taps_[i] >> tap & 1) ? 16 : 0);
    }
    channel_ += kSlice;
    while (channel_ >= channels_) {
      channel_ -= channels_;
      ++tap_;
    }
  }

 private:
  static constexpr int kAcross = kSlice / 4, kDown = kThreads / kAcross, kRowsEach = kRows / kDown;
  ONNXRAY_DEVICE static int column() { return static_cast<int>(threadIdx.x) % kAcross * 4; }
  ONNXRAY_DEVICE static int row() { return static_cast<int>(threadIdx.x) / kAcross; }

  const int* tap_offset_;
  const float* memory_;
  int channels_, channel_, tap_;  // of this thread's column in the next slice
  int source_[kRowsEach];
  unsigned taps_[kRowsEach];
};

// Loads, for each slice, kCols / 64 blocks of packed columns, each contiguous, parts behind one another.
template <class T>
class BlockLoader {
 public:
  // `packed`: the first block's first slice; `step` words to the next block.
  ONNXRAY_DEVICE BlockLoader(const float* packed, long long step)
      : from_(packed + 4 * static_cast<int>(threadIdx.x)), step_(step) {}

  // Zeros where the slice does not exist.
  ONNXRAY_DEVICE void load(float* slice, bool exists) {
#pragma unroll
    for (int block = 0; block < T::kCols / kBlockColumns; ++block) {
#pragma unroll
      for (int i = 0; i < T::kParts * kBlockWords; i += 4 * T::kThreads) {
        // Parts of all columns lie together, so that one product reads all of them.
        const int part = i / kBlockWords, within = i % kBlockWords;
        copy_async_16(slice + (part * T::kCols / kBlockColumns + block) * kBlockWords + within +
                          4 * static_cast<int>(threadIdx.x),
                      from_ + block * step_ + i, exists ? 16 : 0);
      }
    }
    from_ += T::kParts * kBlockWords;
  }

 private:
  const float* from_;
  long long step_;
};

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

// Writes this warp's 16 lines of the tile, at most 128 columns at a time. `results` holds where each of the lines
// begins in the result, or -1.
template <class T>
ONNXRAY_DEVICE void store_lines(const float* lines, const int* results, int first_channel, int channels, int group,
                                const Epilogue<float>& e, float* out) {
  constexpr int kPiece = T::kCols < 128 ? T::kCols : 128, kLanes = kPiece / 4, kAtOnce = 32 / kLanes;
  constexpr int kBatch = 4;  // accesses of a lane in flight
  const int lane = static_cast<int>(threadIdx.x % 32), line = lane / kLanes;
#pragma unroll
  for (int piece = 0; piece < T::kCols; piece += kPiece) {
    const int column = piece + lane % kLanes * 4, channel = first_channel + column, own = group * channels + channel;
    if (channels % 4 != 0) {
      for (int row = line; row < 16; row += kAtOnce) {
        if (results[row] < 0) continue;
        for (int i = 0; i < 4 && channel + i < channels; ++i) {
          const long long at = static_cast<long long>(results[row]) + own + i;
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
        const int row = from + i * kAtOnce + line, begin = results[row];
        at[i] = exists && begin >= 0 ? begin + own : -1;
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

// The grid of conv_tensor_core.
template <class T>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
conv_warpgroup(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue,
               long long out_elements) {
  ONNXRAY_SHARED(unsigned char, memory);
  // By hand: the block's shared memory is only promised to begin at 128 bytes.
  const auto begins = reinterpret_cast<std::uintptr_t>(memory);
  float* const ring = reinterpret_cast<float*>(
      memory + (static_cast<std::uintptr_t>(kSwizzledAlignment) - begins % kSwizzledAlignment) % kSwizzledAlignment);
  float* const a_ring = ring + T::kStages * T::kBWords;
  auto& rows = *reinterpret_cast<TileRows<T::kRows>*>(ring + T::kRingWords);

  const int group = static_cast<int>(blockIdx.z) % p.groups, number = static_cast<int>(blockIdx.z) / p.groups;
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  if (first_row >= p.images * c.positions()) return;
  find_rows<T::kRows, T::kThreads>(p, c, first_row, rows);

  const Slices slices = slices_of(p, c);
  TapLoader<T::kRows, T::kThreads> a_loader(rows, in + group * p.in_channels, p.in_channels, slices.begin * kSlice);
  const long long block_step = static_cast<long long>(p.packed_depth / kSlice) * T::kParts * kBlockWords;
  const long long blocks = p.packed_columns / kBlockColumns;
  BlockLoader<T> b_loader(
      packed +
          ((static_cast<long long>(number) * p.groups + group) * blocks + first_column / kBlockColumns) * block_step +
          static_cast<long long>(slices.begin) * T::kParts * kBlockWords,
      block_step);
  const int rounded = (slices.count + T::kTogether - 1) / T::kTogether * T::kTogether;
  int fetched = 0, fetch_stage = 0, stage = 0;
  const auto next = [](int at) { return at + 1 == T::kStages ? 0 : at + 1; };
  const auto fetch = [&] {
    if (fetched < rounded) {
      const bool exists = T::kTogether == 1 || fetched < slices.count;
      a_loader.load(a_ring + fetch_stage * T::kAWords, exists);
      b_loader.load(ring + fetch_stage * T::kBWords, exists);
    }
    copy_async_commit();  // also an empty group, so that the count of groups is that of slices
    ++fetched;
    fetch_stage = next(fetch_stage);
  };
  for (int s = 0; s < T::kAhead; ++s) fetch();

  constexpr int kSteps = kSlice / 8, kAll = T::kTogether * kSteps;  // products of a slice, of those together
  const int warp = static_cast<int>(threadIdx.x / 32), warp_row = 16 * warp;
  float acc[T::kNi][4] = {};
  for (int s = 0; s < slices.count; s += T::kTogether) {
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
        detail::load_a<T::kRows, true>(a[i * kSteps + k], a_ring + stage * T::kAWords, warp_row, 8 * k);
      }
      stage = next(stage);
    }
    if constexpr (T::kPrecision == Precision::kTf32) {
#pragma unroll
      for (int k = 0; k < kAll; ++k) {
#pragma unroll
        for (int w = 0; w < 4; ++w) a[k][w] = __float_as_uint(round_tf32(__uint_as_float(a[k][w])));
      }
      warpgroup_fence(a);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply(acc, a[k], b[k / kSteps], k % kSteps * 8);
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
      const int b_low = T::kCols * kSwizzledLine;
      warpgroup_fence(a);
      warpgroup_fence(low);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply(sum, low[k], high(k), k % kSteps * 8, k > 0);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply(sum, a[k], high(k) + b_low, k % kSteps * 8);
#pragma unroll
      for (int k = 0; k < kAll; ++k) warpgroup_multiply(sum, a[k], high(k), k % kSteps * 8);
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

  float* const lines = ring + warp_row * T::kOutLine;
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int j = 0; j < T::kNi; ++j) {
    float* const to = lines + lane / 4 * T::kOutLine + 8 * j + lane % 4 * 2;
    *reinterpret_cast<float2*>(to) = make_float2(acc[j][0], acc[j][1]);
    *reinterpret_cast<float2*>(to + 8 * T::kOutLine) = make_float2(acc[j][2], acc[j][3]);
  }
  __syncwarp();
  store_lines<T>(lines, rows.result + warp_row, first_column, p.out_channels, group, epilogue,
                 out + static_cast<int>(blockIdx.y) * out_elements);
}

// packed[class][group][block of columns][slice][part], the parts swizzled as the products read them: high (and low, if
// `parts` is 2) of the words of pack_for_tensor_core.
ONNXRAY_KERNEL(void) pack_for_warpgroup(ConvArgs p, const float* w, float* packed, int parts) {
  const int group = static_cast<int>(blockIdx.y), number = static_cast<int>(blockIdx.z);
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const long long count = static_cast<long long>(p.packed_columns) * p.packed_depth;
  float* const to = packed + (static_cast<long long>(number) * p.groups + group) * count * parts;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int column = static_cast<int>(i / p.packed_depth), k = static_cast<int>(i % p.packed_depth);
    const float v = packed_weight(p, c, group, column, k, w);
    const long long block = static_cast<long long>(column / kBlockColumns) * (p.packed_depth / kSlice) + k / kSlice;
    const long long at = block * parts * kBlockWords + swizzled_word(column % kBlockColumns, k % kSlice);
    const float high = round_tf32(v);
    to[at] = high;
    if (parts == 2) to[at + kBlockWords] = round_tf32(v - high);
  }
}

}  // namespace
}  // namespace onnxray::cuda
