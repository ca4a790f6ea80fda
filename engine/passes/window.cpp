#include "engine/passes/window.h"

#include <algorithm>
#include <limits>

#include "engine/ops/conv_window.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

using Axes = std::vector<std::int64_t>;

// The axes of every windowed input, counted in a result of rank `rank` they are aligned with from the right; empty if
// they disagree.
Axes common_axes(const WindowCtx& c, std::size_t rank) {
  Axes common;
  for (std::size_t i = 0; i < c.axes.size(); ++i) {
    if (c.axes[i].empty()) continue;
    if (c.dims(i).size() != rank) return {};
    if (common.empty()) common = c.axes[i];
    else if (common != c.axes[i]) return {};
  }
  return common;
}

// Axes 2, 3, ...: where convolutions and pooling slide.
bool slides_along(const WindowCtx& c) {
  if (is_channels_last(c.attrs)) return false;
  const std::size_t rank = c.dims(0).size();
  if (c.axes[0].size() != rank - 2 || c.axes[0][0] != 2) return false;
  for (std::size_t i = 1; i < c.axes.size(); ++i) {
    if (!c.axes[i].empty()) return false;  // weights that vary
  }
  return true;
}

void slide(WindowCtx& c, const Window& w) {
  const std::size_t n = c.axes[0].size();
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t a = 3 - n + i;
    c.reach.push_back({w.stride[a], w.begin[a], w.reach(a)});
  }
  c.out_axes = c.axes[0];
  c.attrs.set("pads", std::vector<std::int64_t>(2 * n, 0));
  c.attrs.erase("ceil_mode");
}

}  // namespace

std::size_t WindowCtx::spatial() const {
  for (const Axes& a : axes) {
    if (!a.empty()) return a.size();
  }
  return 0;
}

bool window_elementwise(WindowCtx& c) {
  const Dims& out = c.out_dims();
  const Axes common = common_axes(c, out.size());
  if (common.empty()) return false;
  for (std::size_t i = 0; i < c.axes.size(); ++i) {
    if (c.node.inputs[i] == kNoValue) continue;
    const auto shift = static_cast<std::int64_t>(out.size() - c.dims(i).size());
    std::size_t whole = 0, one = 0;
    Axes own;
    for (const std::int64_t a : common) {
      own.push_back(a - shift);
      const std::int64_t extent = a < shift ? 1 : c.dims(i)[at(a - shift)];
      whole += extent == out[at(a)];
      one += extent == 1;
    }
    if (!c.axes[i].empty()) {
      if (whole != common.size()) return false;
    } else if (one != common.size()) {
      if (whole != common.size() || own[0] < 0) return false;
      c.cut[i] = own;
    }
  }
  c.out_axes = common;
  c.reach.assign(common.size(), {});
  return true;
}

bool window_conv(WindowCtx& c) {
  if (!slides_along(c)) return false;
  const Dims& w = c.dims(1);
  slide(c, read_window(c.attrs, std::span(w).subspan(2)));
  return true;
}

bool window_max_pool(WindowCtx& c) {
  if (!slides_along(c)) return false;
  slide(c, read_window(c.attrs, c.attrs.ints("kernel")));
  const DType t = c.graph.value(c.node.inputs[0]).dtype;
  c.fill = -std::numeric_limits<double>::infinity();
  return is_float(t);
}

bool window_avg_pool(WindowCtx& c) {
  if (!slides_along(c)) return false;
  const Window w = read_window(c.attrs, c.attrs.ints("kernel"));
  bool same = c.attrs.integer("divisor", 0) > 0;
  if (!same) {
    same = true;
    const std::size_t n = c.axes[0].size();
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t a = 3 - n + i;
      const std::int64_t in = c.dims(0)[i + 2],
                         last = (c.out_dims()[i + 2] - 1) * w.stride[a] - w.begin[a] + w.reach(a);
      const bool padded = c.attrs.integer("count_include_pad", 0) != 0;
      // Every tap of every window counts: none beyond the input, or beyond its padding.
      same = same && (padded ? last <= in + w.end[a] : w.begin[a] <= 0 && last <= in);
    }
  }
  if (!same) return false;
  slide(c, w);
  return true;
}

bool window_pad(WindowCtx& c) {
  const std::vector<std::int64_t> begins = c.attrs.ints("begins");
  std::vector<std::int64_t> no_begins = begins, no_ends = c.attrs.ints("ends");
  for (const std::int64_t a : c.axes[0]) {
    c.reach.push_back({1, begins[at(a)], 1});
    no_begins[at(a)] = no_ends[at(a)] = 0;
  }
  c.fill = c.attrs.real("value", 0);
  c.attrs.set("begins", no_begins);
  c.attrs.set("ends", no_ends);
  c.out_axes = c.axes[0];
  return true;
}

bool window_concat(WindowCtx& c) {
  const std::size_t rank = c.out_dims().size();
  const Axes common = common_axes(c, rank);
  const std::int64_t axis = normalize_axis(c.attrs.integer("axis", 0), rank, "concat");
  if (common.empty() || axis == 0 || std::find(common.begin(), common.end(), axis) != common.end()) return false;
  for (std::size_t i = 0; i < c.axes.size(); ++i) {
    if (c.axes[i].empty()) c.cut[i] = common;
  }
  c.out_axes = common;
  c.reach.assign(common.size(), {});
  return true;
}

bool window_transpose(WindowCtx& c) {
  const std::vector<std::int64_t> perm = c.attrs.ints("perm");
  if (perm[0] != 0) return false;
  for (const std::int64_t a : c.axes[0]) {
    c.out_axes.push_back(std::find(perm.begin(), perm.end(), a) - perm.begin());
  }
  c.reach.assign(c.axes[0].size(), {});
  // Places list the axes in ascending order.
  return std::is_sorted(c.out_axes.begin(), c.out_axes.end());
}

}  // namespace onnxray
