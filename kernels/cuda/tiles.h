// The tiles into which the tensor-core kernels cut matrix products and convolutions, for their callers.
#pragma once
#include "kernels/cuda/epilogue.h"

namespace onnxray::cuda {

// What a block of threads computes of the result, rows x columns.
enum class ProductTile {
  kWide,      // 128 x 128 (128 x 64 for Precision::kExact) by mma.sync
  kMedium,    // 64 x 64 by mma.sync
  kNarrow,    // 128 x 16 by mma.sync; convolutions alone
  kGroup256,  // 128 x 256 by warpgroups, sm_90a; not for Precision::kExact
  kGroup128,  // 128 x 128 by warpgroups
  kGroup64,   // 128 x 64 by warpgroups
};
inline constexpr ProductTile kProductTiles[] = {ProductTile::kGroup256, ProductTile::kGroup128, ProductTile::kGroup64,
                                                ProductTile::kWide,     ProductTile::kMedium,   ProductTile::kNarrow};

constexpr bool by_warpgroups(ProductTile tile) {
  return tile == ProductTile::kGroup256 || tile == ProductTile::kGroup128 || tile == ProductTile::kGroup64;
}
// Whether a tile exists for a precision.
constexpr bool tile_exists(ProductTile tile, Precision precision) {
  return precision != Precision::kExact || tile != ProductTile::kGroup256;
}

// What the choice of a tile depends on of a GPU.
struct Gpu {
  int processors = 1;       // multiprocessors
  bool warpgroups = false;  // whether it and the build have sm_90a's warpgroup products
};

}  // namespace onnxray::cuda
