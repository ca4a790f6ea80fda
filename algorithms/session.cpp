// What a session holds of its request: inputs checked, what varies and what is asked, actual contents at the cut.
#include "algorithms/session.h"

#include <algorithm>
#include <utility>

#include "engine/base/phases.h"
#include "engine/op.h"

namespace onnxray {
namespace {

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
