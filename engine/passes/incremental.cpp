// Writes the two graphs of incremental rows, as the analysis has decided.
#include "engine/passes/incremental.h"

#include <map>
#include <tuple>

#include "engine/passes/channels_last.h"
#include "engine/passes/incremental_analysis.h"

namespace onnxray {
namespace {

using Ints = std::vector<std::int64_t>;
using Kind = ValueInRows::Kind;

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }
std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// Writes both graphs.
class Emitter {
 public:
  Emitter(const Graph& g, ValueId varied, const IncrementalAnalysis& analysis, bool channels_last,
          const Evaluator& evaluate)
      : g_(g), analysis_(analysis), channels_last_(channels_last), b_(out_.rows, evaluate) {
    const Rectangle& r = analysis.values[index_of(varied)].rectangle;
    out_.patch = r.size;
    out_.axes = r.axes;
    out_.work = analysis.work;
    out_.full_work = analysis.full_work;
    out_.switches_at = analysis.switches_at;
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
    for (const NodeInRows& state : analysis.nodes) {
      for (const auto& read : state.reads) {
        if (read) (void)places(read->places);
      }
    }
    for (const ValueInRows& state : analysis.values) {
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
  const IncrementalAnalysis& analysis_;
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
      const NodeInRows& state = analysis_.nodes[n];
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

  void emit(const Node& node, const NodeInRows& state) {
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
  const IncrementalAnalysis analysis = analyse_incremental(g, varied, axes, intervals);
  if (!analysis.any_windowed) return std::nullopt;
  return Emitter(g, varied, analysis, channels_last, evaluate).run();
}

}  // namespace onnxray
