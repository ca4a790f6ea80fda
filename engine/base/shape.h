// Dimensions and the small integer arithmetic around them. Element counts are checked for overflow.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace onnxray {

using Dims = std::vector<std::int64_t>;

// Product of the dims (1 for a scalar). Throws if a dim is negative or the product exceeds 2^48 elements.
[[nodiscard]] std::int64_t count_of(std::span<const std::int64_t> dims);
// "[1, 3, 224, 224]"
[[nodiscard]] std::string to_string(std::span<const std::int64_t> dims);
// Row-major strides in elements.
[[nodiscard]] Dims strides_of(std::span<const std::int64_t> dims);
// The shape both broadcast to (numpy's rule). Throws naming both shapes.
[[nodiscard]] Dims broadcast(std::span<const std::int64_t> a, std::span<const std::int64_t> b);
// axis in [-rank, rank) to [0, rank). Throws otherwise; `what` names the user of the axis.
[[nodiscard]] std::int64_t normalize_axis(std::int64_t axis, std::size_t rank, const char* what);
// Normalised, sorted, without duplicates (a duplicate throws). Empty stays empty.
[[nodiscard]] std::vector<std::int64_t> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank,
                                                       const char* what);
// Product of dims[begin, end).
[[nodiscard]] std::int64_t product(std::span<const std::int64_t> dims, std::size_t begin, std::size_t end);

}  // namespace onnxray
