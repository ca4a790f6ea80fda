// How ops that read by index see their operands, on every device: as a few extents.
#pragma once
#include <cstdint>

#include "engine/attrs.h"
#include "engine/base/shape.h"

namespace onnxray {

// x as [outer, extent, block] around `axis`, and the number of indices.
struct GatherView {
  std::int64_t outer = 1, extent = 1, block = 1, count = 1;
};
[[nodiscard]] inline GatherView gather_view(const Dims& x, const Dims& index, std::int64_t axis) {
  const auto a = static_cast<std::size_t>(axis);
  return {product(x, 0, a), x[a], product(x, a + 1, x.size()), count_of(index)};
}

// A value with row map (axis, inner, outer) seen as [outer, rows, block]; block in elements.
struct RowView {
  std::int64_t outer = 1, rows = 1, block = 1;
  [[nodiscard]] std::int64_t count() const { return outer * rows * block; }
};
[[nodiscard]] inline RowView row_view(const Dims& dims, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("axis", 0));
  const std::int64_t inner = attrs.integer("inner", 1), outer = attrs.integer("outer", 1);
  RowView v;
  v.outer = product(dims, 0, axis) * outer;
  v.rows = dims[axis] / (inner * outer);
  v.block = inner * product(dims, axis + 1, dims.size());
  return v;
}

}  // namespace onnxray
