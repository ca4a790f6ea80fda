// Which tile a convolution or matrix product gets, and into how many parts its sum is split: by costs that were
// measured on convolutions.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/cuda/tiles.h"

namespace onnxray::cuda {

struct TileSize {
  int rows, columns;
};
constexpr TileSize tile_size(ProductTile tile, Precision precision) {
  switch (tile) {
    case ProductTile::kWide: return {128, precision == Precision::kExact ? 64 : 128};
    case ProductTile::kMedium: return {64, 64};
    case ProductTile::kNarrow: return {128, 16};
    case ProductTile::kGroup256: return {128, 256};
    case ProductTile::kGroup128: return {128, 128};
    case ProductTile::kGroup64: return {128, 64};
  }
  return {64, 64};
}

constexpr long long tiles_along(long long extent, int tile) { return (extent + tile - 1) / tile; }

// Microseconds on an H200, fitted to `onnxray_conv_bench --sweep` over layers of ResNet-50 and VGG19 at N = 1 and 50
// (the choice then costs 1 % in the geometric mean over the best one). A multiprocessor holds `blocks`; a slice takes
// it `slice` for each of them, `alone` at least; `fixed` is a block's beginning and end.
struct TileCost {
  ProductTile tile;
  int blocks;
  double slice, alone, fixed;
};
inline constexpr TileCost kExactCosts[] = {{ProductTile::kGroup128, 1, 1.28, 1.32, 4.7},
                                           {ProductTile::kGroup64, 2, 0.74, 1.08, 3.8},
                                           {ProductTile::kWide, 2, 1.6, 1.6, 3.2},
                                           {ProductTile::kMedium, 3, 0.75, 1.28, 3.2},
                                           {ProductTile::kNarrow, 3, 0.68, 1.59, 2.5}};
inline constexpr TileCost kTf32Costs[] = {
    {ProductTile::kGroup256, 1, 0.85, 0.85, 5.8}, {ProductTile::kGroup128, 2, 0.49, 0.54, 5.2},
    {ProductTile::kGroup64, 2, 0.42, 0.53, 4.0},  {ProductTile::kWide, 2, 1.07, 1.48, 4.9},
    {ProductTile::kMedium, 3, 0.37, 0.85, 3.1},   {ProductTile::kNarrow, 3, 0.49, 1.27, 2.7}};

// bfloat16 was not measured: of what a warpgroup's slice costs in TF32 it halves the products and the bytes of B, and
// leaves the gathering and rounding of A.
inline constexpr double kBf16OfTf32 = 0.75;

inline double microseconds(const TileCost& cost, double blocks, double slices, int processors) {
  const double each = blocks / processors, waves = std::floor(each / cost.blocks);
  const double left = std::ceil(each - waves * cost.blocks);
  const double last = left > 0 ? std::max(left * cost.slice, cost.alone) : 0;
  return (waves * cost.blocks * cost.slice + last) * slices + cost.fixed * (waves + (left > 0 ? 1 : 0));
}

// Of the kernel that adds them.
inline double split_microseconds(int splits, double elements) {
  return splits == 1 ? 0 : 3 + (splits + 1) * elements * sizeof(float) * 4e-7;
}

// What is cut: `planes` products of rows x columns, each a sum of `slices`; `elements` of all results.
struct CutProduct {
  long long rows, columns;
  double planes, elements;
  int slices;
};
struct TileChoice {
  ProductTile tile = ProductTile::kMedium;
  int splits = 1;
};

// The cheapest of the tiles for which serves(tile) holds.
template <class Serves>
TileChoice choose_tile(const CutProduct& p, Precision precision, const Gpu& gpu, Serves serves) {
  TileChoice choice;
  double best = 0;
  for (TileCost cost : precision == Precision::kExact ? std::span<const TileCost>(kExactCosts)
                                                      : std::span<const TileCost>(kTf32Costs)) {
    if (!tile_exists(cost.tile, precision) || (by_warpgroups(cost.tile) && !gpu.warpgroups)) continue;
    if (precision == Precision::kBf16 && by_warpgroups(cost.tile)) {
      cost.slice *= kBf16OfTf32;
      cost.alone *= kBf16OfTf32;
    }
    if (!serves(cost.tile)) continue;
    const TileSize size = tile_size(cost.tile, precision);
    const double blocks =
        static_cast<double>(tiles_along(p.rows, size.rows) * tiles_along(p.columns, size.columns)) * p.planes;
    for (const int splits : {1, 2, 4, 8, 16}) {
      if (splits > 1 && p.slices / splits < 2) break;
      const double time =
          microseconds(cost, blocks * splits, static_cast<double>(tiles_along(p.slices, splits)), gpu.processors) +
          split_microseconds(splits, p.elements);
      if (best != 0 && time >= best) continue;
      best = time;
      choice = {cost.tile, splits};
    }
  }
  return choice;
}

}  // namespace onnxray::cuda
