#include "algorithms/attribution/spatial_values.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The positions behind a reshape: axes that stay whole move along, a whole grid may become one axis and back.
Positions reshaped(const Positions& p, const Dims& in, const Dims& out) {
  Positions r{.axes = {}, .grid = p.grid, .prefix = p.prefix};
  const auto kept = [](const Dims& d, std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> axes;
    for (std::size_t i = begin; i < end; ++i) {
      if (d[i] != 1) axes.push_back(static_cast<std::int64_t>(i));
    }
    return axes;
  };
  std::size_t i = 0, j = 0;
  while (i < in.size() && j < out.size()) {
    // The smallest groups of axes with equal products.
    std::size_t i_end = i + 1, j_end = j + 1;
    std::int64_t a = in[i], b = out[j];
    while (a != b) {
      if (a < b ? i_end == in.size() : j_end == out.size()) return {};
      if (a < b) a *= in[i_end++];
      else b *= out[j_end++];
    }
    const std::vector<std::int64_t> from = kept(in, i, i_end), to = kept(out, j, j_end);
    std::vector<std::int64_t> spatial;
    for (const std::int64_t axis : from) {
      if (std::find(p.axes.begin(), p.axes.end(), axis) != p.axes.end()) spatial.push_back(axis);
    }
    if (!spatial.empty()) {
      if (spatial != from) return {};  // merged with channels
      const bool same = from.size() == to.size();
      for (std::size_t k = 0; same && k < to.size(); ++k) {
        if (in[at(from[k])] != out[at(to[k])]) return {};
      }
      const bool flattens = from == p.axes && to.size() == 1;
      const bool unflattens =
          p.flattened() && p.prefix == 0 && to.size() == p.grid.size() &&
          std::equal(to.begin(), to.end(), p.grid.begin(),
                     [&](std::int64_t axis, std::int64_t extent) { return out[at(axis)] == extent; });
      if (!same && !flattens && !unflattens) return {};
      r.axes.insert(r.axes.end(), to.begin(), to.end());
    }
    i = i_end;
    j = j_end;
  }
  return r.axes.size() == p.axes.size() || r.axes.size() == 1 || r.axes.size() == p.grid.size() ? r : Positions{};
}

// Axes as they are, extents as the output has them: slices, pads, pools without keeping count.
Positions with_extents(Positions p, const Dims& out) {
  for (const std::int64_t axis : p.axes) {
    if (at(axis) >= out.size()) return {};
  }
  if (p.flattened()) {
    const std::int64_t extent = out[at(p.axes[0])], whole = count_of(p.grid);
    if (extent == whole) p.prefix = 0;  // the class tokens were cut off
    else if (extent != whole + p.prefix) return {};
    return p;
  }
  for (std::size_t k = 0; k < p.axes.size(); ++k) p.grid[k] = out[at(p.axes[k])];
  return count_of(p.grid) > 1 ? p : Positions{};
}

// h x w with the given proportions and product n; empty if there is none.
Dims grid_of(std::int64_t n, const Dims& picture) {
  if (n < 4 || picture.size() != 2) return {};
  const double ratio = static_cast<double>(picture[0]) / static_cast<double>(picture[1]);
  const auto h = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(n) * ratio)));
  if (h < 1 || n % h != 0) return {};
  const std::int64_t w = n / h;
  return std::abs(h * picture[1] - w * picture[0]) < std::max(picture[0], picture[1]) ? Dims{h, w} : Dims{};
}

// Tokens before a grid: none, a class token, class and distillation, class and four registers.
constexpr std::int64_t kPrefixes[] = {0, 1, 2, 5};

}  // namespace

SpatialValues::SpatialValues(const Model& model, const Request& request) {
  std::int64_t examples = 1;
  const auto canonical = model.canonical(specialisation_of(model, request, examples));
  std::vector<ValueId> asked;
  const auto ask = [&](const std::string& name) {
    const ValueId v = canonical->graph.find(name);
    ONNXRAY_CHECK(v != kNoValue, "to '", name, "': the model has no value of that name (`onnxray info` lists them)");
    if (std::find(asked.begin(), asked.end(), v) == asked.end()) asked.push_back(v);
  };
  const std::string output = before_softmax(canonical->graph, model.outputs().at(0).name);
  for (const Scalar& s : request.to) {
    for (const Term& t : s.terms) ask(t.value.empty() ? output : t.value);
  }
  if (asked.empty()) ask(output);
  const std::size_t explained = asked.size();
  // Names of what is to be drawn must survive the recognition of composites.
  for (const std::string& name : request.from) {
    const ValueId v = canonical->graph.find(name);
    if (v != kNoValue && std::find(asked.begin(), asked.end(), v) == asked.end()) asked.push_back(v);
  }
  graph_ = prepare_forward(extract(canonical->graph, {}, asked), Precision::kDeclared, model.evaluator());
  std::vector<ValueId> outputs = graph_.outputs();
  outputs.resize(explained);
  graph_.set_outputs(outputs);
  for (const ValueInfo& in : model.inputs()) {
    const ValueId v = graph_.find(in.name);
    if (v == kNoValue || !picture_.empty() || !is_float(in.dtype)) continue;
    const Dims& d = graph_.value(v).dims;
    if (d.size() != 4) continue;
    picture_ = d[3] <= 4 && d[1] > 4 ? Dims{d[1], d[2]} : Dims{d[2], d[3]};
  }
  follow();
}

void SpatialValues::follow() {
  positions_.resize(graph_.value_count());
  varies_.assign(graph_.value_count(), 0);
  for (const ValueId v : graph_.inputs()) varies_[at(v)] = 1;
  for (const Node& node : graph_.nodes()) {
    bool varies = false;
    for (const ValueId v : node.inputs) varies = varies || (v != kNoValue && varies_[at(v)] != 0);
    if (!varies) continue;
    const Positions p = after(node);
    for (const ValueId v : node.outputs) {
      varies_[at(v)] = 1;
      // Further outputs (masks, indices) have other shapes.
      if (!p.axes.empty()) positions_[at(v)] = with_extents(p, graph_.value(v).dims);
    }
  }
}

Positions SpatialValues::after(const Node& node) const {
  const std::string& op = node.op->name;
  const Dims& out = graph_.value(node.outputs[0]).dims;
  const auto dims = [&](std::size_t i) -> const Dims& { return graph_.value(node.inputs[i]).dims; };
  const auto of = [&](std::size_t i) {
    return i < node.inputs.size() && node.inputs[i] != kNoValue ? positions_[at(node.inputs[i])] : Positions{};
  };
  if (op == "conv" || op == "conv_input_grad" || op == "max_pool" || op == "avg_pool") {
    Positions p;
    for (std::size_t i = 2; i < out.size(); ++i) {
      p.axes.push_back(static_cast<std::int64_t>(i));
      p.grid.push_back(out[i]);
    }
    return p;
  }
  if (op == "gather" && graph_.is_constant(node.inputs[0]) && node.attrs.integer("axis", 0) == 0) {
    // Rows of a table by token: [1, T] -> [1, T, C].
    const Dims& index = dims(1);
    if (index.size() == 2 && index[1] > 1) return {.axes = {1}, .grid = {index[1]}};
    return {};
  }
  if (op == "matmul") {
    const bool left = varies_[at(node.inputs[0])] != 0, right = varies_[at(node.inputs[1])] != 0;
    if (left == right) return {};
    const Positions p = of(left ? 0 : 1);
    const Dims& in = dims(left ? 0 : 1);
    if (p.axes.empty() || in.size() != out.size() || node.attrs.integer(left ? "trans_a" : "trans_b", 0) != 0)
      return {};
    // The axis that is summed over: the last of the left operand, the last but one of the right.
    const auto summed = static_cast<std::int64_t>(in.size()) - (left ? 1 : 2);
    return std::find(p.axes.begin(), p.axes.end(), summed) == p.axes.end() ? p : Positions{};
  }
  if (op == "transpose") {
    Positions p = of(0);
    const std::vector<std::int64_t> perm = node.attrs.ints("perm");
    for (std::int64_t& axis : p.axes) axis = std::find(perm.begin(), perm.end(), axis) - perm.begin();
    return p;
  }
  if (op == "reshape") return of(0).axes.empty() ? Positions{} : reshaped(of(0), dims(0), out);
  if (op == "concat") {
    const std::int64_t axis = node.attrs.integer("axis", 0);
    std::int64_t before = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      Positions p = of(i);
      if (!p.axes.empty()) {
        if (p.axes == std::vector<std::int64_t>{axis} && (p.flattened() || before > 0)) {
          p.prefix += before;
          return count_of(p.grid) + p.prefix == out[at(axis)] ? p : Positions{};
        }
        return with_extents(p, out);
      }
      before += dims(i)[at(axis)];
    }
    return {};
  }
  if (node.op->traits.elementwise) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      Positions p = of(i);
      if (p.axes.empty()) continue;
      const auto shift = static_cast<std::int64_t>(out.size() - dims(i).size());
      bool whole = true;
      for (std::int64_t& axis : p.axes) {
        whole = whole && out[at(axis + shift)] == dims(i)[at(axis)];
        axis += shift;
      }
      if (whole) return p;
    }
    return {};
  }
  static const std::set<std::string, std::less<>> keeps_axes = {
      "batch_norm", "layer_norm", "rms_norm", "softmax", "log_softmax", "slice",       "split",
      "pad",        "resample",   "expand",   "cumsum",  "reduce_sum",  "reduce_mean", "reduce_max"};
  if (keeps_axes.contains(op) && out.size() == dims(0).size()) return of(0);
  return {};
}

bool SpatialValues::can_be_mapped(ValueId v) const {
  const Value& value = graph_.value(v);
  const Positions& p = positions_[at(v)];
  if (p.axes.empty() || value.name.empty() || !is_float(value.dtype) || value.producer < 0) return false;
  // Channels on one axis at most: no heads beside them.
  std::int64_t others = 0;
  for (std::size_t i = 0; i < value.dims.size(); ++i) {
    const bool spatial = std::find(p.axes.begin(), p.axes.end(), static_cast<std::int64_t>(i)) != p.axes.end();
    others += !spatial && value.dims[i] != 1 ? 1 : 0;
  }
  const auto& outs = graph_.outputs();
  return others == 1 && std::find(outs.begin(), outs.end(), v) == outs.end();
}

// Some node behind v reads every position: it has positions before it and none after it, and does not just select.
bool SpatialValues::all_positions_count(ValueId v) const {
  static const std::set<std::string, std::less<>> selects = {"slice", "gather", "split", "gather_elements",
                                                             "gather_nd"};
  std::vector<char> live(graph_.value_count(), 0), behind(graph_.value_count(), 0);
  for (const ValueId o : graph_.outputs()) live[at(o)] = 1;
  for (std::size_t n = graph_.nodes().size(); n-- > 0;) {
    const Node& node = graph_.nodes()[n];
    bool needed = false;
    for (const ValueId o : node.outputs) needed = needed || live[at(o)] != 0;
    for (const ValueId i : node.inputs) {
      if (needed && i != kNoValue) live[at(i)] = 1;
    }
  }
  behind[at(v)] = 1;
  for (const Node& node : graph_.nodes()) {
    bool reads = false, positions = false, used = false;
    for (const ValueId i : node.inputs) {
      if (i == kNoValue || behind[at(i)] == 0) continue;
      reads = true;
      positions = positions || !positions_[at(i)].axes.empty();
    }
    for (const ValueId o : node.outputs) used = used || live[at(o)] != 0;
    if (!reads || !used) continue;
    if (positions && positions_[at(node.outputs[0])].axes.empty() && !selects.contains(node.op->name)) return true;
    for (const ValueId o : node.outputs) behind[at(o)] = 1;
  }
  // A map that is itself explained.
  return std::any_of(graph_.outputs().begin(), graph_.outputs().end(),
                     [&](ValueId o) { return behind[at(o)] != 0 && !positions_[at(o)].axes.empty(); });
}

// No explained value depends on an input once v is held.
bool SpatialValues::on_every_path(ValueId v) const {
  std::vector<char> reached(graph_.value_count(), 0);
  for (const ValueId i : graph_.inputs()) reached[at(i)] = 1;
  for (const Node& node : graph_.nodes()) {
    bool any = false;
    for (const ValueId i : node.inputs) any = any || (i != kNoValue && reached[at(i)] != 0);
    for (const ValueId o : node.outputs) reached[at(o)] = static_cast<char>(any && o != v);
  }
  return std::none_of(graph_.outputs().begin(), graph_.outputs().end(), [&](ValueId o) { return reached[at(o)] != 0; });
}

std::string SpatialValues::last() const {
  ValueId otherwise = kNoValue;
  for (auto v = static_cast<ValueId>(graph_.value_count()); v-- > 0;) {
    if (!can_be_mapped(v) || !all_positions_count(v)) continue;
    if (otherwise == kNoValue) otherwise = v;
    if (on_every_path(v)) return graph_.value(v).name;
  }
  ONNXRAY_CHECK(otherwise != kNoValue,
                "no value of the model is a map over positions before what is explained: name a layer (--from; "
                "`onnxray info` lists the values)");
  return graph_.value(otherwise).name;
}

SpatialLayout SpatialValues::layout_of(const CutValue& value, const LayoutOptions& options) const {
  const Dims& row = value.row_dims;
  const auto rank = static_cast<std::int64_t>(row.size());
  ONNXRAY_CHECK(rank >= 1, "'", value.name, "' is one number per row: a class activation map needs channels");
  SpatialLayout l;
  const auto finish = [&] {
    l.channels = row[at(l.channel_axis)];
    return l;
  };
  const auto tokens = [&](std::int64_t axis) {
    l.channel_axis = 1 - axis;
    l.axes = {axis};
    const std::int64_t count = row[at(axis)];
    if (!options.token_grid.empty()) {
      l.grid = options.token_grid;
      l.prefix = count - count_of(l.grid);
      ONNXRAY_CHECK(l.prefix >= 0, "a token grid ", to_string(l.grid), " does not fit the ", count, " tokens of '",
                    value.name, "'");
      return true;
    }
    for (const std::int64_t prefix : kPrefixes) {
      l.grid = grid_of(count - prefix, picture_);
      l.prefix = prefix;
      if (!l.grid.empty()) return true;
    }
    return false;
  };
  // The rows of values whose rows cannot be told keep the batch axis.
  const std::int64_t first = !value.rows.is_rows() && rank > 1 && row[0] == 1 ? 1 : 0;
  if (options.layout == "channels_last") {
    l.channel_axis = rank - 1;
    if (rank - first == 2 && first == 0 && (!options.token_grid.empty() || !picture_.empty()) && tokens(0)) {
      return finish();
    }
    l.axes.clear();
    l.grid.clear();
    l.prefix = 0;
    l.channel_axis = rank - 1;
    for (std::int64_t i = first; i + 1 < rank; ++i) {
      l.axes.push_back(i);
      l.grid.push_back(row[at(i)]);
    }
    return finish();
  }
  const ValueId v = graph_.find(value.name);
  if (options.layout == "auto" && options.token_grid.empty() && v != kNoValue && !positions_[at(v)].axes.empty() &&
      can_be_mapped(v)) {
    const Positions& p = positions_[at(v)];
    // From the graph's axes to the row's: the row axis is taken out, or, with blocks of rows, comes first.
    const RowMap& rows = value.rows;
    const bool block = rows.is_rows() && (rows.inner != 1 || rows.outer != 1);
    const auto moved = [&](std::int64_t axis) {
      if (!rows.is_rows()) return axis;
      if (block) return axis == rows.axis ? std::int64_t{0} : axis < rows.axis ? axis + 1 : axis;
      return axis > rows.axis ? axis - 1 : axis;
    };
    l.channel_axis = -1;
    for (const std::int64_t axis : p.axes) l.axes.push_back(moved(axis));
    l.grid = p.grid;
    l.prefix = p.prefix;
    for (std::int64_t i = 0; i < rank; ++i) {
      if (std::find(l.axes.begin(), l.axes.end(), i) != l.axes.end()) continue;
      if (l.channel_axis < 0 || row[at(i)] != 1) l.channel_axis = i;
    }
    if (l.channel_axis >= 0) return finish();
    l = {};
  }
  if (options.layout == "auto" && rank == 2 && first == 0 && (!options.token_grid.empty() || !picture_.empty())) {
    if (tokens(0) || tokens(1)) return finish();
    l = {};
  }
  ONNXRAY_CHECK(options.token_grid.empty(), "a token grid is for values of shape [tokens, channels], '", value.name,
                "' has ", to_string(row));
  l.channel_axis = first;
  for (std::int64_t i = first + 1; i < rank; ++i) {
    l.axes.push_back(i);
    l.grid.push_back(row[at(i)]);
  }
  return finish();
}

}  // namespace onnxray
