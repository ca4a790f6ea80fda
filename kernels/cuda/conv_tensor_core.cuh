// Implicit-GEMM convolution, channels last: rows are output positions, columns output channels, the sum runs over taps
// and source channels. The rows of the source are gathered by the loader; nothing is unfolded in memory.
#pragma once
#include "kernels/cuda/conv_class.cuh"
#include "kernels/cuda/split_sum.cuh"

namespace onnxray::cuda {
namespace {

constexpr int kNowhere = -(1 << 29);  // as `d` of a row that does not exist: no tap is inside

// What the loader needs of the source; in shared memory, as registers are what limits the tiles.
struct GatherSource {
  int d_extent, h_extent, w_extent, d_step, h_step, w_step, d_taps, h_taps, w_taps, channels, pixel;
};

template <int kRows, int kVector, int kThreads>
class GatherLoader {
 public:
  // `rows` and `source` are in shared memory. The slices begin at number `from` of the sum over (tap, channel).
  ONNXRAY_DEVICE GatherLoader(const RowPlace* rows, const GatherSource* source, const float* memory, int from)
      : rows_(rows), source_(source), memory_(memory) {
    const int k = from + column(), tap = k / source->channels;
    channel_ = k % source->channels;
    tw_ = source->w_taps > 0 ? tap % source->w_taps : 0;
    const int rest = source->w_taps > 0 ? tap / source->w_taps : 0;
    th_ = source->h_taps > 0 ? rest % source->h_taps : 0;
    td_ = source->h_taps > 0 ? rest / source->h_taps : 0;
  }

  ONNXRAY_DEVICE void load(float* slice) {
    const GatherSource& s = *source_;
    const int d = td_ * s.d_step, h = th_ * s.h_step, w = tw_ * s.w_step;
    const int offset = ((d * s.h_extent + h) * s.w_extent + w) * s.pixel + channel_;
    const bool tap = td_ < s.d_taps;
#pragma unroll
    for (int i = 0; i < kRows / kDown; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kAcross + i * kDown;
      const RowPlace at = rows_[row];
      const bool inside = tap && static_cast<unsigned>(at.d + d) < static_cast<unsigned>(s.d_extent) &&
                          static_cast<unsigned>(at.h + h) < static_cast<unsigned>(s.h_extent) &&
                          static_cast<unsigned>(at.w + w) < static_cast<unsigned>(s.w_extent);
      const float* from = inside ? memory_ + (at.source + offset) : memory_;
      float* to = slice + row * kLine<kRows, true> + column();
      if constexpr (kVector == 4) {
        copy_async_16(to, from, inside ? 16 : 0);
      } else {
        copy_async_4(to, from, inside ? 4 : 0);
      }
    }
    channel_ += kSlice;
    while (channel_ >= s.channels) {
      channel_ -= s.channels;
      if (++tw_ < s.w_taps) continue;
      tw_ = 0;
      if (++th_ < s.h_taps) continue;
      th_ = 0;
      ++td_;
    }
  }

 private:
  static constexpr int kAcross = kSlice / kVector, kDown = kThreads / kAcross;
  static_assert(kRows % kDown == 0);
  ONNXRAY_DEVICE static int column() { return static_cast<int>(threadIdx.x) % kAcross * kVector; }

  const RowPlace* rows_;
  const GatherSource* source_;
  const float* memory_;
  int channel_, td_, th_, tw_;  // of this thread's column in the next slice
};

// Slices of packed weights, whose lines are whole in both directions.
template <int kCols, int kThreads>
class PackedLoader {
 public:
  // `packed`: the first column's line, at the depth to begin at; `line` words to the next column.
  ONNXRAY_DEVICE PackedLoader(const float* packed, int line)
      : from_(packed + static_cast<long long>(static_cast<int>(threadIdx.x) / kAcross) * line + word()), line_(line) {}

  ONNXRAY_DEVICE void load(float* slice) {
#pragma unroll
    for (int i = 0; i < kCols / kDown; ++i) {
      const int column = static_cast<int>(threadIdx.x) / kAcross + i * kDown;
      copy_async_16(slice + column * kLine<kCols, true> + word(), from_ + i * kDown * line_);
    }
    from_ += kSlice;
  }

 private:
  static constexpr int kAcross = kSlice / 4, kDown = kThreads / kAcross;
  static_assert(kCols % kDown == 0);
  ONNXRAY_DEVICE static int word() { return static_cast<int>(threadIdx.x) % kAcross * 4; }
  const float* from_;
  int line_;
};

constexpr std::size_t kSourceBytes = 64;  // keeps the ring at 16 bytes
static_assert(sizeof(GatherSource) <= kSourceBytes);

template <class T>
constexpr std::size_t conv_shared_bytes() {
  return T::kRows * (sizeof(RowPlace) + sizeof(int)) + kSourceBytes + kRingWords<T, true, true> * sizeof(float);
}

// Where the rows of a tile that begins at `first_row` of the class lie, for all threads of the block.
template <int kRows, int kThreads>
ONNXRAY_DEVICE void place_rows(const ConvArgs& p, const ConvClass& c, int first_row, RowPlace* places, int* results,
                               GatherSource* source) {
  const int rows = p.images * c.positions();
  for (int i = static_cast<int>(threadIdx.x); i < kRows; i += kThreads) {
    const int row = first_row + i;
    OutputPosition at{{0, kNowhere, 0, 0}, -1};
    if (row < rows) at = output_position(p, c, row / c.w.count, row % c.w.count);
    places[i] = at.place;
    results[i] = at.result;
  }
  if (threadIdx.x == 0) {
    *source = {c.d.in_extent, c.h.in_extent, c.w.in_extent, c.d.base_step, c.h.base_step,           c.w.base_step,
               c.d.taps,      c.h.taps,      c.w.taps,      p.in_channels, p.groups * p.in_channels};
  }
  __syncthreads();
}

ONNXRAY_DEVICE int class_slices(const ConvArgs& p, const ConvClass& c) {
  return (c.taps() * p.in_channels + kSlice - 1) / kSlice;
}

// Grid: x tiles, columns fastest, so that blocks that read the same rows of the source run together; y splits of the
// sum; z class and group. With splits > 1, `out` is [splits, result] and there is no epilogue.
template <Precision kPrecision, class T, int kVector>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
conv_tensor_core(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue,
                 long long out_elements) {
  ONNXRAY_SHARED(RowPlace, places);
  int* const results = reinterpret_cast<int*>(places + T::kRows);
  GatherSource* const source = reinterpret_cast<GatherSource*>(results + T::kRows);
  float* const ring = reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(source) + kSourceBytes);

  const int group = static_cast<int>(blockIdx.z) % p.groups, number = static_cast<int>(blockIdx.z) / p.groups;
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  if (first_row >= p.images * c.positions()) return;

  place_rows<T::kRows, T::kThreads>(p, c, first_row, places, results, source);

  const Slices slices = slices_of(class_slices(p, c), p.splits);
  GatherLoader<T::kRows, kVector, T::kThreads> a(places, source, in + group * p.in_channels, slices.begin * kSlice);
  PackedLoader<T::kCols, T::kThreads> b(
      packed +
          ((static_cast<long long>(number) * p.groups + group) * p.packed_columns + first_column) * p.packed_depth +
          slices.begin * kSlice,
      p.packed_depth);
  float acc[T::kMi][T::kNi][4] = {};
  multiply_slices<kPrecision, T, true, true>(ring, slices.count, a, b, acc);

  const int channel = group * p.out_channels + first_column;
  finish_tile<T>(
      acc, epilogue, channel, p.out_channels - first_column, p.out_channels % 2 == 0,
      [&](int row) { return results[row] < 0 ? -1ll : static_cast<long long>(results[row]) + channel; },
      out + static_cast<int>(blockIdx.y) * out_elements);
}

// What meets (tap, channel) number k of the class in a column: zero where there is nothing.
ONNXRAY_DEVICE float packed_weight(const ConvArgs& p, const ConvClass& c, int group, int column, int k,
                                   const float* w) {
  if (column >= p.out_channels || k >= c.taps() * p.in_channels) return 0;
  const int tap = k / p.in_channels, channel = k % p.in_channels;
  const int tw = c.w.tap_first + tap % c.w.taps * c.w.tap_step;
  const int th = c.h.tap_first + tap / c.w.taps % c.h.taps * c.h.tap_step;
  const int td = c.d.tap_first + tap / c.w.taps / c.h.taps * c.d.tap_step;
  const int flat = (td * p.axis[1].kernel + th) * p.axis[2].kernel + tw;
  const long long k_channel = group * (p.backward ? p.in_channels : p.out_channels) + (p.backward ? channel : column);
  const int c_channel = p.backward ? column : channel, c_count = p.backward ? p.out_channels : p.in_channels;
  return w[(k_channel * c_count + c_channel) * p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel + flat];
}

// packed[class][group][column][(tap, channel)]: of each class its own taps, zero where there is nothing.
ONNXRAY_KERNEL(void) pack_for_tensor_core(ConvArgs p, const float* w, float* packed) {
  const int group = static_cast<int>(blockIdx.y), number = static_cast<int>(blockIdx.z);
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const long long count = static_cast<long long>(p.packed_columns) * p.packed_depth;
  float* const to = packed + (static_cast<long long>(number) * p.groups + group) * count;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int column = static_cast<int>(i / p.packed_depth), k = static_cast<int>(i % p.packed_depth);
    to[i] = packed_weight(p, c, group, column, k, w);
  }
}

}  // namespace
}  // namespace onnxray::cuda
