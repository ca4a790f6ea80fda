// What follows from the structure of a request alone, whatever its contents: where the canonical graph is cut, how its
// values carry rows, and which of them depend on which.
#include <algorithm>
#include <numeric>
#include <utility>

#include "algorithms/session.h"
#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }

ValueId find_value(const Graph& g, const std::string& name, const char* role) {
  const ValueId v = g.find(name);
  ONNXRAY_CHECK(v != kNoValue, role, " '", name, "': the model has no value of that name (`onnxray info` lists them)");
  return v;
}

// Row maps of all values of a one-row graph, or none if the rows cannot be batched.
std::optional<std::vector<RowMap>> row_maps(const Graph& g, std::string& mixed) {
  Batched probe = batch_rows(g, 2);
  if (!probe.graph) {
    mixed = probe.mixed;
    return std::nullopt;
  }
  std::vector<RowMap> maps(g.value_count());
  for (std::size_t v = 0; v < maps.size(); ++v) {
    if (probe.values[v] != kNoValue) maps[v] = probe.graph->value(probe.values[v]).rows;
  }
  return maps;
}

}  // namespace

Dims row_dims_of_value(const Model& model, const Request& request, const std::string& value) {
  std::int64_t examples = 1;
  const auto canonical = model.canonical(specialisation_of(model, request, examples));
  const Graph g = extract(canonical->graph, {}, {find_value(canonical->graph, value, "of")});
  std::string mixed;
  const auto maps = row_maps(g, mixed);
  const ValueId v = g.outputs()[0];
  Dims dims = row_dims_of(g.value(v).dims, maps ? (*maps)[index_of(v)] : RowMap::none());
  if (!maps && !dims.empty() && dims[0] == 1) dims.erase(dims.begin());
  return dims;
}

Session::Structure Session::structure_of(const Graph& g, const Asked& asked) const {
  const std::vector<std::string>&vary = asked.vary, &from = asked.from;
  Structure made;
  Graph& whole = made.whole;
  std::vector<ValueId> named;
  for (const std::string& name : vary) named.push_back(find_value(g, name, asked.cut_at_from ? "from" : "vary"));
  for (const std::string& name : from) named.push_back(find_value(g, name, "from"));
  for (const Target& t : targets_) named.push_back(find_value(g, t.value, "to"));
  for (const std::string& name : from) {
    const DType t = g.value(g.find(name)).dtype;
    ONNXRAY_CHECK(asked.any_dtype || is_float(t), "from '", name, "' is ", name_of(t),
                  ": only float values can be attributed to");
  }
  whole = prepare_forward(extract(g, {}, named), precision_, model_.evaluator());
  const std::vector<ValueId> outs = whole.outputs();
  const std::vector<ValueId> vary_ids(outs.begin(), outs.begin() + static_cast<std::ptrdiff_t>(vary.size()));
  const std::vector<ValueId> from_ids(outs.begin() + static_cast<std::ptrdiff_t>(vary.size()),
                                      outs.begin() + static_cast<std::ptrdiff_t>(vary.size() + from.size()));
  const std::vector<ValueId> to_ids(outs.begin() + static_cast<std::ptrdiff_t>(vary.size() + from.size()), outs.end());

  std::string mixed;
  auto maps = row_maps(whole, mixed);
  if (!maps) {
    made.batched = false;
    maps = std::vector<RowMap>(whole.value_count());
    for (const ValueId v : whole.inputs()) (*maps)[index_of(v)] = whole.value(v).rows;
    made.notices.push_back("rows run one at a time: they mix at " + mixed);
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    ONNXRAY_CHECK(!whole.is_constant(from_ids[i]), "from '", from[i], "' is a constant of the model");
  }

  // What is computed from the varied values, and what the part behind the cut reads besides them.
  std::vector<char> downstream(whole.value_count(), 0);
  for (const ValueId v : vary_ids) downstream[index_of(v)] = 1;
  for (const Node& node : whole.nodes()) {
    bool after = false;
    for (const ValueId v : node.inputs) after = after || (v != kNoValue && downstream[index_of(v)] != 0);
    for (const ValueId v : node.outputs) downstream[index_of(v)] |= static_cast<char>(after);
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    ONNXRAY_CHECK(downstream[index_of(from_ids[i])] != 0, "from '", from[i], "' does not depend on what varies",
                  vary.empty() ? "" : ", '" + vary[0] + (vary.size() > 1 ? "' and others" : "'"));
  }
  for (std::size_t i = 0; i < to_ids.size(); ++i) {
    bool any = downstream[index_of(to_ids[i])] != 0;
    ONNXRAY_CHECK(any, "'", targets_[i].value, "' does not depend on ",
                  from.size() == 1 ? "'" + from[0] + "'" : std::string("the values to attribute to"));
  }
  std::vector<char> live(whole.value_count(), 0), is_cut(whole.value_count(), 0);
  for (const ValueId v : vary_ids) is_cut[index_of(v)] = 1;
  for (const ValueId v : to_ids) live[index_of(v)] = 1;
  for (const ValueId v : from_ids) live[index_of(v)] = 1;
  std::vector<ValueId> held;
  std::vector<char> is_held(whole.value_count(), 0);
  const auto hold = [&](ValueId v) {
    if (is_held[index_of(v)] == 0 && is_cut[index_of(v)] == 0) held.push_back(v);
    is_held[index_of(v)] = 1;
  };
  for (std::size_t n = whole.nodes().size(); n-- > 0;) {
    const Node& node = whole.nodes()[n];
    bool needed = false;
    for (const ValueId v : node.outputs) {
      needed = needed || (live[index_of(v)] != 0 && is_cut[index_of(v)] == 0 && downstream[index_of(v)] != 0);
    }
    if (!needed) continue;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || whole.is_constant(v)) continue;
      if (downstream[index_of(v)] != 0) live[index_of(v)] = 1;
      else hold(v);
    }
  }
  std::sort(held.begin(), held.end());

  const auto describe = [&](ValueId v, const std::string& name) {
    CutValue c;
    c.name = name;
    c.dtype = whole.value(v).dtype;
    c.one_row = whole.value(v).dims;
    c.rows = (*maps)[index_of(v)];
    c.row_dims = row_dims_of(c.one_row, c.rows);
    return c;
  };
  for (std::size_t i = 0; i < vary.size(); ++i) made.vary.push_back(describe(vary_ids[i], vary[i]));
  for (const ValueId v : held) made.held.push_back(describe(v, whole.label(v)));
  for (std::size_t i = 0; i < from.size(); ++i) made.from.push_back(describe(from_ids[i], from[i]));
  for (const CutValue& c : made.vary) {
    ONNXRAY_CHECK(!made.batched || c.rows.is_rows(), "'", c.name, "' does not carry rows");
  }
  made.maps = *maps;
  if (!made.batched && examples_ > 1) return made;

  // The suffix; names of unnamed held values are their labels, unique in the graph.
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (whole.value(held[i]).name.empty()) whole.set_name(held[i], whole.label(held[i]));
  }
  std::vector<ValueId> cut = vary_ids, asked_values = to_ids;
  cut.insert(cut.end(), held.begin(), held.end());
  asked_values.insert(asked_values.end(), from_ids.begin(), from_ids.end());
  for (std::size_t v = 0; v < maps->size(); ++v) whole.value(static_cast<ValueId>(v)).rows = (*maps)[v];
  Graph suffix = prepare_suffix(extract(whole, cut, asked_values), model_.evaluator());
  ONNXRAY_ASSERT(suffix.inputs().size() == cut.size(), "the suffix reads values that were not cut");
  made.suffix = std::make_shared<const Graph>(std::move(suffix));
  return made;
}

Session::Cut Session::moved_cut(Graph suffix, const std::vector<std::string>& names) const {
  std::string mixed;
  std::optional<std::vector<RowMap>> maps;
  if (batched_) maps = row_maps(suffix, mixed);
  ONNXRAY_ASSERT(!batched_ || maps.has_value(), "rows mix behind the moved cut at ", mixed);
  ONNXRAY_ASSERT(suffix.inputs().size() == names.size() + held_.size());
  Cut cut;
  cut.vary.resize(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ValueId v = suffix.inputs()[i];
    CutValue& c = cut.vary[i];
    c.name = names[i];
    c.dtype = suffix.value(v).dtype;
    c.one_row = suffix.value(v).dims;
    c.rows = maps ? (*maps)[index_of(v)] : suffix.value(v).rows;
    c.row_dims = row_dims_of(c.one_row, c.rows);
  }
  cut.suffix = std::make_shared<const Graph>(std::move(suffix));
  return cut;
}

std::vector<char> Session::reached(const std::vector<ValueId>& start, const std::vector<ValueId>& blocked) const {
  std::vector<char> stop(suffix_->value_count(), 0), on(suffix_->value_count(), 0);
  for (const ValueId v : blocked) stop[index_of(v)] = 1;
  for (const ValueId v : start) on[index_of(v)] = stop[index_of(v)] == 0;
  for (const Node& node : suffix_->nodes()) {
    bool any = false;
    for (const ValueId v : node.inputs) any = any || (v != kNoValue && on[index_of(v)] != 0);
    for (const ValueId v : node.outputs) {
      if (any && stop[index_of(v)] == 0) on[index_of(v)] = 1;
    }
  }
  return on;
}

std::string Session::bypass(const std::vector<std::size_t>& which) const {
  std::vector<ValueId> cut;
  for (const std::size_t i : which) cut.push_back(from_output(i));
  const std::vector<ValueId>& inputs = suffix_->inputs();
  const std::vector<char> around =
      reached({inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(vary_.size())}, cut);
  ValueId target = kNoValue;
  for (std::size_t t = 0; t < targets_.size(); ++t) {
    if (around[index_of(suffix_->outputs()[t])] != 0) target = suffix_->outputs()[t];
  }
  if (target == kNoValue) return "";
  // Where the bypass joins what comes through the cut, on the way to the scalar.
  const std::vector<char> through = reached(cut, {});
  for (const Node& node : suffix_->nodes()) {
    bool joins = false;
    for (const ValueId v : node.inputs) joins = joins || (v != kNoValue && through[index_of(v)] != 0);
    if (!joins || reached(node.outputs, {})[index_of(target)] == 0) continue;
    for (const ValueId v : node.inputs) {
      if (v != kNoValue && around[index_of(v)] != 0) return suffix_->label(v);
    }
  }
  return suffix_->label(target);
}

std::string Session::bypass() const {
  std::vector<std::size_t> all(from_.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return bypass(all);
}

bool Session::are_parallel(const std::vector<std::size_t>& which) const {
  for (const std::size_t i : which) {
    const std::vector<char> after = reached({from_output(i)}, {});
    for (const std::size_t j : which) {
      if (i != j && after[index_of(from_output(j))] != 0) return false;
    }
  }
  return true;
}

void Session::expect_between() const {
  for (std::size_t i = 0; i < from_.size(); ++i) {
    const bool input = std::any_of(model_.inputs().begin(), model_.inputs().end(),
                                   [&](const ValueInfo& in) { return in.name == from_[i].name; });
    if (input) continue;
    const std::vector<char> after = reached({from_output(i)}, {});
    bool any = false;
    for (std::size_t t = 0; t < targets_.size(); ++t) any = any || after[index_of(suffix_->outputs()[t])] != 0;
    ONNXRAY_CHECK(any, "'", targets_[0].value, "' does not depend on '", from_[i].name, "'");
  }
}

}  // namespace onnxray
