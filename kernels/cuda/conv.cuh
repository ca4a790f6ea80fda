// float32 convolutions: which kernel, tile and splits a problem gets, packed weights, launches (conv.h).
#pragma once
#include <algorithm>

#include "kernels/cuda/conv_depthwise.cuh"
#include "kernels/cuda/conv_few.cuh"
#include "kernels/cuda/conv_tensor_core.cuh"
#include "kernels/cuda/conv_warpgroup.cuh"
#include "kernels/cuda/tile_choice.h"

namespace onnxray::cuda {
namespace {

int ceil_div(long long a, long long b) { return static_cast<int>((a + b - 1) / b); }

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
  launch(conv_warpgroup<T>, grid, Dim3{T::kThreads}, conv_warpgroup_bytes<T>(), stream, a, in, packed, out, e,
         out_elements);
}

template <Precision kPrecision>
void launch_precision(const ConvPlan& plan, const ConvArgs& a, const float* in, const float* packed, float* out,
                      const Epilogue<float>& e, long long out_elements, Stream stream) {
  if (a.in_channels % 4 != 0) {
    if (plan.tile == ProductTile::kNarrow) {
      launch_tile<kPrecision, NarrowTile, 1>(a, in, packed, out, e, out_elements, stream);
    } else {
      launch_tile<kPrecision, MediumTile, 1>(a, in, packed, out, e, out_elements, stream);
    }
    return;
  }
  switch (plan.tile) {
    case ProductTile::kWide:
      return launch_tile<kPrecision, WideTile<kPrecision>, 4>(a, in, packed, out, e, out_elements, stream);
    case ProductTile::kMedium:
      return launch_tile<kPrecision, MediumTile, 4>(a, in, packed, out, e, out_elements, stream);
    case ProductTile::kNarrow:
      return launch_tile<kPrecision, NarrowTile, 4>(a, in, packed, out, e, out_elements, stream);
    case ProductTile::kGroup256:
    case ProductTile::kGroup128:
    case ProductTile::kGroup64:
      with_warpgroup_tile<kPrecision>(plan.tile,
                                      [&]<class T>() { launch_group<T>(a, in, packed, out, e, out_elements, stream); });
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
    const std::size_t matrix = by_warpgroups(plan.tile) ? packed_bytes(plan.precision, a.packed_columns, a.packed_depth)
                                                        : sizeof(float) * static_cast<std::size_t>(a.packed_columns) *
                                                              static_cast<std::size_t>(a.packed_depth);
    plan.weight_bytes = matrix * static_cast<std::size_t>(class_total(a)) * static_cast<std::size_t>(a.groups);
    if (plan.splits > 1) {
      plan.workspace_bytes = sizeof(float) * static_cast<std::size_t>(plan.splits) *
                             (plan.out_elements / static_cast<std::size_t>(plan.shape.batch)) *
                             static_cast<std::size_t>(plan.images_per_launch);
    }
  }
}

}  // namespace

bool tile_serves(ProductTile tile, const ConvShape& shape, Precision precision) {
  if (!tile_exists(tile, precision)) return false;
  if (in_channels(shape) % 4 != 0) return tile == ProductTile::kMedium || tile == ProductTile::kNarrow;
  if (!by_warpgroups(tile)) return true;
  int taps = 1;
  for (const ConvAxis& a : shape.axis) taps *= a.kernel;
  return taps <= kMostTaps;
}

ConvPlan plan_conv_with(const ConvShape& shape, Precision precision, ProductTile tile, int splits) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    plan.tile = tile_serves(tile, shape, precision) ? tile : ProductTile::kMedium;
    plan.splits = splits;
  }
  size_memory(plan);
  return plan;
}

ConvPlan plan_conv(const ConvShape& shape, Precision precision, const Gpu& gpu) {
  ConvPlan plan = plan_without_tile(shape, precision);
  if (plan.kernel == ConvKernel::kTensorCore) {
    const ConvArgs a = conv_args(plan, static_cast<int>(plan.images_per_launch));
    const TileChoice choice =
        choose_tile({static_cast<long long>(a.images) * most_positions(a), a.out_channels,
                     static_cast<double>(a.groups) * class_total(a), static_cast<double>(plan.out_elements),
                     a.packed_depth / kSlice},
                    precision, gpu, [&](ProductTile tile) { return tile_serves(tile, shape, precision); });
    plan.tile = choice.tile;
    plan.splits = choice.splits;
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
      launch(plan.precision == Precision::kExact  ? pack_conv_for_warpgroup<Precision::kExact>
             : plan.precision == Precision::kTf32 ? pack_conv_for_warpgroup<Precision::kTf32>
                                                  : pack_conv_for_warpgroup<Precision::kBf16>,
             grid, Dim3{256}, 0, stream, a, w, packed);
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
      launch_add_splits(workspace, to, e, plan.splits, a.groups * a.out_channels, elements, stream);
    } else {
      launch_tensor_core(plan, a, from, weights, to, e, 0, stream);
    }
    if (bits_apart != nullptr) launch_pack_mask(static_cast<const float*>(to), bits_apart, images * out_image, stream);
  }
}

}  // namespace onnxray::cuda
