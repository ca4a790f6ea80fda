// float32 convolutions: which kernel, tile and splits a problem gets, packed weights, launches (conv.h).
#pragma once
#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/cuda/conv_depthwise.cuh"
#include "kernels/cuda/conv_few.cuh"
#include "kernels/cuda/conv_tensor_core.cuh"
#include "kernels/cuda/conv_warpgroup.cuh"

namespace onnxray::cuda {
namespace {

int ceil_div(long long a, long long b) { return static_cast<int>((a + b - 1) / b); }

struct TileSize {
  int rows, columns;
};
TileSize tile_size(ConvTile tile, Precision precision) {
  switch (tile) {
    case ConvTile::kWide: return {128, precision == Precision::kExact ? 64 : 128};
    case ConvTile::kMedium: return {64, 64};
    case ConvTile::kNarrow: return {128, 16};
    case ConvTile::kGroup256: return {128, precision == Precision::kExact ? 128 : 256};
    case ConvTile::kGroup128: return {128, precision == Precision::kExact ? 64 : 128};
    case ConvTile::kGroup64: return {128, 64};
  }
  return {64, 64};
}
bool by_warpgroups(ConvTile tile) {
  return tile == ConvTile::kGroup256 || tile == ConvTile::kGroup128 || tile == ConvTile::kGroup64;
}
// Weights are packed with a high and a low part.
int packed_parts(const ConvPlan& plan) {
  return by_warpgroups(plan.tile) && plan.precision == Precision::kExact ? 2 : 1;
}

int in_channels(const ConvShape& s) { return s.backward ? s.y_channels : s.x_channels; }
int out_channels(const ConvShape& s) { return s.backward ? s.x_channels : s.y_channels; }

// One class's taps at most.
int most_taps(const ConvArgs& a) {
  int taps = 1;
  for (int i = 0; i < 3; ++i) {
    int most = 0;
    for (int r = 0; r < a.classes[i]; ++r) most = std::max(most, gather_axis(a.axis[i], a.backward, r).taps);
    taps *= most;
  }
  return taps;
}

ConvArgs conv_args(const ConvPlan& plan, int images) {
  const ConvShape& s = plan.shape;
  ConvArgs a{};
  a.backward = s.backward;
  a.images = images;
  a.groups = s.groups;
  a.in_channels = in_channels(s);
  a.out_channels = out_channels(s);
  for (int i = 0; i < 3; ++i) {
    a.axis[i] = s.axis[i];
    a.classes[i] = class_count(s.axis[i], s.backward);
  }
  const TileSize tile = tile_size(plan.tile, plan.precision);
  a.column_tiles = ceil_div(a.out_channels, tile.columns);
  a.splits = plan.splits;
  a.packed_columns = a.column_tiles * tile.columns;
  a.packed_depth = ceil_div(static_cast<long long>(most_taps(a)) * a.in_channels, kSlice) * kSlice;
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

template <class T>
void launch_group(const ConvArgs& a, const float* in, const float* packed, float* out, const Epilogue<float>& e,
                  long long out_elements, Stream stream) {
  const long long row_tiles = ceil_div(static_cast<long long>(a.images) * most_positions(a), T::kRows);
  const Dim3 grid{static_cast<unsigned>(row_tiles * a.column_tiles), static_cast<unsigned>(a.splits),
                  static_cast<unsigned>(class_total(a) * a.groups)};
  launch(conv_warpgroup<T>, grid, Dim3{T::kThreads}, T::kSharedBytes, stream, a, in, packed, out, e, out_elements);
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
    case ConvTile::kGroup256:
    case ConvTile::kGroup128:
    case ConvTile::kGroup64: break;
  }
  if constexpr (kPrecision == Precision::kTf32) {
    if (plan.tile == ConvTile::kGroup256) {
      launch_group<WarpgroupTile<kPrecision, 256, 4, 1>>(a, in, packed, out, e, out_elements, stream);
    } else if (plan.tile == ConvTile::kGroup128) {
      launch_group<WarpgroupTile<kPrecision, 128, 3, 2>>(a, in, packed, out, e, out_elements, stream);
    } else {
      launch_group<WarpgroupTile<kPrecision, 64, 4, 2>>(a, in, packed, out, e, out_elements, stream);
    }
  } else if constexpr (kPrecision == Precision::kExact) {
    if (plan.tile == ConvTile::kGroup256) {
      launch_group<WarpgroupTile<kPrecision, 128, 4, 1>>(a, in, packed, out, e, out_elements, stream);
    } else {
      launch_group<WarpgroupTile<kPrecision, 64, 3, 2>>(a, in, packed, out, e, out_elements, stream);
    }
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

bool has_few_channels(const ConvShape& s) {
  return s.groups == 1 && out_channels(s) <= kFewChannels && in_channels(s) % 4 == 0;
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
  plan.kernel = is_depthwise(shape)       ? ConvKernel::kDepthwise
                : has_few_channels(shape) ? ConvKernel::kFew
                                          : ConvKernel::kTensorCore;
  return plan;
}

void size_memory(ConvPlan& plan) {
  const ConvArgs a = conv_args(plan, 1);
  if (plan.kernel == ConvKernel::kDepthwise) {
    const ConvAxis* axis = plan.shape.axis;
    plan.weight_bytes = sizeof(float) * static_cast<std::size_t>(axis[0].kernel) *
                        static_cast<std::size_t>(axis[1].kernel) * static_cast<std::size_t>(axis[2].kernel) *
                        static_cast<std::size_t>(plan.shape.groups);
  } else if (plan.kernel == ConvKernel::kFew) {
    plan.weight_bytes = sizeof(float) * kFewChannels * static_cast<std::size_t>(class_total(a)) *
                        static_cast<std::size_t>(most_taps(a)) * static_cast<std::size_t>(a.in_channels);
  } else if (plan.kernel == ConvKernel::kTensorCore) {
    plan.weight_bytes = sizeof(float) * static_cast<std::size_t>(class_total(a)) * static_cast<std::size_t>(a.groups) *
                        static_cast<std::size_t>(a.packed_columns) * static_cast<std::size_t>(a.packed_depth) *
                        static_cast<std::size_t>(packed_parts(plan));
    if (plan.splits > 1) {
      plan.workspace_bytes = sizeof(float) * static_cast<std::size_t>(plan.splits) *
                             (plan.out_elements / static_cast<std::size_t>(plan.shape.batch)) *
                             static_cast<std::size_t>(plan.images_per_launch);
    }
  }
}

}  // namespace

bool tile_serves(ConvTile tile, const ConvShape& shape, Precision precision) {
  if (in_channels(shape) % 4 != 0) return tile == ConvTile::kMedium || tile == ConvTile::kNarrow;
  if (!by_warpgroups(tile)) return true;
  int taps = 1;
  for (const ConvAxis& a : shape.axis) taps *= a.kernel;
  return precision != Precision::kBf16 && taps <= kMostTaps;
}

ConvPlan plan_conv_with(const ConvShape& shape, Precision precision, ConvTile tile, int splits) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    plan.tile = tile_serves(tile, shape, precision) ? tile : ConvTile::kMedium;
    plan.splits = splits;
  }
  size_memory(plan);
  return plan;
}

namespace {

// Microseconds on an H200, fitted to `onnxray_conv_bench --sweep` over layers of ResNet-50 and VGG19 at N = 1 and 50
// (the choice then costs 1 % in the geometric mean over the best one). A multiprocessor holds `blocks`; a slice takes
// it `slice` for each of them, `alone` at least; `fixed` is a block's beginning and end.
struct TileCost {
  ConvTile tile;
  int blocks;
  double slice, alone, fixed;
};
constexpr TileCost kExactCosts[] = {{ConvTile::kGroup256, 1, 1.28, 1.32, 4.7},
                                    {ConvTile::kGroup64, 2, 0.74, 1.08, 3.8},
                                    {ConvTile::kWide, 2, 1.6, 1.6, 3.2},
                                    {ConvTile::kMedium, 3, 0.75, 1.28, 3.2},
                                    {ConvTile::kNarrow, 3, 0.68, 1.59, 2.5}};
constexpr TileCost kTf32Costs[] = {{ConvTile::kGroup256, 1, 0.85, 0.85, 5.8}, {ConvTile::kGroup128, 2, 0.49, 0.54, 5.2},
                                   {ConvTile::kGroup64, 2, 0.42, 0.53, 4.0},  {ConvTile::kWide, 2, 1.07, 1.48, 4.9},
                                   {ConvTile::kMedium, 3, 0.37, 0.85, 3.1},   {ConvTile::kNarrow, 3, 0.49, 1.27, 2.7}};

double microseconds(const TileCost& cost, double blocks, double slices, int processors) {
  const double each = blocks / processors, waves = std::floor(each / cost.blocks);
  const double left = std::ceil(each - waves * cost.blocks);
  const double last = left > 0 ? std::max(left * cost.slice, cost.alone) : 0;
  return (waves * cost.blocks * cost.slice + last) * slices + cost.fixed * (waves + (left > 0 ? 1 : 0));
}

// Of the kernel that adds them.
double split_microseconds(int splits, double elements) {
  return splits == 1 ? 0 : 3 + (splits + 1) * elements * sizeof(float) * 4e-7;
}

}  // namespace

ConvPlan plan_conv(const ConvShape& shape, Precision precision, const Gpu& gpu) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    double best = 0;
    for (const TileCost& cost : precision == Precision::kExact ? std::span<const TileCost>(kExactCosts)
                                                               : std::span<const TileCost>(kTf32Costs)) {
      if (!tile_serves(cost.tile, shape, precision) || (by_warpgroups(cost.tile) && !gpu.warpgroups)) continue;
      ConvPlan trial = plan;
      trial.tile = cost.tile;
      const ConvArgs a = conv_args(trial, static_cast<int>(plan.images_per_launch));
      const double blocks = static_cast<double>(ceil_div(static_cast<long long>(a.images) * most_positions(a),
                                                         tile_size(cost.tile, precision).rows)) *
                            a.column_tiles * a.groups * class_total(a);
      const int slices = a.packed_depth / kSlice;
      for (const int splits : {1, 2, 4, 8, 16}) {
        if (splits > 1 && slices / splits < 2) break;
        const double time = microseconds(cost, blocks * splits, ceil_div(slices, splits), gpu.processors) +
                            split_microseconds(splits, static_cast<double>(plan.out_elements));
        if (best != 0 && time >= best) continue;
        best = time;
        plan.tile = cost.tile;
        plan.splits = splits;
      }
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
  } else if (plan.kernel == ConvKernel::kFew) {
    launch(pack_few, Dim3{64, 1, static_cast<unsigned>(class_total(a))}, Dim3{256}, 0, stream, a, w, packed,
           most_taps(a));
  } else if (plan.kernel == ConvKernel::kTensorCore) {
    const int blocks = std::min(1024, ceil_div(static_cast<long long>(a.packed_columns) * a.packed_depth, 256));
    const Dim3 grid{static_cast<unsigned>(blocks), static_cast<unsigned>(a.groups),
                    static_cast<unsigned>(class_total(a))};
    if (by_warpgroups(plan.tile)) {
      launch(pack_for_warpgroup, grid, Dim3{256}, 0, stream, a, w, packed, packed_parts(plan));
    } else {
      launch(pack_for_tensor_core, grid, Dim3{256}, 0, stream, a, w, packed);
    }
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
    if (e.mask_bits != nullptr) e.mask_bits += first * out_image / 32;
    if (e.out_bits != nullptr) e.out_bits += first * out_image / 32;
    // Words of the mask may not be shared by tiles; the second kernel of a split sum does not care.
    std::uint32_t* bits_apart = nullptr;
    if (plan.splits == 1 && (plan.kernel != ConvKernel::kTensorCore || out_channels(s) % 32 != 0)) {
      bits_apart = e.out_bits;
      e.out_bits = nullptr;
    }
    const float* from = in + first * in_image;
    float* to = out + first * out_image;
    if (plan.kernel == ConvKernel::kDepthwise) {
      const bool vectors = a.groups % 4 == 0;
      const ConvClass c = conv_class(a.axis, a.classes, a.backward, 0);
      const long long threads = static_cast<long long>(images) * c.d.count * c.h.count *
                                ceil_div(c.w.count, kDepthwiseColumns) * (vectors ? a.groups / 4 : a.groups);
      const Dim3 grid{static_cast<unsigned>(ceil_div(threads, 128)), 1, static_cast<unsigned>(class_total(a))};
      launch(vectors ? conv_depthwise<4> : conv_depthwise<1>, grid, Dim3{128}, 0, stream, a, from, weights, to, e);
    } else if (plan.kernel == ConvKernel::kFew) {
      const ConvClass c = conv_class(a.axis, a.classes, a.backward, 0);  // the largest
      const long long units =
          static_cast<long long>(images) * c.d.count * c.h.count * ceil_div(c.w.count, kFewPositions);
      const Dim3 grid{static_cast<unsigned>(ceil_div(units * kFewLanes, kFewThreads)), 1,
                      static_cast<unsigned>(class_total(a))};
      launch(conv_few, grid, Dim3{kFewThreads}, 0, stream, a, from, weights, to, e, most_taps(a));
    } else if (plan.splits > 1) {
      const long long elements = images * out_image;
      launch_tensor_core(plan, a, from, weights, workspace, {}, elements, stream);
      const int channels = a.groups * a.out_channels;
      const bool by_four = channels % 4 == 0;
      const long long threads = by_four ? elements / 4 : elements;
      launch(by_four ? add_splits_by_four : add_splits,
             Dim3{static_cast<unsigned>(std::min<long long>(4096, (threads + 255) / 256))}, Dim3{256}, 0, stream,
             static_cast<const float*>(workspace), to, e, plan.splits, channels, elements);
    } else {
      launch_tensor_core(plan, a, from, weights, to, e, 0, stream);
    }
    if (bits_apart != nullptr) launch_pack_mask(static_cast<const float*>(to), bits_apart, images * out_image, stream);
  }
}

}  // namespace onnxray::cuda
