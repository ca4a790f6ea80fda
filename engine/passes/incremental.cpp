#include "engine/passes/incremental.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/passes/channels_last.h"
#include "engine/passes/window.h"
#include "engine/work.h"

namespace onnxray {
namespace {

using Ints = std::vector<std::int64_t>;

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }
std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// Copying an element, in multiply-adds of a convolution.
constexpr std::int64_t kCopyWork = 8;

// The rectangle of a value: one size for all rows, and per axis a place for each interval.
struct Rectangle {
  Ints axes;
  Ints size;
  std::vector<Ints> places;
  bool operator==(const Rectangle&) const = default;
};

enum class Kind : std::uint8_t { kSame, kWindowed, kWhole };  // as rows compute it

struct ValueState {
  Kind kind = Kind::kSame;
  Intervals intervals;  // kWindowed: what may differ from the clean value
  Rectangle rectangle;
};

// The node on rectangles: the rectangle each input is read in, and the attributes.
struct NodeState {
  bool windowed = false;
  Attrs attrs;
  std::vector<std::optional<Rectangle>> reads;  // none: taken whole, as it is
  double fill = 0;
};

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

// What every value and node of the graph is in rows.
class Analysis {
 public:
  Analysis(const Graph& g, ValueId varied, const Ints& axes, const Intervals& intervals)
      : g_(g), uses_(g.use_counts()), values(g.value_count()), nodes(g.nodes().size()) {
    ValueState& v = values[index_of(varied)];
    v.kind = Kind::kWindowed;
    v.intervals = intervals;
    v.rectangle = rectangle_of(intervals, axes, g.value(varied).dims);
    for (std::size_t n = 0; n < nodes.size(); ++n) visit(g.nodes()[n], nodes[n]);
    for (const ValueId v_out : g.outputs()) (void)whole_cost(v_out);
  }

  [[nodiscard]] std::int64_t work() const { return work_; }
  [[nodiscard]] std::int64_t full_work() const { return full_work_; }
  [[nodiscard]] const std::string& switches_at() const { return switches_at_; }
  [[nodiscard]] bool any_windowed() const { return any_windowed_; }

 private:
  const Graph& g_;
  std::vector<int> uses_;
  std::vector<char> pasted_ = std::vector<char>(g_.value_count(), 0);
  std::int64_t work_ = 0, full_work_ = 0;
  std::string switches_at_;
  bool any_windowed_ = false;

  void visit(const Node& node, NodeState& state) {
    bool windowed = false, whole = false;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      windowed = windowed || values[index_of(v)].kind == Kind::kWindowed;
      whole = whole || values[index_of(v)].kind == Kind::kWhole;
    }
    if (!windowed && !whole) return;
    const std::int64_t elements = count_of(g_.value(node.outputs[0]).dims);
    const std::int64_t full = multiply_adds(g_, node) + elements;
    full_work_ += full;
    if (windowed && !whole && cut(node, state)) {
      any_windowed_ = true;
      return;
    }
    state = {};
    if (windowed && switches_at_.empty()) switches_at_ = node.name.empty() ? node.op->name : node.name;
    work_ += full;
    for (const ValueId v : node.inputs) work_ += v == kNoValue ? 0 : whole_cost(v);
    for (const ValueId v : node.outputs) values[index_of(v)].kind = Kind::kWhole;
  }

  // What pasting a windowed value costs, once.
  std::int64_t whole_cost(ValueId v) {
    if (values[index_of(v)].kind != Kind::kWindowed || pasted_[index_of(v)] != 0) return 0;
    pasted_[index_of(v)] = 1;
    return kCopyWork * count_of(g_.value(v).dims);
  }

  // Whether the node is computed on rectangles; fills the states if so.
  bool cut(const Node& node, NodeState& state) {
    const Value& out = g_.value(node.outputs[0]);
    if (node.op->window == nullptr && !node.op->traits.elementwise) return false;
    for (std::size_t i = 1; i < node.outputs.size(); ++i) {
      if (uses_[index_of(node.outputs[i])] > 0) return false;
    }
    if (out.dims.empty() || out.dims[0] != 1) return false;
    WindowCtx c{g_, node, {}, node.attrs, {}, {}, 0, std::vector<Ints>(node.inputs.size())};
    for (const ValueId v : node.inputs) {
      c.axes.push_back(v != kNoValue && values[index_of(v)].kind == Kind::kWindowed ? values[index_of(v)].rectangle.axes
                                                                                    : Ints{});
    }
    if (!(node.op->window != nullptr ? node.op->window(c) : window_elementwise(c))) return false;
    for (std::size_t i = 0; i < c.out_axes.size(); ++i) {
      if (c.out_axes[i] != c.out_axes[0] + static_cast<std::int64_t>(i) || c.out_axes[i] == 0) return false;
    }

    Intervals intervals(c.out_axes.size());
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || values[index_of(v)].kind != Kind::kWindowed) continue;
      for (std::size_t a = 0; a < c.out_axes.size(); ++a) {
        const std::vector<Interval>& in = values[index_of(v)].intervals[a];
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
      if (!windowed || read != values[index_of(v)].rectangle) copies += elements_of(v, read);
      if (windowed && pasted_[index_of(v)] == 0) pastes += count_of(g_.value(v).dims);
      reads[i] = std::move(read);
    }
    const double share = static_cast<double>(elements_of(node.outputs[0], rectangle)) /
                         static_cast<double>(std::max<std::int64_t>(1, count_of(out.dims)));
    const std::int64_t full = multiply_adds(g_, node) + count_of(out.dims);
    const std::int64_t cost = static_cast<std::int64_t>(share * static_cast<double>(full)) + kCopyWork * copies;
    if (cost >= full + kCopyWork * pastes) return false;
    work_ += cost;
    state.windowed = true;
    state.attrs = c.attrs;
    state.reads = std::move(reads);
    state.fill = c.fill;
    ValueState& v = values[index_of(node.outputs[0])];
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

 public:
  std::vector<ValueState> values;
  std::vector<NodeState> nodes;
};

// Writes both graphs.
class Emitter {
 public:
  Emitter(const Graph& g, ValueId varied, const Analysis& analysis, bool channels_last, const Evaluator& evaluate)
      : g_(g), analysis_(analysis), channels_last_(channels_last), b_(out_.rows, evaluate) {
    const Rectangle& r = analysis.values[index_of(varied)].rectangle;
    out_.patch = r.size;
    out_.axes = r.axes;
    out_.work = analysis.work();
    out_.full_work = analysis.full_work();
    out_.switches_at = analysis.switches_at();
    mark_kept();
    const Value& value = g.value(varied);
    Dims dims = value.dims;
    for (std::size_t i = 0; i < r.axes.size(); ++i) dims[at(r.axes[i])] = r.size[i];
    same_.assign(g.value_count(), kNoValue);
    rows_.assign(g.value_count(), kNoValue);
    whole_.assign(g.value_count(), kNoValue);
    rows_[index_of(varied)] = out_.rows.add_input("patch " + value.name, value.dtype, dims, RowMap::rows(0));
    for (const ValueId v : g.inputs()) {
      same_[index_of(v)] = out_.rows.add_input(g.value(v).name, g.value(v).dtype, g.value(v).dims);
    }
    for (const ValueId v : kept_) same_[index_of(v)] = kept_input(v);
    (void)places(r.places);
    // Inputs come before nodes: places are collected first.
    for (const NodeState& state : analysis.nodes) {
      for (const auto& read : state.reads) {
        if (read) (void)places(read->places);
      }
    }
    for (const ValueState& state : analysis.values) {
      if (state.kind == Kind::kWindowed) (void)places(state.rectangle.places);
    }
  }

  Incremental run() {
    for (std::size_t n = 0; n < g_.nodes().size(); ++n) emit(g_.nodes()[n], analysis_.nodes[n]);
    std::vector<ValueId> outputs;
    for (const ValueId v : g_.outputs()) outputs.push_back(whole(v));
    out_.rows.set_outputs(std::move(outputs));
    make_clean();
    return std::move(out_);
  }

 private:
  const Graph& g_;
  const Analysis& analysis_;
  bool channels_last_;
  Incremental out_;
  Builder b_;
  std::vector<ValueId> kept_;
  std::vector<ValueId> same_, rows_, whole_;  // old value -> clean contents, rectangle (or rows), pasted rows
  std::map<std::vector<Ints>, ValueId> places_;
  std::map<std::tuple<ValueId, ValueId, Ints, double>, ValueId> crops_;

  [[nodiscard]] Kind kind(ValueId v) const { return analysis_.values[index_of(v)].kind; }

  // Clean contents that rows need beside the rectangle: what is read in another rectangle, and what is pasted.
  void mark_kept() {
    std::vector<char> needed(g_.value_count(), 0);
    const auto need = [&](ValueId v) {
      if (v != kNoValue && kind(v) == Kind::kWindowed && g_.value(v).producer >= 0) needed[index_of(v)] = 1;
    };
    for (std::size_t n = 0; n < g_.nodes().size(); ++n) {
      const Node& node = g_.nodes()[n];
      const NodeState& state = analysis_.nodes[n];
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        const ValueId v = node.inputs[i];
        if (v == kNoValue) continue;
        if (!state.windowed) need(v);
        else if (state.reads[i] && kind(v) == Kind::kWindowed &&
                 *state.reads[i] != analysis_.values[index_of(v)].rectangle)
          need(v);
      }
    }
    for (const ValueId v : g_.outputs()) need(v);
    for (std::size_t v = 0; v < needed.size(); ++v) {
      if (needed[v] != 0) kept_.push_back(static_cast<ValueId>(v));
    }
    out_.kept = kept_.size();
  }

  [[nodiscard]] bool turned(ValueId v) const {
    const std::size_t rank = g_.value(v).dims.size();
    return channels_last_ && rank >= 3 && rank <= 5 && g_.value(v).dtype == DType::f32;
  }

  static Ints to_last(std::size_t rank) {
    Ints perm(rank);
    for (std::size_t i = 0; i < rank; ++i) perm[i] = static_cast<std::int64_t>(i);
    return entries_in_nhwc(perm);
  }

  ValueId kept_input(ValueId v) {
    const Value& value = g_.value(v);
    const std::string name = detail::concat("clean ", g_.label(v));
    if (!turned(v)) return out_.rows.add_input(name, value.dtype, value.dims);
    return out_.rows.add_input(name, value.dtype, entries_in_nhwc(value.dims));
  }

  ValueId places(const std::vector<Ints>& p) {
    const auto [it, fresh] = places_.try_emplace(p, kNoValue);
    if (fresh) {
      const auto axes = static_cast<std::int64_t>(out_.axes.size());
      it->second =
          out_.rows.add_input(detail::concat("places ", out_.places.size()), DType::i64, {1, axes}, RowMap::rows(0));
      out_.places.push_back(p);
    }
    return it->second;
  }

  // The clean contents, in the graph's own layout.
  ValueId same(ValueId v) {
    ValueId& slot = same_[index_of(v)];
    if (slot == kNoValue) {
      ONNXRAY_ASSERT(g_.is_constant(v), "incremental: ", g_.label(v), " is not kept");
      slot = out_.rows.add_constant(g_.value(v).constant);
      out_.rows.value(slot).dtype = g_.value(v).dtype;
    } else if (turned(v) && out_.rows.value(slot).producer < 0 && g_.value(v).producer >= 0 &&
               kind(v) == Kind::kWindowed) {
      Ints back;
      const std::size_t rank = g_.value(v).dims.size();
      for (std::size_t i = 0; i < rank; ++i) back.push_back(axis_in_nhwc(static_cast<std::int64_t>(i), rank));
      slot = b_.transpose(slot, back);
    }
    return slot;
  }

  // All of v in every row (or the same in all rows).
  ValueId whole(ValueId v) {
    if (v == kNoValue) return v;
    if (kind(v) == Kind::kSame) return same(v);
    if (kind(v) == Kind::kWhole) return rows_[index_of(v)];
    ValueId& slot = whole_[index_of(v)];
    if (slot == kNoValue) {
      const Rectangle& r = analysis_.values[index_of(v)].rectangle;
      slot = b_.op("paste_at", {same(v), rows_[index_of(v)], places(r.places)}, {{"axis", r.axes[0]}});
    }
    return slot;
  }

  // v in the rectangle that a node with a result of rank `rank` reads.
  ValueId cropped(ValueId v, const Rectangle& read, double fill, std::size_t rank) {
    const bool windowed = kind(v) == Kind::kWindowed;
    const Rectangle& own = analysis_.values[index_of(v)].rectangle;
    if (windowed && read == own) return rows_[index_of(v)];
    const ValueId where = places(read.places);
    ValueId& slot = crops_.try_emplace({v, where, read.size, fill}, kNoValue).first->second;
    if (slot == kNoValue) {
      ValueId base = same(v);
      std::int64_t axis = read.axes[0];
      if (b_.rank(base) < rank) {
        // Broadcasts over leading axes, the rows among them.
        Dims dims(rank - b_.rank(base), 1);
        axis += static_cast<std::int64_t>(dims.size());
        const Dims own_dims = b_.dims(base);
        dims.insert(dims.end(), own_dims.begin(), own_dims.end());
        base = b_.reshape(base, std::move(dims));
      }
      Attrs attrs{{"axis", axis}, {"sizes", read.size}, {"value", fill}};
      std::vector<ValueId> inputs{base, where};
      if (windowed) inputs.insert(inputs.end(), {rows_[index_of(v)], places(own.places)});
      slot = b_.op("crop_at", inputs, std::move(attrs));
    }
    return slot;
  }

  void emit(const Node& node, const NodeState& state) {
    bool varies = false;
    for (const ValueId v : node.outputs) varies = varies || kind(v) != Kind::kSame;
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      const bool cut = v != kNoValue && state.windowed && state.reads[i].has_value();
      inputs.push_back(cut ? cropped(v, *state.reads[i], state.fill, g_.value(node.outputs[0]).dims.size()) : whole(v));
    }
    const std::vector<ValueId> outs =
        b_.add_node(*node.op, inputs, state.windowed ? state.attrs : node.attrs, node.name);
    for (std::size_t i = 0; i < outs.size(); ++i) (varies ? rows_ : same_)[index_of(node.outputs[i])] = outs[i];
  }

  void make_clean() {
    out_.clean = g_;
    Graph& clean = out_.clean;
    std::vector<ValueId> outputs = g_.outputs();
    Builder b(clean);
    for (const ValueId v : kept_) {
      outputs.push_back(turned(v) ? b.transpose(v, to_last(g_.value(v).dims.size())) : v);
    }
    clean.set_outputs(std::move(outputs));
  }
};

}  // namespace

std::optional<Incremental> incremental(const Graph& g, ValueId varied, const std::vector<std::int64_t>& axes,
                                       const Intervals& intervals, bool channels_last, const Evaluator& evaluate) {
  const Analysis analysis(g, varied, axes, intervals);
  if (!analysis.any_windowed()) return std::nullopt;
  return Emitter(g, varied, analysis, channels_last, evaluate).run();
}

IncrementalWork incremental_work(const Graph& g, ValueId varied, const std::vector<std::int64_t>& axes,
                                 const Intervals& intervals) {
  const Analysis analysis(g, varied, axes, intervals);
  return {static_cast<double>(analysis.work()), static_cast<double>(analysis.full_work())};
}

}  // namespace onnxray
