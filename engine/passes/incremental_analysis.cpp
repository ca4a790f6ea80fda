// Follows the boxes of all rows through a graph by the ops' window rules, and weighs rectangles with their copies
// against whole values.
#include "engine/passes/incremental_analysis.h"

#include <algorithm>

#include "engine/passes/window.h"
#include "engine/work.h"

namespace onnxray {
namespace {

using Ints = std::vector<std::int64_t>;
using Kind = ValueInRows::Kind;

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }
std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// Copying an element, in multiply-adds of a convolution.
constexpr std::int64_t kCopyWork = 8;

// One size for all intervals of an axis; places keep the rectangle inside the value.
Rectangle rectangle_of(const Intervals& intervals, const Ints& axes, const Dims& dims) {
  Rectangle r{axes, Ints(axes.size(), 1), std::vector<Ints>(axes.size())};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    for (const Interval& v : intervals[i]) r.size[i] = std::max(r.size[i], v.end - v.begin);
    for (const Interval& v : intervals[i]) r.places[i].push_back(std::min(v.begin, dims[at(axes[i])] - r.size[i]));
  }
  return r;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The output positions that read anything of `in`; empty if there are none.
Interval reached(const Interval& in, const Reach& r, std::int64_t extent) {
  if (in.begin >= in.end) return {};
  Interval out;
  out.begin = std::clamp<std::int64_t>(ceil_div(in.begin - r.reach + 1 + r.begin, r.stride), 0, extent);
  out.end = std::clamp<std::int64_t>(floor_div(in.end - 1 + r.begin, r.stride) + 1, out.begin, extent);
  return out;
}

// The smallest interval that holds both.
Interval hull(const Interval& a, const Interval& b) {
  if (a.begin >= a.end) return b;
  if (b.begin >= b.end) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

class Analysis {
 public:
  explicit Analysis(const Graph& g) : g_(g), uses_(g.use_counts()) {
    found_.values.resize(g.value_count());
    found_.nodes.resize(g.nodes().size());
  }

  IncrementalAnalysis run(ValueId varied, const Ints& axes, const Intervals& intervals) {
    ValueInRows& v = in_rows(varied);
    v.kind = Kind::kWindowed;
    v.intervals = intervals;
    v.rectangle = rectangle_of(intervals, axes, g_.value(varied).dims);
    for (std::size_t n = 0; n < found_.nodes.size(); ++n) visit(g_.nodes()[n], found_.nodes[n]);
    return std::move(found_);
  }

 private:
  const Graph& g_;
  std::vector<int> uses_;
  std::vector<char> pasted_ = std::vector<char>(g_.value_count(), 0);
  IncrementalAnalysis found_;

  ValueInRows& in_rows(ValueId v) { return found_.values[index_of(v)]; }

  void visit(const Node& node, NodeInRows& state) {
    bool windowed = false, whole = false;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      windowed = windowed || in_rows(v).kind == Kind::kWindowed;
      whole = whole || in_rows(v).kind == Kind::kWhole;
    }
    if (!windowed && !whole) return;
    const std::int64_t elements = count_of(g_.value(node.outputs[0]).dims);
    const std::int64_t full = multiply_adds(g_, node) + elements;
    found_.full_work += full;
    if (windowed && !whole && cut(node, state)) {
      found_.any_windowed = true;
      return;
    }
    state = {};
    if (windowed && found_.switches_at.empty()) found_.switches_at = node.name.empty() ? node.op->name : node.name;
    found_.work += full;
    for (const ValueId v : node.inputs) found_.work += v == kNoValue ? 0 : whole_cost(v);
    for (const ValueId v : node.outputs) in_rows(v).kind = Kind::kWhole;
  }

  // What pasting a windowed value costs, once.
  std::int64_t whole_cost(ValueId v) {
    if (in_rows(v).kind != Kind::kWindowed || pasted_[index_of(v)] != 0) return 0;
    pasted_[index_of(v)] = 1;
    return kCopyWork * count_of(g_.value(v).dims);
  }

  // Whether the node is computed on rectangles; fills the states if so.
  bool cut(const Node& node, NodeInRows& state) {
    const Value& out = g_.value(node.outputs[0]);
    if (node.op->window == nullptr && !node.op->traits.elementwise) return false;
    for (std::size_t i = 1; i < node.outputs.size(); ++i) {
      if (uses_[index_of(node.outputs[i])] > 0) return false;
    }
    if (out.dims.empty() || out.dims[0] != 1) return false;
    WindowCtx c{g_, node, {}, node.attrs, {}, {}, 0, std::vector<Ints>(node.inputs.size())};
    for (const ValueId v : node.inputs) {
      c.axes.push_back(v != kNoValue && in_rows(v).kind == Kind::kWindowed ? in_rows(v).rectangle.axes : Ints{});
    }
    if (!(node.op->window != nullptr ? node.op->window(c) : window_elementwise(c))) return false;
    for (std::size_t i = 0; i < c.out_axes.size(); ++i) {
      if (c.out_axes[i] != c.out_axes[0] + static_cast<std::int64_t>(i) || c.out_axes[i] == 0) return false;
    }

    Intervals intervals(c.out_axes.size());
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || in_rows(v).kind != Kind::kWindowed) continue;
      for (std::size_t a = 0; a < c.out_axes.size(); ++a) {
        const std::vector<Interval>& in = in_rows(v).intervals[a];
        intervals[a].resize(in.size());
        for (std::size_t k = 0; k < in.size(); ++k) {
          intervals[a][k] = hull(intervals[a][k], reached(in[k], c.reach[a], out.dims[at(c.out_axes[a])]));
        }
      }
    }
    const Rectangle rectangle = rectangle_of(intervals, c.out_axes, out.dims);

    std::vector<std::optional<Rectangle>> reads(node.inputs.size());
    std::int64_t copies = 0, pastes = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v == kNoValue) continue;
      const bool windowed = !c.axes[i].empty();
      if (!windowed && c.cut[i].empty()) continue;
      Rectangle read{windowed ? c.axes[i] : c.cut[i], rectangle.size, rectangle.places};
      for (std::size_t a = 0; a < read.axes.size(); ++a) {
        read.size[a] = (rectangle.size[a] - 1) * c.reach[a].stride + c.reach[a].reach;
        for (std::int64_t& place : read.places[a]) place = place * c.reach[a].stride - c.reach[a].begin;
      }
      if (!windowed || read != in_rows(v).rectangle) copies += elements_of(v, read);
      if (windowed && pasted_[index_of(v)] == 0) pastes += count_of(g_.value(v).dims);
      reads[i] = std::move(read);
    }
    const double share = static_cast<double>(elements_of(node.outputs[0], rectangle)) /
                         static_cast<double>(std::max<std::int64_t>(1, count_of(out.dims)));
    const std::int64_t full = multiply_adds(g_, node) + count_of(out.dims);
    const std::int64_t cost = static_cast<std::int64_t>(share * static_cast<double>(full)) + kCopyWork * copies;
    if (cost >= full + kCopyWork * pastes) return false;
    found_.work += cost;
    state.windowed = true;
    state.attrs = c.attrs;
    state.reads = std::move(reads);
    state.fill = c.fill;
    ValueInRows& v = in_rows(node.outputs[0]);
    v.kind = Kind::kWindowed;
    v.intervals = std::move(intervals);
    v.rectangle = rectangle;
    return true;
  }

  // Elements of one row of v inside the rectangle.
  [[nodiscard]] std::int64_t elements_of(ValueId v, const Rectangle& r) const {
    Dims d = g_.value(v).dims;
    for (std::size_t i = 0; i < r.axes.size(); ++i) d[at(r.axes[i])] = r.size[i];
    return count_of(d);
  }
};

}  // namespace

IncrementalAnalysis analyse_incremental(const Graph& g, ValueId varied, const std::vector<std::int64_t>& axes,
                                        const Intervals& intervals) {
  return Analysis(g).run(varied, axes, intervals);
}

IncrementalWork incremental_work(const Graph& g, ValueId varied, const std::vector<std::int64_t>& axes,
                                 const Intervals& intervals) {
  const IncrementalAnalysis analysis = analyse_incremental(g, varied, axes, intervals);
  return {static_cast<double>(analysis.work), static_cast<double>(analysis.full_work)};
}

}  // namespace onnxray
