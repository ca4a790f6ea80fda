#include "algorithms/session.h"

#include <algorithm>
#include <utility>

#include "engine/base/phases.h"
#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }

ValueId find_value(const Graph& g, const std::string& name, const char* role) {
  const ValueId v = g.find(name);
  ONNXRAY_CHECK(v != kNoValue, role, " '", name, "': the model has no value of that name (`onnxray info` lists them)");
  return v;
}

template <class T>
bool all_finite(std::span<const T> values) {
  unsigned others = 0;
  for (const T x : values) others |= static_cast<unsigned>(!(x - x == 0));
  return others == 0;
}

bool all_finite(const Tensor& t) {
  if (t.dtype() == DType::f32) return all_finite(t.data<float>());
  if (t.dtype() == DType::f64) return all_finite(t.data<double>());
  const std::vector<double> wide = t.to_doubles();
  return all_finite(std::span<const double>(wide));
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

Specialisation specialisation_of(const Model& model, const Request& request, std::int64_t& examples) {
  Specialisation spec;
  std::map<std::string, Model::RowShape> shapes;
  examples = 1;
  for (const ValueInfo& in : model.inputs()) {
    const auto it = request.inputs.find(in.name);
    ONNXRAY_CHECK(it != request.inputs.end(), "input '", in.name, "' (", name_of(in.dtype), in.shape_text(),
                  ") was not given");
    const Tensor& t = it->second;
    ONNXRAY_CHECK(is_float(in.dtype) ? is_float(t.dtype()) : t.dtype() == in.dtype, "input '", in.name, "' is ",
                  name_of(t.dtype()), ", expected ", name_of(in.dtype));
    if (is_float(in.dtype)) {
      if (!all_finite(t)) throw Error(ErrorKind::kNonFinite, "input '" + in.name + "' holds a NaN or an infinity");
    }
    shapes[in.name] = model.row_shape(in, t);
    examples = std::max(examples, shapes[in.name].rows);
  }
  for (const auto& [name, t] : request.inputs) {
    ONNXRAY_CHECK(shapes.contains(name), "the model has no input '", name, "'");
  }
  for (const auto& [name, shape] : shapes) {
    const Tensor& t = request.inputs.at(name);
    ONNXRAY_CHECK(!shape.carries_rows || shape.rows == examples || shape.rows == 1, "input '", name, "' has ",
                  shape.rows, " rows, another input has ", examples);
    spec.dims[name] = shape.one_row;
    const bool carries = shape.carries_rows && shape.rows == examples;
    if (carries) spec.rows[name] = RowMap::rows(0, shape.one_row.empty() ? 1 : shape.one_row[0]);
    if (examples == 1) spec.data[name] = t;
  }
  return spec;
}

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

struct Session::Asked {
  std::vector<std::string> vary, from;
  bool cut_at_from = false, any_dtype = false;
};

std::string keyed(const char* role, const std::string& name) {
  return detail::concat('|', role, ' ', name.size(), ':', name);
}

Session::Session(const Model& model, const Request& request, bool cut_at_from, bool any_dtype)
    : model_(model), request_(request), precision_(request.compute.precision) {
  const InPhase phase(Phase::kPrepare);
  if (precision_ == Precision::kDeclared) precision_ = model.default_precision();

  const Specialisation spec = specialisation_of(model, request, examples_);
  inputs_ = request.inputs;
  const auto canonical = model.canonical(spec);
  const Graph& g = canonical->graph;
  if (canonical->depends_on_data) {
    notices_.push_back("shapes depend on the input's contents (first at " + canonical->first_data_dependence +
                       "): the graph for the given input serves every row");
  }
  resolve_targets(g);

  // Values: varied, read, asked.
  Asked asked{.vary = {}, .from = request.from, .cut_at_from = cut_at_from, .any_dtype = any_dtype};
  std::vector<std::string>& from = asked.from;
  std::vector<std::string> float_inputs;
  for (const ValueInfo& in : model.inputs()) {
    if (is_float(in.dtype)) float_inputs.push_back(in.name);
  }
  if (from.empty()) from = float_inputs;
  if (from.empty() && any_dtype) {
    for (const ValueInfo& in : model.inputs()) from.push_back(in.name);
  }
  ONNXRAY_CHECK(!from.empty(),
                "the model has no float input to attribute to; name a value with `from` (--from), e.g. "
                "the output of its embedding lookup");
  // Without a cut the actual inputs are the rows, token ids included.
  asked.vary = from;
  ONNXRAY_CHECK(!cut_at_from || request.vary.empty() || request.vary == from,
                "this method varies what it attributes to (`from`); `vary` (--vary) names something else");
  if (!cut_at_from && !request.vary.empty()) {
    asked.vary = request.vary;
  } else if (!cut_at_from) {
    asked.vary.clear();
    for (const ValueInfo& in : model.inputs()) {
      if (examples_ == 1 || spec.rows.contains(in.name)) asked.vary.push_back(in.name);
    }
  }
  if (!canonical->depends_on_data) {
    key_ = detail::concat("p", static_cast<int>(precision_), examples_ > 1 ? " many" : "", cut_at_from ? " cut" : "",
                          any_dtype ? " any" : "");
    for (const auto& [name, dims] : spec.dims) key_ += keyed("in", name) + to_string(dims);
    for (const auto& [name, rows] : spec.rows) key_ += keyed("rows", name);
    for (const std::string& name : asked.vary) key_ += keyed("vary", name);
    for (const std::string& name : asked.from) key_ += keyed("from", name);
    for (const Target& t : targets_) key_ += keyed(t.log_probability ? "log" : "to", t.value);
  }
  const auto make = [&] { return structure_of(g, asked); };
  structure_ =
      key_.empty() ? std::make_shared<const Structure>(make()) : model.shared<Structure>("session " + key_, make);
  batched_ = structure_->batched;
  vary_ = structure_->vary;
  held_ = structure_->held;
  from_ = structure_->from;
  suffix_ = structure_->suffix;
  notices_.insert(notices_.end(), structure_->notices.begin(), structure_->notices.end());
  if (!batched_ && examples_ > 1) return;  // the caller splits the request into single examples

  make_seeds();
  for (CutValue& c : vary_) c.actual = run_prefix(c.name, c);
  for (CutValue& c : held_) c.actual = run_prefix(c.name, c);
  for (std::size_t i = 0; i < from_.size(); ++i) {
    if (cut_at_from) from_[i].actual = vary_[i].actual;
  }
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

Tensor Session::run_prefix(const std::string& value, const CutValue& shape) const {
  const bool shared = !shape.rows.is_rows();
  Dims dims = shape.row_dims;
  if (!shared || !batched_) dims.insert(dims.begin(), shared ? 1 : examples_);
  const Graph& whole = structure_->whole;
  const ValueId v = whole.find(value);
  ONNXRAY_ASSERT(v != kNoValue, value);
  if (whole.value(v).producer < 0) {
    const Tensor& given = inputs_.at(value);
    // Inputs carry rows on axis 0.
    return given.to(shape.dtype).reshaped(shared && batched_ ? shape.one_row : dims);
  }
  // One example at a time: the prefix runs once.
  const auto make = [&] {
    Graph g = extract(whole, {}, {v});
    Rewriter rw(g);
    for (const Node& node : g.nodes()) rw.copy(node);
    const ValueId out = rows_first(rw.b, rw(g.outputs()[0]), shape.rows, false);
    Graph h = rw.finish();
    h.set_outputs({out});
    return lower_for(model_.backend(), prepare_suffix(h, model_.evaluator()), model_.evaluator());
  };
  // The value alone, whatever else the request asks for, would be the same plan; the key says more than it must.
  const auto plan = key_.empty() ? Plan::compile(make(), model_.backend(), model_.prepared())
                                 : model_.plan(key_ + keyed("prefix", value), make);
  notice(plan->fallback_notice());
  const RunPool::Run held = model_.run_of(plan, request_.compute.memory_bytes);
  PlanRun& run = *held;
  std::vector<Tensor> parts;
  for (std::int64_t e = 0; e < (shared ? 1 : examples_); ++e) {
    for (std::size_t i = 0; i < plan->graph().inputs().size(); ++i) {
      const Value& in = plan->graph().value(plan->graph().inputs()[i]);
      const Tensor& given = inputs_.at(in.name);
      const bool carries = in.rows.is_rows() && examples_ > 1;
      const std::int64_t unit = in.dims.empty() ? 1 : in.dims[0];
      run.bind(i, carries ? given.rows(e * unit, (e + 1) * unit) : given);
    }
    run.execute();
    parts.push_back(run.output(0));
  }
  const Tensor all = stack_rows(parts);
  return shared && batched_ ? all.reshaped(shape.one_row) : all.reshaped(dims);
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

Session Session::cut_again(const Cut& cut) const {
  Session moved = *this;
  moved.vary_ = cut.vary;
  moved.from_ = cut.vary;
  moved.suffix_ = cut.suffix;
  for (const CutValue& c : cut.vary) {
    if (!key_.empty()) moved.key_ += keyed("cut again", c.name);
  }
  return moved;
}

void Session::set_actual(std::vector<Tensor> actual) {
  for (std::size_t i = 0; i < vary_.size(); ++i) vary_[i].actual = actual.at(i);
  from_ = vary_;
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

Tensor Session::actual_of(const std::string& value) const {
  for (const CutValue& c : vary_) {
    if (c.name == value) return c.actual;
  }
  for (const CutValue& c : from_) {
    if (c.name == value) return run_prefix(value, c);
  }
  fail_internal("actual_of: ", value);
}

}  // namespace onnxray
