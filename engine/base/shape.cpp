#include "engine/base/shape.h"

#include <algorithm>

#include "engine/base/error.h"

namespace onnxray {

std::int64_t count_of(std::span<const std::int64_t> dims) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 48;
  bool zero = false;
  std::int64_t n = 1;  // of the extents that are not zero: strides must not overflow in an empty tensor either
  for (const std::int64_t d : dims) {
    ONNXRAY_CHECK(d >= 0, "negative dimension in shape ", to_string(dims));
    zero = zero || d == 0;
    if (d == 0) continue;
    ONNXRAY_CHECK(d <= kLimit / n, "shape ", to_string(dims), " has too many elements");
    n *= d;
  }
  return zero ? 0 : n;
}

std::string to_string(std::span<const std::int64_t> dims) {
  std::string s = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) s += ", ";
    s += std::to_string(dims[i]);
  }
  return s + "]";
}

Dims strides_of(std::span<const std::int64_t> dims) {
  Dims strides(dims.size(), 1);
  for (std::size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

Dims broadcast(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Dims out(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t da = i < rank - a.size() ? 1 : a[i - (rank - a.size())];
    const std::int64_t db = i < rank - b.size() ? 1 : b[i - (rank - b.size())];
    ONNXRAY_CHECK(da == db || da == 1 || db == 1, "shapes ", to_string(a), " and ", to_string(b), " do not broadcast");
    out[i] = da == 1 ? db : da;
  }
  return out;
}

std::int64_t normalize_axis(std::int64_t axis, std::size_t rank, const char* what) {
  const auto r = static_cast<std::int64_t>(rank);
  ONNXRAY_CHECK(axis >= -r && axis < r, what, ": axis ", axis, " is out of range for rank ", r);
  return axis < 0 ? axis + r : axis;
}

std::vector<std::int64_t> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank, const char* what) {
  std::vector<std::int64_t> out;
  out.reserve(axes.size());
  for (const std::int64_t a : axes) out.push_back(normalize_axis(a, rank, what));
  std::sort(out.begin(), out.end());
  ONNXRAY_CHECK(std::adjacent_find(out.begin(), out.end()) == out.end(), what, ": an axis is given twice in ",
                to_string(axes));
  return out;
}

std::int64_t product(std::span<const std::int64_t> dims, std::size_t begin, std::size_t end) {
  std::int64_t n = 1;
  for (std::size_t i = begin; i < end; ++i) n *= dims[i];
  return n;
}

}  // namespace onnxray
