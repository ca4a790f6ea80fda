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

template <Precision kPrecision_, int kCols_>
struct WarpgroupTile {
  static constexpr Precision kPrecision = kPrecision_;
  static constexpr int kRows = 128, kCols = kCols_, kThreads = 256, kStages = 3, kNi = kCols / 8;
  static constexpr int kParts = kPrecision == Precision::kExact ? 2 : 1;  // high and low
  static constexpr int kAWords = kSliceWords<kRows, true>, kBWords = kParts * kCols * kSwizzledLine;
  static constexpr int kBlocks = 2;  // that should fit a multiprocessor
  // The result in shared memory, per warp: 16 lines, padded so that the pairs of a fragment meet different banks.
  static constexpr int kOutLine = kCols + 8;
  static constexpr std::size_t kRingWords = kStages * (kAWords + kBWords);
  static constexpr std::size_t kSharedBytes =
      kSwizzledAlignment + kRingWords * sizeof(float) + kRows * (sizeof(RowPlace) + sizeof(int)) + kSourceBytes;
  static_assert(kRows * kOutLine <= kRingWords);
};

// Loads, for each slice, kCols / 64 blocks of packed columns, each contiguous, parts behind one another.
template <class T>
class BlockLoader {
 public:
  // `packed`: the first block's first slice; `step` words to the next block.
  ONNXRAY_DEVICE BlockLoader(const float* packed, long long step)
      : from_(packed + 4 * static_cast<int>(threadIdx.x)), step_(step) {}

  ONNXRAY_DEVICE void load(float* slice) {
#pragma unroll
    for (int block = 0; block < T::kCols / kBlockColumns; ++block) {
#pragma unroll
      for (int i = 0; i < T::kParts * kBlockWords; i += 4 * T::kThreads) {
        // Parts of all columns lie together, so that one product reads all of them.
        const int part = i / kBlockWords, within = i % kBlockWords;
        copy_async_16(slice + (part * T::kCols / kBlockColumns + block) * kBlockWords + within +
                          4 * static_cast<int>(threadIdx.x),
                      from_ + block * step_ + i);
      }
    }
    from_ += T::kParts * kBlockWords;
  }

 private:
  const float* from_;
  long long step_;
};

// Four neighbouring channels that all exist, at an element divisible by four.
ONNXRAY_DEVICE float4 finish_quad(float4 v, const Epilogue<float>& e, float4 bias, float4 sum, float4 mask) {
  const auto one = [&](float x, float b, float s, float m) {
    if (e.bias != nullptr) x += b;
    if (e.sum != nullptr) x += s;
    if (e.relu && x <= 0.0f) x = 0.0f;
    if (e.mask != nullptr && !(m > 0.0f)) x = 0.0f;
    return x;
  };
  return make_float4(one(v.x, bias.x, sum.x, mask.x), one(v.y, bias.y, sum.y, mask.y), one(v.z, bias.z, sum.z, mask.z),
                     one(v.w, bias.w, sum.w, mask.w));
}

// Writes this warp's 16 lines of the tile. `results` holds where each row of the tile begins in the result, or -1.
template <class T>
ONNXRAY_DEVICE void store_lines(const float* lines, const int* results, int first_row, int first_channel, int channels,
                                int group, const Epilogue<float>& e, float* out) {
  constexpr int kLanes = T::kCols / 4, kAtOnce = 32 / kLanes;  // lanes to a line, lines of one access
  constexpr int kBatch = 4;                                    // accesses in flight
  const int lane = static_cast<int>(threadIdx.x % 32), column = lane % kLanes * 4;
  const int channel = first_channel + column, own = group * channels + channel;
  if (channels % 4 == 0) {
    if (channel >= channels) return;
    const float4 none = make_float4(0, 0, 0, 0);
    const float4 bias = e.bias != nullptr ? *reinterpret_cast<const float4*>(e.bias + own) : none;
#pragma unroll
    for (int from = 0; from < 16; from += kBatch * kAtOnce) {
      int at[kBatch];
      float4 v[kBatch], sum[kBatch], mask[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int row = from + i * kAtOnce + lane / kLanes;
        at[i] = results[first_row + row];
        v[i] = *reinterpret_cast<const float4*>(lines + row * T::kOutLine + column);
        sum[i] = mask[i] = none;
        if (e.sum != nullptr && at[i] >= 0) sum[i] = *reinterpret_cast<const float4*>(e.sum + at[i] + own);
        if (e.mask != nullptr && at[i] >= 0) mask[i] = *reinterpret_cast<const float4*>(e.mask + at[i] + own);
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (at[i] >= 0) *reinterpret_cast<float4*>(out + at[i] + own) = finish_quad(v[i], e, bias, sum[i], mask[i]);
      }
    }
    return;
  }
  for (int row = lane / kLanes; row < 16; row += kAtOnce) {
    const int at = results[first_row + row];
    if (at < 0) continue;
    for (int i = 0; i < 4 && channel + i < channels; ++i) {
      out[at + own + i] =
          finish(lines[row * T::kOutLine + column + i], e, own + i, static_cast<long long>(at) + own + i);
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
  RowPlace* const places = reinterpret_cast<RowPlace*>(ring + T::kRingWords);
  int* const results = reinterpret_cast<int*>(places + T::kRows);
  GatherSource* const source = reinterpret_cast<GatherSource*>(results + T::kRows);

  const int group = static_cast<int>(blockIdx.z) % p.groups, number = static_cast<int>(blockIdx.z) / p.groups;
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  if (first_row >= p.images * c.positions()) return;
  place_rows<T::kRows, T::kThreads>(p, c, first_row, places, results, source);

  const Slices slices = slices_of(p, c);
  const int all_slices = p.packed_depth / kSlice;
  GatherLoader<T::kRows, 4, T::kThreads> a_loader(places, source, in + group * p.in_channels, slices.begin * kSlice);
  const long long block_step = static_cast<long long>(all_slices) * T::kParts * kBlockWords;
  const long long blocks = p.packed_columns / kBlockColumns;
  BlockLoader<T> b_loader(
      packed +
          ((static_cast<long long>(number) * p.groups + group) * blocks + first_column / kBlockColumns) * block_step +
          static_cast<long long>(slices.begin) * T::kParts * kBlockWords,
      block_step);
  const auto fetch = [&](int slice) {
    if (slice < slices.count) {
      a_loader.load(a_ring + slice % T::kStages * T::kAWords);
      b_loader.load(ring + slice % T::kStages * T::kBWords);
    }
    copy_async_commit();
  };
  for (int s = 0; s < T::kStages - 1; ++s) fetch(s);

  const int warp = static_cast<int>(threadIdx.x / 32), warp_row = 16 * warp;
  float acc[T::kNi][4] = {};
  for (int s = 0; s < slices.count; ++s) {
    copy_async_wait<T::kStages - 2>();
    warpgroup_publish();
    __syncthreads();  // slice s is whole, and everybody has left the buffer that is filled next
    fetch(s + T::kStages - 1);
    const float* const a_slice = a_ring + s % T::kStages * T::kAWords;
    const float* const b_slice = ring + s % T::kStages * T::kBWords;
    std::uint32_t a[kSlice / 8][4];
#pragma unroll
    for (int k = 0; k < kSlice / 8; ++k) detail::load_a<T::kRows, true>(a[k], a_slice, warp_row, 8 * k);
    if constexpr (T::kPrecision == Precision::kTf32) {
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) {
#pragma unroll
        for (int w = 0; w < 4; ++w) a[k][w] = __float_as_uint(round_tf32(__uint_as_float(a[k][w])));
      }
      warpgroup_fence();
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) warpgroup_multiply(acc, a[k], b_slice, 8 * k);
      warpgroup_commit();
      warpgroup_wait(acc);
    } else {
      // As in multiply_slices: the small products first, a slice summed apart.
      std::uint32_t low[kSlice / 8][4];
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) {
#pragma unroll
        for (int w = 0; w < 4; ++w) detail::split_tf32(a[k][w], a[k][w], low[k][w]);
      }
      const float* const b_low = b_slice + T::kCols * kSwizzledLine;
      float sum[T::kNi][4];
      warpgroup_fence();
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) warpgroup_multiply(sum, low[k], b_slice, 8 * k, k > 0);
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) warpgroup_multiply(sum, a[k], b_low, 8 * k);
#pragma unroll
      for (int k = 0; k < kSlice / 8; ++k) warpgroup_multiply(sum, a[k], b_slice, 8 * k);
      warpgroup_commit();
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
  store_lines<T>(lines, results, warp_row, first_column, p.out_channels, group, epilogue,
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
