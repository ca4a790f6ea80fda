// Convolution and backward-data on the GPU. With x [N, C, in], w [K, C/groups, kernel], y [N, K, out], one to three
// spatial axes right-aligned to three:
//   forward    y  = w * x
//   backward   dx = w^T * dy   (also ONNX's ConvTranspose)
// A plan is made once per node; weights are packed once per plan and stay on the device.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/tiles.h"

namespace onnxray::cuda {

struct ConvAxis {
  int kernel = 1, stride = 1, dilation = 1, begin = 0;  // begin: leading padding, negative crops
  int x = 1, y = 1;                                     // extents of x and y
};

struct ConvShape {
  bool backward = false;
  bool channels_last = true;  // layout of x and y: [N, in, C] or [N, C, in]; w is [K, C/groups, kernel] always
  std::int64_t batch = 1;
  int groups = 1, x_channels = 1, y_channels = 1;  // channels per group
  ConvAxis axis[3];                                // depth, height, width
};

enum class ConvKernel {
  kGeneral,     // anything, plain multiply-adds, weights as they are
  kTensorCore,  // channels last, float32
  kDepthwise,   // channels last, one channel per group, float32
  kFew,         // channels last, at most four output channels, float32
};

struct ConvPlan {
  ConvShape shape;
  ConvKernel kernel = ConvKernel::kGeneral;
  Precision precision = Precision::kExact;
  ProductTile tile = ProductTile::kMedium;
  int splits = 1;                      // of the sum over taps and channels, added up by a second kernel
  std::int64_t images_per_launch = 0;  // 32-bit offsets
  std::size_t weight_bytes = 0;        // of the packed weights; 0: none, the weights are used as they are
  std::size_t workspace_bytes = 0;     // scratch for run_conv
  std::size_t in_elements = 0, out_elements = 0;
};

// Chooses kernel, tile and splits of a float32 convolution. All extents must be positive. Throws Error(kUnsupported)
// where one image exceeds 2^31 elements.
[[nodiscard]] ConvPlan plan_conv(const ConvShape& shape, Precision precision, const Gpu& gpu);
// Whether a tile can compute that at all.
[[nodiscard]] bool tile_serves(ProductTile tile, const ConvShape& shape, Precision precision);
// The same as plan_conv with the tile and the number of splits given, for tests and tuning.
[[nodiscard]] ConvPlan plan_conv_with(const ConvShape& shape, Precision precision, ProductTile tile, int splits);

// Device pointers. `packed` has plan.weight_bytes.
void pack_conv_weights(const ConvPlan& plan, const float* w, float* packed, Stream stream);
// in: x forward, dy backward; out the other. `weights`: packed ones, or w where plan.weight_bytes is 0. `workspace` has
// plan.workspace_bytes.
void run_conv(const ConvPlan& plan, const float* in, const float* weights, float* out, const Epilogue<float>& epilogue,
              float* workspace, Stream stream);

// Plain kernels for any layout, T float or double; sums in T in ascending order.
template <class T>
void run_conv_general(const ConvShape& shape, const T* in, const T* w, T* out, const Epilogue<T>& epilogue,
                      Stream stream);
// dw [K, C/groups, kernel] = sum over images and positions of dy x; shape.backward is ignored.
template <class T>
void run_conv_weight_grad(const ConvShape& shape, const T* x, const T* dy, T* dw, Stream stream);

extern template void run_conv_general(const ConvShape&, const float*, const float*, float*, const Epilogue<float>&,
                                      Stream);
extern template void run_conv_general(const ConvShape&, const double*, const double*, double*, const Epilogue<double>&,
                                      Stream);
extern template void run_conv_weight_grad(const ConvShape&, const float*, const float*, float*, Stream);
extern template void run_conv_weight_grad(const ConvShape&, const double*, const double*, double*, Stream);

}  // namespace onnxray::cuda
