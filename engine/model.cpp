#include "engine/model.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/parallel.h"
#include "engine/base/phases.h"

namespace onnxray {

std::string ValueInfo::shape_text() const {
  if (!has_shape) return "?";
  std::string s = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) s += ", ";
    if (dims[i].value >= 0) s += std::to_string(dims[i].value);
    else s += dims[i].symbol.empty() ? "?" : dims[i].symbol;
  }
  return s + "]";
}

struct Model::State {
  std::shared_ptr<const ModelSource> source;
  const Backend* backend = nullptr;
  Evaluator evaluate;
  std::shared_ptr<PreparedConstants> prepared = std::make_shared<PreparedConstants>();

  // Graphs, plans and what else is remembered by key, most recently used first.
  static constexpr std::size_t kConstantBytes = std::size_t{1} << 30;  // arenas are per run; this bounds weights
  static constexpr std::size_t kMaxPlans = 16, kMaxOthers = 32, kMaxGraphs = 8;
  std::mutex mutex;
  std::list<std::pair<std::string, Remembered>> remembered;
  std::shared_ptr<RunPool> runs;
  std::list<std::pair<std::string, std::shared_ptr<const SpecialisedGraph>>> graphs;
};

Model::Model(std::shared_ptr<const ModelSource> source, const Backend& backend) : state_(std::make_shared<State>()) {
  state_->source = std::move(source);
  state_->backend = &backend;
  state_->evaluate = evaluator_of(backend);
  state_->runs = RunPool::make(backend.device);
}

const std::vector<ValueInfo>& Model::inputs() const { return state_->source->inputs(); }
const std::vector<ValueInfo>& Model::outputs() const { return state_->source->outputs(); }
const Metadata& Model::metadata() const { return state_->source->metadata(); }
std::vector<OperatorUse> Model::operators() const { return state_->source->operators(); }
const Backend& Model::backend() const { return *state_->backend; }
const Evaluator& Model::evaluator() const { return state_->evaluate; }
std::shared_ptr<PreparedConstants> Model::prepared() const { return state_->prepared; }

Model::RowShape Model::row_shape(const ValueInfo& input, const Tensor& given) const {
  RowShape shape;
  shape.one_row = given.dims();
  if (!input.has_shape) {
    shape.carries_rows = given.rank() > 0;
    if (shape.carries_rows) {
      shape.rows = given.dims()[0];
      shape.one_row[0] = 1;
    }
    return shape;
  }
  const auto wrong = [&](const char* hint) {
    fail("input '", input.name, "' has shape ", to_string(given.dims()), ", expected ", input.shape_text(), hint);
  };
  if (given.rank() != input.dims.size()) wrong(" (another number of dimensions)");
  for (std::size_t i = 0; i < input.dims.size(); ++i) {
    const std::int64_t declared = input.dims[i].value, got = given.dims()[i];
    if (i == 0) {
      // One row is what the file declares: an extent of 1 or a symbol is one example; a larger fixed extent belongs
      // to the row as a whole.
      const std::int64_t unit = declared > 0 ? declared : 1;
      if (got == 0 || got % unit != 0) wrong("");
      shape.carries_rows = true;
      shape.rows = got / unit;
      shape.one_row[0] = unit;
    } else if (declared >= 0 && declared != got) {
      wrong("");
    }
  }
  return shape;
}

std::shared_ptr<const SpecialisedGraph> Model::canonical(const Specialisation& request) const {
  std::string key;
  for (const auto& [name, dims] : request.dims) key += name + to_string(dims) + ";";
  for (const auto& [name, rows] : request.rows) key += detail::concat(name, '@', rows.axis, '/', rows.inner, ';');
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    for (auto it = state_->graphs.begin(); it != state_->graphs.end(); ++it) {
      if (it->first != key) continue;
      state_->graphs.splice(state_->graphs.begin(), state_->graphs, it);
      return state_->graphs.front().second;
    }
  }
  auto made = std::make_shared<SpecialisedGraph>(state_->source->specialise(request, state_->evaluate));
  if (made->depends_on_data) return made;
  std::lock_guard<std::mutex> lock(state_->mutex);
  state_->graphs.emplace_front(key, made);
  if (state_->graphs.size() > State::kMaxGraphs) state_->graphs.pop_back();
  return made;
}

std::shared_ptr<const void> Model::remembered(const std::string& key, const std::function<Remembered()>& make) const {
  auto& list = state_->remembered;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    for (auto it = list.begin(); it != list.end(); ++it) {
      if (it->first != key) continue;
      list.splice(list.begin(), list, it);
      return list.front().second.object;
    }
  }
  const Remembered made = make();
  std::list<std::pair<std::string, Remembered>> gone;  // destroyed without the lock
  const std::lock_guard<std::mutex> lock(state_->mutex);
  list.emplace_front(key, made);
  std::size_t bytes = 0, plans = 0, others = 0;
  std::unordered_set<const void*> counted;  // weights are shared
  for (auto it = list.begin(); it != list.end();) {
    for (const Graph* g : it->second.graphs) {
      for (std::size_t v = 0; v < g->value_count(); ++v) {
        const Tensor& t = g->value(static_cast<ValueId>(v)).constant;
        if (t.defined() && counted.insert(t.raw()).second) bytes += t.bytes();
      }
    }
    ++(it->second.plan ? plans : others);
    const bool over = bytes > State::kConstantBytes || plans > State::kMaxPlans || others > State::kMaxOthers;
    const auto next = std::next(it);
    if (it != list.begin() && over) {
      --(it->second.plan ? plans : others);
      gone.splice(gone.end(), list, it);
    }
    it = next;
  }
  return made.object;
}

std::shared_ptr<const Plan> Model::plan(const std::string& key, const std::function<Graph()>& make) const {
  // Host kernels divide their scratch memory among the threads that there are when they are prepared.
  return std::static_pointer_cast<const Plan>(
      remembered(detail::concat("plan ", max_threads(), ' ', key), [&]() -> Remembered {
        const auto made = Plan::compile(make(), *state_->backend, state_->prepared);
        return {made, {&made->graph()}, true};
      }));
}

RunPool::Run Model::run_of(std::shared_ptr<const Plan> plan, std::size_t memory_bytes) const {
  return state_->runs->take(std::move(plan), memory_bytes);
}
std::size_t Model::idle_bytes() const { return state_->runs->idle_bytes(); }
void Model::release_idle() const { (void)state_->runs->release(); }

Precision Model::default_precision() const {
  const auto all = [&](DType t) {
    bool any = false;
    for (const auto* list : {&inputs(), &outputs()}) {
      for (const ValueInfo& v : *list) {
        if (is_float(v.dtype) && v.dtype != t) return false;
        any = any || v.dtype == t;
      }
    }
    return any;
  };
  return all(DType::f64) ? Precision::kFloat64 : Precision::kFloat32;
}

NamedTensors run(const Model& model, const NamedTensors& inputs, std::vector<std::string> values,
                 const RunOptions& options) {
  std::optional<InPhase> phase(Phase::kPrepare);
  Specialisation request;
  std::string key = detail::concat("run ", static_cast<int>(options.precision), ' ');
  for (const ValueInfo& in : model.inputs()) {
    const auto it = inputs.find(in.name);
    ONNXRAY_CHECK(it != inputs.end(), "input '", in.name, "' (", name_of(in.dtype), in.shape_text(), ") was not given");
    ONNXRAY_CHECK(is_float(in.dtype) ? is_float(it->second.dtype()) : it->second.dtype() == in.dtype, "input '",
                  in.name, "' is ", name_of(it->second.dtype()), ", expected ", name_of(in.dtype));
    if (in.has_shape) {
      bool fits = it->second.rank() == in.dims.size();
      for (std::size_t i = 0; fits && i < in.dims.size(); ++i) {
        fits = in.dims[i].value < 0 || in.dims[i].value == it->second.dims()[i];
      }
      ONNXRAY_CHECK(fits, "input '", in.name, "' has shape ", to_string(it->second.dims()), ", expected ",
                    in.shape_text());
    }
    request.dims[in.name] = it->second.dims();
    request.data[in.name] = it->second;
    key += in.name + to_string(it->second.dims());
  }
  for (const auto& [name, t] : inputs) {
    ONNXRAY_CHECK(request.dims.contains(name), "the model has no input '", name, "'");
  }
  if (values.empty()) {
    for (const ValueInfo& out : model.outputs()) values.push_back(out.name);
  }
  const auto canonical = model.canonical(request);
  std::vector<ValueId> wanted;
  for (const std::string& name : values) {
    const ValueId v = canonical->graph.find(name);
    ONNXRAY_CHECK(v != kNoValue, "the model has no value '", name, "'");
    wanted.push_back(v);
    key += detail::concat('>', name.size(), ':', name);
  }
  const auto make = [&] {
    Graph g = extract(canonical->graph, {}, wanted);
    g = prepare_suffix(prepare_forward(g, options.precision, model.evaluator()), model.evaluator());
    return lower_for(model.backend(), g, model.evaluator());
  };
  const auto plan =
      canonical->depends_on_data ? Plan::compile(make(), model.backend(), model.prepared()) : model.plan(key, make);
  const RunPool::Run held = model.run_of(plan);
  PlanRun& plan_run = *held;
  for (std::size_t i = 0; i < plan->graph().inputs().size(); ++i) {
    plan_run.bind(i, inputs.at(plan->graph().value(plan->graph().inputs()[i]).name));
  }
  phase.reset();
  plan_run.execute();
  std::vector<std::size_t> all(values.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  plan_run.fetch(all);
  NamedTensors out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Tensor t = plan_run.output(i);
    // Half-precision values are computed in float32 and handed over in the declared dtype.
    if (options.precision == Precision::kDeclared) t = t.to(canonical->graph.value(wanted[i]).dtype);
    out[values[i]] = t;
  }
  return out;
}

}  // namespace onnxray
