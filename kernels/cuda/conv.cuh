// Implicit-GEMM convolution, channels last: rows are output positions, columns output channels, the sum runs over taps
// and source channels. The rows of the source are gathered by the loader; nothing is unfolded in memory.
#pragma once
#include <algorithm>

#include "kernels/cuda/conv_axis.cuh"
#include "kernels/cuda/tile.cuh"

namespace onnxray::cuda {
namespace {

// What the kernels need of a plan, for one launch.
struct ConvArgs {
  ConvAxis axis[3];
  bool backward;
  int images, groups, in_channels, out_channels;  // channels per group
  int classes[3];
  int column_tiles, splits;
  int packed_columns, packed_depth;  // of one class and group
};

struct ConvClass {
  GatherAxis d, h, w;
  ONNXRAY_HOST_DEVICE int positions() const { return d.count * h.count * w.count; }
  ONNXRAY_HOST_DEVICE int taps() const { return d.taps * h.taps * w.taps; }
};

ONNXRAY_HOST_DEVICE ConvClass conv_class(const ConvAxis* axis, const int* classes, bool backward, int index) {
  const int w = index % classes[2], h = index / classes[2] % classes[1], d = index / classes[2] / classes[1];
  return {gather_axis(axis[0], backward, d), gather_axis(axis[1], backward, h), gather_axis(axis[2], backward, w)};
}

// Where a row of the tile begins in the source and in the result. Without a row, `d` is so low that no tap is inside.
struct RowPlace {
  int source, d, h, w;
};
constexpr int kNowhere = -(1 << 29);

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
  const int rows = p.images * c.positions();
  if (first_row >= rows) return;

  const int in_pixel = p.groups * p.in_channels, out_pixel = p.groups * p.out_channels;
  const int out_d = p.backward ? p.axis[0].x : p.axis[0].y, out_h = p.backward ? p.axis[1].x : p.axis[1].y;
  const int out_w = p.backward ? p.axis[2].x : p.axis[2].y;
  for (int i = static_cast<int>(threadIdx.x); i < T::kRows; i += T::kThreads) {
    const int row = first_row + i;
    RowPlace place{0, kNowhere, 0, 0};
    int result = -1;
    if (row < rows) {
      const int w = row % c.w.count, rest = row / c.w.count, h = rest % c.h.count, above = rest / c.h.count;
      const int d = above % c.d.count, image = above / c.d.count;
      place.d = c.d.base + d * c.d.in_step;
      place.h = c.h.base + h * c.h.in_step;
      place.w = c.w.base + w * c.w.in_step;
      place.source =
          (((image * c.d.in_extent + place.d) * c.h.in_extent + place.h) * c.w.in_extent + place.w) * in_pixel;
      result = (((image * out_d + c.d.first + d * c.d.out_step) * out_h + c.h.first + h * c.h.out_step) * out_w +
                c.w.first + w * c.w.out_step) *
               out_pixel;
    }
    places[i] = place;
    results[i] = result;
  }
  if (threadIdx.x == 0) {
    *source = {c.d.in_extent, c.h.in_extent, c.w.in_extent, c.d.base_step, c.h.base_step, c.w.base_step,
               c.d.taps,      c.h.taps,      c.w.taps,      p.in_channels, in_pixel};
  }
  __syncthreads();

  const int depth = c.taps() * p.in_channels;
  const int all_slices = (depth + kSlice - 1) / kSlice;
  const int split = static_cast<int>(blockIdx.y);
  const int begin = static_cast<int>(static_cast<long long>(all_slices) * split / p.splits);
  const int end = static_cast<int>(static_cast<long long>(all_slices) * (split + 1) / p.splits);
  GatherLoader<T::kRows, kVector, T::kThreads> a(places, source, in + group * p.in_channels, begin * kSlice);
  PackedLoader<T::kCols, T::kThreads> b(
      packed +
          ((static_cast<long long>(number) * p.groups + group) * p.packed_columns + first_column) * p.packed_depth +
          begin * kSlice,
      p.packed_depth);
  float acc[T::kMi][T::kNi][4] = {};
  multiply_slices<kPrecision, T, true, true>(ring, end - begin, a, b, acc);

  const bool pairs = p.out_channels % 2 == 0;
  float* const to = out + split * out_elements;
  store_tile<T>(acc, [&](int row, int column, float v0, float v1) {
    const int at_row = results[row], channel = first_column + column;
    if (at_row < 0 || channel >= p.out_channels) return;
    const int own = group * p.out_channels + channel;
    const long long at = static_cast<long long>(at_row) + own;
    if (pairs) {
      finish_pair(v0, v1, epilogue, own, at, to);
    } else {
      to[at] = finish(v0, epilogue, own, at);
      if (channel + 1 < p.out_channels) to[at + 1] = finish(v1, epilogue, own + 1, at + 1);
    }
  });
}

// Adds the splits in order.
ONNXRAY_KERNEL(void)
add_splits(const float* partial, float* out, Epilogue<float> epilogue, int splits, int channels, long long elements) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += step) {
    float v = partial[i];
    for (int s = 1; s < splits; ++s) v += partial[s * elements + i];
    out[i] = finish(v, epilogue, i % channels, i);
  }
}

// packed[class][group][column][(tap, channel)]: of each class its own taps, zero where there is nothing.
ONNXRAY_KERNEL(void) pack_for_tensor_core(ConvArgs p, const float* w, float* packed) {
  const int kernel = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel;
  const int group = static_cast<int>(blockIdx.y), number = static_cast<int>(blockIdx.z);
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, number);
  const long long count = static_cast<long long>(p.packed_columns) * p.packed_depth;
  float* const to = packed + (static_cast<long long>(number) * p.groups + group) * count;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int column = static_cast<int>(i / p.packed_depth), k = static_cast<int>(i % p.packed_depth);
    float v = 0;
    if (column < p.out_channels && k < c.taps() * p.in_channels) {
      const int tap = k / p.in_channels, channel = k % p.in_channels;
      const int tw = c.w.tap_first + tap % c.w.taps * c.w.tap_step;
      const int th = c.h.tap_first + tap / c.w.taps % c.h.taps * c.h.tap_step;
      const int td = c.d.tap_first + tap / c.w.taps / c.h.taps * c.d.tap_step;
      const int flat = (td * p.axis[1].kernel + th) * p.axis[2].kernel + tw;
      const long long k_channel =
          group * (p.backward ? p.in_channels : p.out_channels) + (p.backward ? channel : column);
      const int c_channel = p.backward ? column : channel, c_count = p.backward ? p.out_channels : p.in_channels;
      v = w[(k_channel * c_count + c_channel) * kernel + flat];
    }
    to[i] = v;
  }
}

// packed[tap][channel] of a depthwise convolution.
ONNXRAY_KERNEL(void) pack_depthwise(int channels, int kernel, const float* w, float* packed) {
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < channels * kernel; i += step) {
    packed[i] = w[static_cast<long long>(i % channels) * kernel + i / channels];
  }
}

constexpr int kDepthwiseColumns = 4;

// One thread: kVector channels of kDepthwiseColumns neighbouring positions (of one class) along the width. Neighbours
// in the block read the same source pixels, so these come from the L1 cache. z: the class.
template <int kVector>
ONNXRAY_KERNEL_BOUNDS(128, 4)
conv_depthwise(ConvArgs p, const float* in, const float* packed, float* out, Epilogue<float> epilogue) {
  const ConvClass c = conv_class(p.axis, p.classes, p.backward, static_cast<int>(blockIdx.z));
  const int vectors = p.groups / kVector;
  const int strips = (c.w.count + kDepthwiseColumns - 1) / kDepthwiseColumns;
  const long long number = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (number >= static_cast<long long>(p.images) * c.d.count * c.h.count * strips * vectors) return;
  const int channel = static_cast<int>(number % vectors) * kVector;
  long long rest = number / vectors;
  const int w0 = static_cast<int>(rest % strips) * kDepthwiseColumns;
  rest /= strips;
  const int h = static_cast<int>(rest % c.h.count);
  rest /= c.h.count;
  const int d = static_cast<int>(rest % c.d.count), image = static_cast<int>(rest / c.d.count);

  float acc[kDepthwiseColumns][kVector] = {};
  for (int td = 0; td < c.d.taps; ++td) {
    const int sd = c.d.base + d * c.d.in_step + td * c.d.base_step;
    if (sd < 0 || sd >= c.d.in_extent) continue;
    for (int th = 0; th < c.h.taps; ++th) {
      const int sh = c.h.base + h * c.h.in_step + th * c.h.base_step;
      if (sh < 0 || sh >= c.h.in_extent) continue;
      const float* line =
          in + ((static_cast<long long>(image) * c.d.in_extent + sd) * c.h.in_extent + sh) * c.w.in_extent * p.groups;
      const int tap = ((c.d.tap_first + td * c.d.tap_step) * p.axis[1].kernel + c.h.tap_first + th * c.h.tap_step) *
                          p.axis[2].kernel +
                      c.w.tap_first;
      for (int tw = 0; tw < c.w.taps; ++tw) {
        const float* weight = packed + static_cast<long long>(tap + tw * c.w.tap_step) * p.groups + channel;
        float k[kVector];
        if constexpr (kVector == 4) {
          const float4 v = *reinterpret_cast<const float4*>(weight);
          k[0] = v.x, k[1] = v.y, k[2] = v.z, k[3] = v.w;
        } else {
          k[0] = weight[0];
        }
#pragma unroll
        for (int i = 0; i < kDepthwiseColumns; ++i) {
          const int sw = c.w.base + (w0 + i) * c.w.in_step + tw * c.w.base_step;
          if (sw < 0 || sw >= c.w.in_extent) continue;
          const float* from = line + static_cast<long long>(sw) * p.groups + channel;
          if constexpr (kVector == 4) {
            const float4 v = *reinterpret_cast<const float4*>(from);
            acc[i][0] += k[0] * v.x;
            acc[i][1] += k[1] * v.y;
            acc[i][2] += k[2] * v.z;
            acc[i][3] += k[3] * v.w;
          } else {
            acc[i][0] += k[0] * from[0];
          }
        }
      }
    }
  }
  const int out_d = p.backward ? p.axis[0].x : p.axis[0].y, out_h = p.backward ? p.axis[1].x : p.axis[1].y;
  const int out_w = p.backward ? p.axis[2].x : p.axis[2].y;
  const long long line =
      (static_cast<long long>(image) * out_d + c.d.first + d * c.d.out_step) * out_h + c.h.first + h * c.h.out_step;
#pragma unroll
  for (int i = 0; i < kDepthwiseColumns; ++i) {
    if (w0 + i >= c.w.count) continue;
    const long long at = (line * out_w + c.w.first + (w0 + i) * c.w.out_step) * p.groups + channel;
    if constexpr (kVector == 4) {
      finish_pair(acc[i][0], acc[i][1], epilogue, channel, at, out);
      finish_pair(acc[i][2], acc[i][3], epilogue, channel + 2, at + 2, out);
    } else {
      out[at] = finish(acc[i][0], epilogue, channel, at);
    }
  }
}

int ceil_div(long long a, long long b) { return static_cast<int>((a + b - 1) / b); }

struct TileSize {
  int rows, columns;
};
TileSize tile_size(ConvTile tile, Precision precision) {
  switch (tile) {
    case ConvTile::kWide: return {128, precision == Precision::kExact ? 64 : 128};
    case ConvTile::kMedium: return {64, 64};
    case ConvTile::kNarrow: return {128, 16};
  }
  return {64, 64};
}

int in_channels(const ConvShape& s) { return s.backward ? s.y_channels : s.x_channels; }
int out_channels(const ConvShape& s) { return s.backward ? s.x_channels : s.y_channels; }

ConvArgs conv_args(const ConvPlan& plan, int images) {
  const ConvShape& s = plan.shape;
  ConvArgs a{};
  a.backward = s.backward;
  a.images = images;
  a.groups = s.groups;
  a.in_channels = in_channels(s);
  a.out_channels = out_channels(s);
  int most_taps = 1;
  for (int i = 0; i < 3; ++i) {
    a.axis[i] = s.axis[i];
    a.classes[i] = class_count(s.axis[i], s.backward);
    int most = 0;
    for (int r = 0; r < a.classes[i]; ++r) most = std::max(most, gather_axis(s.axis[i], s.backward, r).taps);
    most_taps *= most;
  }
  const TileSize tile = tile_size(plan.tile, plan.precision);
  a.column_tiles = ceil_div(a.out_channels, tile.columns);
  a.splits = plan.splits;
  a.packed_columns = a.column_tiles * tile.columns;
  a.packed_depth = ceil_div(static_cast<long long>(most_taps) * a.in_channels, kSlice) * kSlice;
  return a;
}

int class_total(const ConvArgs& a) { return a.classes[0] * a.classes[1] * a.classes[2]; }

// Output positions of the largest class in one image.
int most_positions(const ConvArgs& a) { return conv_class(a.axis, a.classes, a.backward, 0).positions(); }

template <Precision kPrecision, class T, int kVector>
void launch_tile(const ConvArgs& a, const float* in, const float* packed, float* out, const Epilogue<float>& e,
                 long long out_elements, Stream stream) {
  const long long row_tiles = ceil_div(static_cast<long long>(a.images) * most_positions(a), T::kRows);
  const Dim3 grid{static_cast<unsigned>(row_tiles * a.column_tiles), static_cast<unsigned>(a.splits),
                  static_cast<unsigned>(class_total(a) * a.groups)};
  launch(conv_tensor_core<kPrecision, T, kVector>, grid, Dim3{T::kThreads}, conv_shared_bytes<T>(), stream, a, in,
         packed, out, e, out_elements);
}

template <Precision kPrecision>
void launch_precision(const ConvPlan& plan, const ConvArgs& a, const float* in, const float* packed, float* out,
                      const Epilogue<float>& e, long long out_elements, Stream stream) {
  if (a.in_channels % 4 != 0) {
    if (plan.tile == ConvTile::kNarrow) {
      launch_tile<kPrecision, NarrowTile, 1>(a, in, packed, out, e, out_elements, stream);
    } else {
      launch_tile<kPrecision, MediumTile, 1>(a, in, packed, out, e, out_elements, stream);
    }
    return;
  }
  switch (plan.tile) {
    case ConvTile::kWide:
      return launch_tile<kPrecision, WideTile<kPrecision>, 4>(a, in, packed, out, e, out_elements, stream);
    case ConvTile::kMedium: return launch_tile<kPrecision, MediumTile, 4>(a, in, packed, out, e, out_elements, stream);
    case ConvTile::kNarrow: return launch_tile<kPrecision, NarrowTile, 4>(a, in, packed, out, e, out_elements, stream);
  }
}

void launch_tensor_core(const ConvPlan& plan, const ConvArgs& a, const float* in, const float* packed, float* out,
                        const Epilogue<float>& e, long long out_elements, Stream stream) {
  switch (plan.precision) {
    case Precision::kExact:
      return launch_precision<Precision::kExact>(plan, a, in, packed, out, e, out_elements, stream);
    case Precision::kTf32: return launch_precision<Precision::kTf32>(plan, a, in, packed, out, e, out_elements, stream);
    case Precision::kBf16: return launch_precision<Precision::kBf16>(plan, a, in, packed, out, e, out_elements, stream);
  }
}

long long elements_per_image(const ConvShape& s, bool of_x) {
  long long n = static_cast<long long>(s.groups) * (of_x ? s.x_channels : s.y_channels);
  for (const ConvAxis& a : s.axis) n *= of_x ? a.x : a.y;
  return n;
}

bool is_depthwise(const ConvShape& s) { return s.groups > 1 && s.x_channels == 1 && s.y_channels == 1; }

// Everything but tile and splits.
ConvPlan plan_without_tile(const ConvShape& shape, Precision precision) {
  ConvPlan plan;
  plan.shape = shape;
  plan.precision = precision;
  const long long x = elements_per_image(shape, true), y = elements_per_image(shape, false), most = std::max(x, y);
  if (most >= 1ll << 31) fail_unsupported("CUDA: a convolution of ", most, " elements per image, the limit is 2^31");
  plan.in_elements = static_cast<std::size_t>(shape.batch * (shape.backward ? y : x));
  plan.out_elements = static_cast<std::size_t>(shape.batch * (shape.backward ? x : y));
  plan.images_per_launch = std::min<std::int64_t>(shape.batch, ((1ll << 31) - 1) / most);
  if (!shape.channels_last) return plan;
  long long planes = shape.groups;  // of the grid: classes and groups
  for (const ConvAxis& a : shape.axis) planes *= class_count(a, shape.backward);
  if (planes > 65535) return plan;
  plan.kernel = is_depthwise(shape) ? ConvKernel::kDepthwise : ConvKernel::kTensorCore;
  return plan;
}

void size_memory(ConvPlan& plan) {
  const ConvArgs a = conv_args(plan, 1);
  if (plan.kernel == ConvKernel::kDepthwise) {
    const ConvAxis* axis = plan.shape.axis;
    plan.weight_bytes = sizeof(float) * static_cast<std::size_t>(axis[0].kernel) *
                        static_cast<std::size_t>(axis[1].kernel) * static_cast<std::size_t>(axis[2].kernel) *
                        static_cast<std::size_t>(plan.shape.groups);
  } else if (plan.kernel == ConvKernel::kTensorCore) {
    plan.weight_bytes = sizeof(float) * static_cast<std::size_t>(class_total(a)) * static_cast<std::size_t>(a.groups) *
                        static_cast<std::size_t>(a.packed_columns) * static_cast<std::size_t>(a.packed_depth);
    if (plan.splits > 1) {
      plan.workspace_bytes = sizeof(float) * static_cast<std::size_t>(plan.splits) *
                             (plan.out_elements / static_cast<std::size_t>(plan.shape.batch)) *
                             static_cast<std::size_t>(plan.images_per_launch);
    }
  }
}

}  // namespace

ConvPlan plan_conv_with(const ConvShape& shape, Precision precision, ConvTile tile, int splits) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    plan.tile = in_channels(shape) % 4 != 0 && tile == ConvTile::kWide ? ConvTile::kMedium : tile;
    plan.splits = splits;
  }
  size_memory(plan);
  return plan;
}

ConvPlan plan_conv(const ConvShape& shape, Precision precision, int processors) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    // Waves of blocks times the work of a block. The share of the peak that a tile's inner loop can reach falls with
    // its size, since operands are read from shared memory more often: rough constants, to be replaced by measured
    // ones.
    struct Candidate {
      ConvTile tile;
      int blocks;  // per multiprocessor
      double speed;
    };
    constexpr Candidate kCandidates[] = {
        {ConvTile::kWide, 2, 1.0}, {ConvTile::kMedium, 3, 0.7}, {ConvTile::kNarrow, 3, 0.35}};
    double best = 0;
    for (const Candidate& c : kCandidates) {
      if (in_channels(shape) % 4 != 0 && c.tile == ConvTile::kWide) continue;
      ConvPlan trial = plan;
      trial.tile = c.tile;
      const ConvArgs a = conv_args(trial, static_cast<int>(plan.images_per_launch));
      const TileSize size = tile_size(c.tile, precision);
      const long long blocks =
          static_cast<long long>(ceil_div(static_cast<long long>(a.images) * most_positions(a), size.rows)) *
          a.column_tiles * a.groups * class_total(a);
      const int slices = a.packed_depth / kSlice;
      // Too few blocks: split the sum, at least 4 slices to a part.
      int splits = 1;
      while (splits < 8 && blocks * splits * 2 <= static_cast<long long>(processors) * c.blocks &&
             slices / (splits * 2) >= 4)
        splits *= 2;
      const double waves = ceil_div(blocks * splits, static_cast<long long>(processors) * c.blocks);
      const double time = waves * c.blocks * size.rows * size.columns * ceil_div(slices, splits) / c.speed;
      if (best != 0 && time >= best) continue;
      best = time;
      plan.tile = c.tile;
      plan.splits = splits;
    }
  }
  size_memory(plan);
  return plan;
}

void pack_conv_weights(const ConvPlan& plan, const float* w, float* packed, Stream stream) {
  const ConvArgs a = conv_args(plan, 1);
  if (plan.kernel == ConvKernel::kDepthwise) {
    const int kernel = a.axis[0].kernel * a.axis[1].kernel * a.axis[2].kernel;
    const int blocks = std::min(1024, ceil_div(static_cast<long long>(a.groups) * kernel, 256));
    launch(pack_depthwise, Dim3{static_cast<unsigned>(blocks)}, Dim3{256}, 0, stream, a.groups, kernel, w, packed);
  } else if (plan.kernel == ConvKernel::kTensorCore) {
    const int blocks = std::min(1024, ceil_div(static_cast<long long>(a.packed_columns) * a.packed_depth, 256));
    launch(pack_for_tensor_core,
           Dim3{static_cast<unsigned>(blocks), static_cast<unsigned>(a.groups), static_cast<unsigned>(class_total(a))},
           Dim3{256}, 0, stream, a, w, packed);
  }
}

void run_conv(const ConvPlan& plan, const float* in, const float* weights, float* out, const Epilogue<float>& epilogue,
              float* workspace, Stream stream) {
  const ConvShape& s = plan.shape;
  if (plan.kernel == ConvKernel::kGeneral) return run_conv_general(s, in, weights, out, epilogue, stream);
  const long long in_image = elements_per_image(s, !s.backward), out_image = elements_per_image(s, s.backward);
  for (std::int64_t first = 0; first < s.batch; first += plan.images_per_launch) {
    const int images = static_cast<int>(std::min(plan.images_per_launch, s.batch - first));
    const ConvArgs a = conv_args(plan, images);
    Epilogue<float> e = epilogue;
    if (e.sum != nullptr) e.sum += first * out_image;
    if (e.mask != nullptr) e.mask += first * out_image;
    const float* from = in + first * in_image;
    float* to = out + first * out_image;
    if (plan.kernel == ConvKernel::kDepthwise) {
      const bool vectors = a.groups % 4 == 0;
      const ConvClass c = conv_class(a.axis, a.classes, a.backward, 0);
      const long long threads = static_cast<long long>(images) * c.d.count * c.h.count *
                                ceil_div(c.w.count, kDepthwiseColumns) * (vectors ? a.groups / 4 : a.groups);
      const Dim3 grid{static_cast<unsigned>(ceil_div(threads, 128)), 1, static_cast<unsigned>(class_total(a))};
      launch(vectors ? conv_depthwise<4> : conv_depthwise<1>, grid, Dim3{128}, 0, stream, a, from, weights, to, e);
    } else if (plan.splits > 1) {
      const long long elements = images * out_image;
      launch_tensor_core(plan, a, from, weights, workspace, {}, elements, stream);
      const int blocks = static_cast<int>(std::min<long long>(4096, (elements + 255) / 256));
      launch(add_splits, Dim3{static_cast<unsigned>(blocks)}, Dim3{256}, 0, stream,
             static_cast<const float*>(workspace), to, e, plan.splits, a.groups * a.out_channels, elements);
    } else {
      launch_tensor_core(plan, a, from, weights, to, e, 0, stream);
    }
  }
}

}  // namespace onnxray::cuda
