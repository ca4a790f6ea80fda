// Matrix products: which kernel, tile and splits one gets, packed weights, launches (gemm.h).
#pragma once
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/gemm_warpgroup.cuh"
#include "kernels/cuda/general.cuh"
#include "kernels/cuda/tile_choice.h"

namespace onnxray::cuda {
namespace {

template <class T>
struct GemmProduct {
  long long batches, rows, columns, depth;
  GemmArgs args;
  bool trans_a, trans_b;
  const T* left;
  const T* right;
  T* y;
  Epilogue<T> epilogue;

  ONNXRAY_DEVICE T a(long long z, long long row, long long k) const {
    return left[batch_offset(args, z).a + (trans_a ? k * rows + row : row * depth + k)];
  }
  ONNXRAY_DEVICE T b(long long z, long long k, long long column) const {
    return right[batch_offset(args, z).b + (trans_b ? column * depth + k : k * columns + column)];
  }
  ONNXRAY_DEVICE void store(long long z, long long row, long long column, T v) const {
    const long long at = (z * rows + row) * columns + column;
    y[at] = finish(v, epilogue, column, at);
  }
};

GemmArgs gemm_args(const GemmShape& s) {
  GemmArgs a{};
  a.m = static_cast<int>(s.m);
  a.n = static_cast<int>(s.n);
  a.k = static_cast<int>(s.k);
  a.splits = 1;
  a.batches = 1;
  a.batch_axes = s.batch_axes;
  for (int i = 0; i < s.batch_axes; ++i) {
    a.batch[i] = s.batch[i];
    a.a_step[i] = s.a_step[i];
    a.b_step[i] = s.b_step[i];
    a.batches *= s.batch[i];
  }
  return a;
}

// Columns of b as it is packed.
int packed_columns(const GemmPlan& plan) {
  const int columns = tile_size(plan.tile, plan.precision).columns;
  return static_cast<int>(tiles_along(plan.shape.n, columns)) * columns;
}

unsigned tile_count(const GemmArgs& p, int rows) {
  const long long tiles = tiles_along(p.m, rows) * p.column_tiles;
  if (tiles >= 1ll << 31) fail_unsupported("CUDA: a product of ", p.m, " x ", p.n, " is too large");
  return static_cast<unsigned>(tiles);
}

template <Precision kPrecision, class T, bool kTransA, bool kTransB, int kVector>
void launch_gemm(GemmArgs p, const float* a, const float* b, float* y, const Epilogue<float>& e, Stream stream) {
  p.column_tiles = static_cast<int>(tiles_along(p.n, T::kCols));
  const unsigned tiles = tile_count(p, T::kRows);
  for (; p.first_batch < p.batches; p.first_batch += 65535) {
    const long long batches = std::min<long long>(p.batches - p.first_batch, 65535);
    launch(gemm_tensor_core<kPrecision, T, kTransA, kTransB, kVector>,
           Dim3{tiles, static_cast<unsigned>(p.splits), static_cast<unsigned>(batches)}, Dim3{T::kThreads},
           sizeof(float) * kRingWords<T, !kTransA, kTransB>, stream, p, a, b, y, e);
  }
}

template <Precision kPrecision, bool kTransA, bool kTransB>
void launch_gemm_tile(const GemmArgs& p, bool vectors, bool wide, const float* a, const float* b, float* y,
                      const Epilogue<float>& e, Stream stream) {
  if (!vectors) return launch_gemm<kPrecision, MediumTile, kTransA, kTransB, 1>(p, a, b, y, e, stream);
  if (wide) return launch_gemm<kPrecision, WideTile<kPrecision>, kTransA, kTransB, 4>(p, a, b, y, e, stream);
  launch_gemm<kPrecision, MediumTile, kTransA, kTransB, 4>(p, a, b, y, e, stream);
}

// Sixteen bytes at a time need every line and every matrix of the batch to begin at 16 bytes.
bool has_vectors(const GemmShape& s) {
  bool vectors = (s.trans_a ? s.m : s.k) % 4 == 0 && (s.trans_b ? s.k : s.n) % 4 == 0;
  for (int i = 0; i < s.batch_axes; ++i) vectors = vectors && s.a_step[i] % 4 == 0 && s.b_step[i] % 4 == 0;
  return vectors;
}

template <Precision kPrecision>
void launch_gemm_precision(const GemmPlan& plan, const GemmArgs& p, const float* a, const float* b, float* y,
                           const Epilogue<float>& e, Stream stream) {
  const GemmShape& s = plan.shape;
  if (by_warpgroups(plan.tile)) {
    with_warpgroup_tile<kPrecision>(plan.tile, [&]<class T>() {
      GemmArgs q = p;
      q.column_tiles = static_cast<int>(tiles_along(p.n, T::kCols));
      launch(gemm_warpgroup<T>, Dim3{tile_count(q, T::kRows), static_cast<unsigned>(p.splits)}, Dim3{T::kThreads},
             warpgroup_shared_bytes<T>(), stream, q, a, b, y, e);
    });
    return;
  }
  const bool wide = plan.tile == ProductTile::kWide;
  const bool vectors =
      has_vectors(s) && reinterpret_cast<std::uintptr_t>(a) % 16 == 0 && reinterpret_cast<std::uintptr_t>(b) % 16 == 0;
  if (s.trans_a && s.trans_b) return launch_gemm_tile<kPrecision, true, true>(p, vectors, wide, a, b, y, e, stream);
  if (s.trans_a) return launch_gemm_tile<kPrecision, true, false>(p, vectors, wide, a, b, y, e, stream);
  if (s.trans_b) return launch_gemm_tile<kPrecision, false, true>(p, vectors, wide, a, b, y, e, stream);
  launch_gemm_tile<kPrecision, false, false>(p, vectors, wide, a, b, y, e, stream);
}

void launch_gemm(const GemmPlan& plan, const GemmArgs& p, const float* a, const float* b, float* y,
                 const Epilogue<float>& e, Stream stream) {
  switch (plan.precision) {
    case Precision::kExact: return launch_gemm_precision<Precision::kExact>(plan, p, a, b, y, e, stream);
    case Precision::kTf32: return launch_gemm_precision<Precision::kTf32>(plan, p, a, b, y, e, stream);
    case Precision::kBf16: return launch_gemm_precision<Precision::kBf16>(plan, p, a, b, y, e, stream);
  }
}

long long result_elements(const GemmShape& s) {
  const GemmArgs p = gemm_args(s);
  return p.batches * s.m * s.n;
}

}  // namespace

bool tile_serves(ProductTile tile, const GemmShape& s, Precision precision, bool constant_b) {
  if (!tile_exists(tile, precision) || tile == ProductTile::kNarrow) return false;
  if (tile == ProductTile::kMedium) return true;
  if (!by_warpgroups(tile)) return has_vectors(s);
  return constant_b && !s.trans_a && s.batch_axes == 0 && s.k > 0 && s.k % 4 == 0 && result_elements(s) < 1ll << 31;
}

GemmPlan plan_gemm_with(const GemmShape& shape, Precision precision, ProductTile tile, int splits) {
  if (std::max({shape.m, shape.n, shape.k}) >= 1ll << 31) {
    fail_unsupported("CUDA: a matrix product of ", shape.m, " x ", shape.k, " x ", shape.n, " is too large");
  }
  GemmPlan plan{shape, precision, tile, splits};
  if (by_warpgroups(tile)) {
    plan.weight_bytes = packed_bytes(precision, packed_columns(plan), gemm_args(shape).slices() * kSlice);
  }
  if (splits > 1) {
    plan.workspace_bytes =
        sizeof(float) * static_cast<std::size_t>(splits) * static_cast<std::size_t>(result_elements(shape));
  }
  return plan;
}

GemmPlan plan_gemm(const GemmShape& shape, Precision precision, const Gpu& gpu, bool constant_b) {
  const GemmArgs p = gemm_args(shape);
  const TileChoice choice = choose_tile(
      {shape.m, shape.n, static_cast<double>(p.batches), static_cast<double>(result_elements(shape)), p.slices()},
      precision, gpu, [&](ProductTile tile) { return tile_serves(tile, shape, precision, constant_b); });
  return plan_gemm_with(shape, precision, choice.tile, choice.splits);
}

void pack_gemm_weights(const GemmPlan& plan, const float* b, float* packed, Stream stream) {
  const int columns = packed_columns(plan);
  const GemmArgs p = gemm_args(plan.shape);
  const long long blocks = std::min(1024ll, tiles_along(static_cast<long long>(columns) * p.slices() * kSlice, 256));
  launch(plan.precision == Precision::kExact  ? pack_gemm_for_warpgroup<Precision::kExact>
         : plan.precision == Precision::kTf32 ? pack_gemm_for_warpgroup<Precision::kTf32>
                                              : pack_gemm_for_warpgroup<Precision::kBf16>,
         Dim3{static_cast<unsigned>(blocks)}, Dim3{256}, 0, stream, p, plan.shape.trans_b, b, packed, columns);
}

void run_gemm(const GemmPlan& plan, const float* a, const float* b, float* y, const Epilogue<float>& epilogue,
              float* workspace, Stream stream) {
  GemmArgs p = gemm_args(plan.shape);
  p.splits = plan.splits;
  if (p.splits == 1) return launch_gemm(plan, p, a, b, y, epilogue, stream);
  launch_gemm(plan, p, a, b, workspace, {}, stream);
  launch_add_splits(workspace, y, epilogue, p.splits, p.n, result_elements(plan.shape), stream);
}

template <class T>
void run_gemm_general(const GemmShape& shape, const T* a, const T* b, T* y, const Epilogue<T>& epilogue,
                      Stream stream) {
  GemmProduct<T> p{};
  p.args = gemm_args(shape);
  p.batches = p.args.batches;
  p.rows = shape.m;
  p.columns = shape.n;
  p.depth = shape.k;
  p.trans_a = shape.trans_a;
  p.trans_b = shape.trans_b;
  p.left = a;
  p.right = b;
  p.y = y;
  p.epilogue = epilogue;
  run_general<T>(p, stream);
  if constexpr (std::is_floating_point_v<T>) {
    if (epilogue.out_bits != nullptr) {
      launch_pack_mask<T>(y, epilogue.out_bits, p.batches * p.rows * p.columns, stream);
    }
  }
}

template void run_gemm_general(const GemmShape&, const float*, const float*, float*, const Epilogue<float>&, Stream);
template void run_gemm_general(const GemmShape&, const double*, const double*, double*, const Epilogue<double>&,
                               Stream);
template void run_gemm_general(const GemmShape&, const std::int64_t*, const std::int64_t*, std::int64_t*,
                               const Epilogue<std::int64_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::int32_t*, const std::int32_t*, std::int32_t*,
                               const Epilogue<std::int32_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::int8_t*, const std::int8_t*, std::int8_t*,
                               const Epilogue<std::int8_t>&, Stream);
template void run_gemm_general(const GemmShape&, const std::uint8_t*, const std::uint8_t*, std::uint8_t*,
                               const Epilogue<std::uint8_t>&, Stream);

}  // namespace onnxray::cuda
