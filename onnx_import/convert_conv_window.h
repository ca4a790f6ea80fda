// What converters of convolutions and pooling share.
#pragma once
#include <span>

#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

struct WindowAttrs {
  std::vector<std::int64_t> kernel, strides, dilations, pads;
};
// strides, dilations, pads and auto_pad over the given spatial extents.
[[nodiscard]] WindowAttrs window_attrs(ConvertCtx& c, std::vector<std::int64_t> kernel,
                                       std::span<const std::int64_t> space);
void check_window_values(std::span<const std::int64_t> kernel, std::span<const std::int64_t> strides,
                         std::span<const std::int64_t> dilations);
void check_range(std::span<const std::int64_t> v, const char* what);

// The attribute `activation` of com.microsoft's fused ops.
[[nodiscard]] ValueId apply_activation(ConvertCtx& c, ValueId v);

void add_pool_rows(OpTable& t);

}  // namespace onnxray::onnx_import
