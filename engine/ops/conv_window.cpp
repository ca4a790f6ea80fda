#include "engine/ops/conv_window.h"

namespace onnxray {
namespace {

// Far beyond any real window, small enough that products of two stay in 64 bits.
constexpr std::int64_t kLargest = std::int64_t{1} << 30;

Extents read(const Attrs& attrs, std::string_view name, std::size_t rank, std::int64_t low) {
  const std::vector<std::int64_t> v = attrs.ints(name, std::vector<std::int64_t>(rank, 1));
  ONNXRAY_CHECK(v.size() == rank, name, " has ", v.size(), " entries, expected ", rank, " (one per spatial axis)");
  for (const std::int64_t x : v) {
    ONNXRAY_CHECK(x >= low && x <= kLargest, name, " ", to_string(v), " is out of range");
  }
  return align3(v, 1);
}

}  // namespace

std::int64_t Window::positions(std::size_t i, std::int64_t in) const {
  const std::int64_t room = in + begin[i] + end[i] - reach(i);
  if (room < 0) return 0;
  if (!ceil_mode) return room / stride[i] + 1;
  const std::int64_t n = (room + stride[i] - 1) / stride[i] + 1;
  return (n - 1) * stride[i] >= in + begin[i] ? n - 1 : n;
}

TapRange taps_inside(std::int64_t start, std::int64_t kernel, std::int64_t dilation, std::int64_t low,
                     std::int64_t high) {
  TapRange r;
  r.first = start >= low ? 0 : (low - start + dilation - 1) / dilation;
  r.last = high > start ? (high - start + dilation - 1) / dilation : 0;
  r.last = std::min(r.last, kernel);
  r.first = std::min(r.first, r.last);
  return r;
}

Extents align3(std::span<const std::int64_t> v, std::int64_t fill) {
  Extents out{fill, fill, fill};
  for (std::size_t i = 0; i < v.size(); ++i) out[i + 3 - v.size()] = v[i];
  return out;
}

Window read_window(const Attrs& attrs, std::span<const std::int64_t> kernel) {
  const std::size_t rank = kernel.size();
  if (rank < 1 || rank > 3) fail_unsupported("windows over ", rank, " spatial axes (1 to 3 are supported)");
  Window w;
  for (const std::int64_t k : kernel) {
    ONNXRAY_CHECK(k >= 1 && k <= kLargest, "kernel ", to_string(kernel), " is out of range");
  }
  w.kernel = align3(kernel, 1);
  w.stride = read(attrs, "strides", rank, 1);
  w.dilation = read(attrs, "dilations", rank, 1);
  const std::vector<std::int64_t> pads = attrs.ints("pads", std::vector<std::int64_t>(2 * rank, 0));
  ONNXRAY_CHECK(pads.size() == 2 * rank, "pads has ", pads.size(), " entries, expected ", 2 * rank);
  for (const std::int64_t p : pads) {
    ONNXRAY_CHECK(p >= -kLargest && p <= kLargest, "pads ", to_string(pads), " are out of range");
  }
  w.begin = align3(std::span(pads).first(rank), 0);
  w.end = align3(std::span(pads).last(rank), 0);
  w.ceil_mode = attrs.integer("ceil_mode", 0) != 0;
  return w;
}

SpatialDims spatial_dims(const Dims& dims, bool channels_last) {
  ONNXRAY_CHECK(dims.size() >= 3 && dims.size() <= 5, "shape ", to_string(dims),
                " has no 1 to 3 spatial axes beside batch and channels");
  SpatialDims s;
  s.batch = dims.front();
  s.channels = channels_last ? dims.back() : dims[1];
  const auto first = dims.begin() + (channels_last ? 1 : 2);
  s.space.assign(first, first + static_cast<std::ptrdiff_t>(dims.size() - 2));
  return s;
}

Dims join_dims(std::int64_t batch, std::int64_t channels, std::span<const std::int64_t> space, bool channels_last) {
  Dims d{batch};
  if (!channels_last) d.push_back(channels);
  d.insert(d.end(), space.begin(), space.end());
  if (channels_last) d.push_back(channels);
  return d;
}

}  // namespace onnxray
