// Implicit-GEMM convolution on Hopper's warpgroup products: rows are output positions, columns output channels, as in
// conv_tensor_core.cuh.
#pragma once
#include "kernels/cuda/conv_tensor_core.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace onnxray::cuda {
namespace {

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
  const int in_pixel = p.groups * p.in_channels, rows = p.images * c.positions();
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
    OutputPosition at{{}, -1};
    unsigned taps = 0;
    if (row < rows) {
      at = output_position(p, c, row / c.w.count, row % c.w.count);
      const unsigned inside_d = taps_inside(c.d, at.place.d), inside_h = taps_inside(c.h, at.place.h);
      const unsigned inside_w = taps_inside(c.w, at.place.w);
      int shift = 0;
      for (int td = 0; td < c.d.taps; ++td) {
        for (int th = 0; th < c.h.taps; ++th, shift += c.w.taps) {
          if (inside_d >> td & inside_h >> th & 1) taps |= inside_w << shift;
        }
      }
    }
    to.source[i] = at.place.source;
    to.taps[i] = taps;
    to.result[i] = at.result;
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

template <class T>
constexpr std::size_t conv_warpgroup_bytes() {
  return warpgroup_shared_bytes<T, sizeof(TileRows<T::kRows>)>();
}

// The grid of conv_tensor_core.
template <class T>
ONNXRAY_KERNEL_BOUNDS(T::kThreads, T::kBlocks)
conv_warpgroup(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue,
               long long out_elements) {
  ONNXRAY_SHARED(unsigned char, memory);
  float* const ring = warpgroup_ring(memory);
  auto& rows = *reinterpret_cast<TileRows<T::kRows>*>(ring + T::kRingWords);

  const int group = static_cast<int>(blockIdx.z) % p.groups, number = static_cast<int>(blockIdx.z) / p.groups;
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const int first_row = static_cast<int>(blockIdx.x) / p.column_tiles * T::kRows;
  const int first_column = static_cast<int>(blockIdx.x) % p.column_tiles * T::kCols;
  if (first_row >= p.images * c.positions()) return;
  find_rows<T::kRows, T::kThreads>(p, c, first_row, rows);

  const Slices slices = slices_of(class_slices(p, c), p.splits);
  TapLoader<T::kRows, T::kThreads> a_loader(rows, in + group * p.in_channels, p.in_channels, slices.begin * kSlice);
  const long long matrix = static_cast<long long>(number) * p.groups + group;
  BlockLoader<T> b_loader(packed + matrix * packed_words<T::kPrecision>(p.packed_columns, p.packed_depth), first_column,
                          p.packed_depth / kSlice, slices.begin);
  float acc[T::kNi][4] = {};
  multiply_warpgroup<T>(ring, slices.count, a_loader, b_loader, acc);
  finish_warpgroup<T>(
      acc, ring, [&](int row) { return rows.result[row]; }, first_column, p.out_channels, group, epilogue,
      out + static_cast<int>(blockIdx.y) * out_elements);
}

// packed[class][group], each as pack_blocks makes it.
template <Precision kPrecision>
ONNXRAY_KERNEL(void)
pack_conv_for_warpgroup(ConvArgs p, const float* w, float* packed) {
  const int group = static_cast<int>(blockIdx.y), number = static_cast<int>(blockIdx.z);
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const long long matrix = static_cast<long long>(number) * p.groups + group;
  pack_blocks<kPrecision>(packed + matrix * packed_words<kPrecision>(p.packed_columns, p.packed_depth),
                          p.packed_columns, p.packed_depth,
                          [&](int column, int k) { return packed_weight(p, c, group, column, k, w); });
}

}  // namespace
}  // namespace onnxray::cuda
