// Rows first: how arrays are handed over, and back.
#include "algorithms/session.h"

namespace onnxray {

Dims with_rows(std::int64_t rows, const Dims& row_dims) {
  Dims d = row_dims;
  d.insert(d.begin(), rows);
  return d;
}

Dims row_dims_of(const Dims& one_row, const RowMap& rows) {
  if (!rows.is_rows()) return one_row;
  Dims d = one_row;
  const auto axis = static_cast<std::size_t>(rows.axis);
  if (rows.inner == 1 && rows.outer == 1) {
    d.erase(d.begin() + rows.axis);
    return d;
  }
  // [a, outer * inner, b] -> [outer * inner, a, b]: the row's blocks come first.
  d.erase(d.begin() + rows.axis);
  d.insert(d.begin(), one_row[axis]);
  return d;
}

ValueId rows_first(Builder& b, ValueId v, const RowMap& rows, bool batched) {
  const Dims dims = b.dims(v);
  if (!batched) {
    Dims out = rows.is_rows() ? row_dims_of(dims, rows) : dims;
    out.insert(out.begin(), 1);
    if (rows.is_rows() && rows.axis != 0) {
      // One row: moving the row axis (extent inner) to the front.
      std::vector<std::int64_t> perm{rows.axis};
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(dims.size()); ++i) {
        if (i != rows.axis) perm.push_back(i);
      }
      v = b.transpose(v, perm);
    }
    return b.reshape(v, out);
  }
  ONNXRAY_ASSERT(rows.is_rows(), "rows_first of a row-constant value");
  if (rows.axis != 0) {
    std::vector<std::int64_t> perm{rows.axis};
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(dims.size()); ++i) {
      if (i != rows.axis) perm.push_back(i);
    }
    v = b.transpose(v, perm);
    b.graph.value(v).rows = RowMap::rows(0, rows.inner, rows.outer);
  }
  if (rows.inner == 1 && rows.outer == 1) return v;
  Dims d = b.dims(v);
  d[0] /= rows.inner * rows.outer;
  if (rows.outer > 1) {
    // [outer * N * inner, ...] -> [outer, N, inner, ...] -> [N, outer, inner, ...]
    Dims split = d;
    split.insert(split.begin(), rows.outer);
    split.insert(split.begin() + 2, rows.inner);
    v = b.reshape(v, split);
    b.graph.value(v).rows = RowMap::rows(1);
    std::vector<std::int64_t> perm{1, 0};
    for (std::int64_t i = 2; i < static_cast<std::int64_t>(split.size()); ++i) perm.push_back(i);
    v = b.transpose(v, perm);
    b.graph.value(v).rows = RowMap::rows(0);
  }
  d.insert(d.begin() + 1, rows.outer * rows.inner);
  v = b.reshape(v, d);
  b.graph.value(v).rows = RowMap::rows(0);
  return v;
}

ValueId from_rows_first(Builder& b, ValueId v, const Dims& one_row, const RowMap& rows, bool batched) {
  const std::int64_t count = b.dims(v)[0];
  Dims moved = one_row;  // the row axis in front
  std::vector<std::int64_t> perm;
  if (rows.is_rows()) {
    const auto axis = static_cast<std::size_t>(rows.axis);
    moved.erase(moved.begin() + rows.axis);
    moved.insert(moved.begin(), one_row[axis] * (batched ? count : 1));
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(one_row.size()); ++i) {
      perm.push_back(i < rows.axis ? i + 1 : (i == rows.axis ? 0 : i));
    }
    if (batched && rows.outer > 1) {
      Dims split(moved.begin() + 1, moved.end());
      split.insert(split.begin(), {count, rows.outer, rows.inner});
      std::vector<std::int64_t> swap{1, 0};
      for (std::int64_t i = 2; i < static_cast<std::int64_t>(split.size()); ++i) swap.push_back(i);
      v = b.transpose(b.reshape(v, split), swap);
    }
    return b.transpose(b.reshape(v, moved), perm);
  }
  ONNXRAY_ASSERT(!batched, "from_rows_first of a row-constant value");
  return b.reshape(v, one_row);
}

}  // namespace onnxray
