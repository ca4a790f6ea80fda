#include "algorithms/row_program.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "algorithms/out_of_memory.h"
#include "algorithms/row_graph.h"
#include "engine/base/phases.h"

namespace onnxray {

RowProgram::RowProgram(const Session& session, RowSpec spec, const std::vector<Tensor>& baselines, std::int64_t total)
    : session_(session), spec_(std::move(spec)), scalars_(static_cast<std::int64_t>(session.to().size())) {
  for (std::size_t i = 0; i < baselines.size(); ++i) baselines_.push_back(baselines[i].to(session.vary()[i].dtype));
  const InPhase phase(Phase::kPrepare);
  const ComputeOptions& options = session.request().compute;
  const Model& model = session.model();
  std::vector<std::string> cotangents;
  for (const Session::Target& t : session.targets()) cotangents.push_back(row_input::seed(t));
  const auto lowered = [&](std::int64_t rows) {
    return lower_for(model.backend(), build_row_graph(session_, spec_, baselines_, rows), model.evaluator(),
                     cotangents);
  };

  std::string key = session.key();
  for (const Tensor& t : baselines_) key += detail::concat("|b", t.dims()[0]);
  key += detail::concat("|", spec_.key, spec_.gradient ? "|gradient" : "", spec_.values ? "|values" : "",
                        spec_.absorbed ? "|absorbed" : "", "|folds", spec_.folds.size(), "|E", session.examples(), "|K",
                        scalars_);
  for (const RowInput& in : spec_.inputs) {
    key += keyed(in.per_row ? "per row" : "given", in.name) + std::string(name_of(in.dtype)) + to_string(in.dims);
  }
  if (!session.batched()) {
    chunk_ = 1;
  } else if (options.chunk > 0) {
    chunk_ = std::min(options.chunk, std::max<std::int64_t>(1, total));
  } else {
    // As many rows as keep the activations of a chunk near the size that pays, never past the budget, spread evenly
    // over the chunks. A function of model, request and budget alone.
    const ChunkLimits limits = chunk_limits(options, model.backend());
    const std::size_t budget = limits.budget;
    const auto one_row = [&] { return lowered(1); };
    const std::size_t per_row =
        std::max<std::size_t>(1, activation_bytes(model, session.key().empty() ? "" : key, one_row));
    const auto fit = static_cast<std::int64_t>(std::min(budget, limits.wanted) / per_row);
    const auto mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    ONNXRAY_CHECK(options.memory_bytes == 0 || per_row <= budget, "one row needs ", mib(per_row),
                  " MiB for activations, more than the memory budget of ", mib(budget), " MiB");
    const std::int64_t most = std::clamp<std::int64_t>(fit, 1, limits.rows);
    const std::int64_t chunks = (std::max<std::int64_t>(1, total) + most - 1) / most;
    chunk_ = (std::max<std::int64_t>(1, total) + chunks - 1) / chunks;
  }

  const auto compiled = [&] {
    const auto make = [&] { return lowered(chunk_); };
    if (session.key().empty()) return Plan::compile(make(), model.backend(), model.prepared());
    return model.plan(key + detail::concat("|R", chunk_), make);
  };
  std::shared_ptr<const Plan> plan = compiled();
  // Kernels' scratch memory is known only now.
  while (options.memory_bytes > 0 && options.chunk == 0 && chunk_ > 1 && plan->arena_bytes() > options.memory_bytes) {
    const double fits = static_cast<double>(options.memory_bytes) / static_cast<double>(plan->arena_bytes());
    chunk_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(chunk_) * fits), 1, chunk_ - 1);
    plan = compiled();
  }
  const std::int64_t planned = chunk_;
  while (run_ == nullptr) {
    try {
      run_ = model.run_of(plan, options.memory_bytes);
    } catch (const Error& e) {
      // Somebody else uses the device: fewer rows may fit beside them.
      if (e.kind() != ErrorKind::kOutOfMemory || options.chunk > 0 || chunk_ == 1) throw;
      plan = nullptr;
      chunk_ = (chunk_ + 1) / 2;
      plan = compiled();
    }
  }
  if (chunk_ < planned) {
    // Half of what fits, for what else the request allocates beside it.
    if (chunk_ > 1) {
      run_ = nullptr;
      plan = nullptr;
      chunk_ = (chunk_ + 1) / 2;
      plan = compiled();
      run_ = model.run_of(plan, options.memory_bytes);
    }
    session.notice(out_of_memory_notice(chunk_, planned));
  }
  session.notice(plan->fallback_notice());
  const Graph& g = plan->graph();
  for (std::size_t i = 0; i < g.inputs().size(); ++i) slots_[g.value(g.inputs()[i]).name] = i;

  for (std::size_t i = 0; i < session.vary().size(); ++i) {
    const CutValue& c = session.vary()[i];
    bind_slot(row_input::x(c), c.actual);
    if (i < baselines_.size()) bind_slot(row_input::baseline(c), baselines_[i]);
  }
  for (const CutValue& c : session.held()) bind_slot(row_input::held(c), c.actual);
  for (const Session::Target& t : session.targets()) bind_slot(row_input::seed(t), t.seeds);
  for (std::size_t f = 0; f < spec_.folds.size(); ++f) {
    for (const CutValue& c : session.from()) run_->bind_zeros(slots_.at(row_input::state(f, c)));
  }
}

void RowProgram::bind_slot(const std::string& name, const Tensor& tensor) {
  const auto it = slots_.find(name);
  if (it != slots_.end()) run_->bind(it->second, tensor);
}

void RowProgram::bind(std::string_view name, const Tensor& tensor) {
  const auto it = slots_.find(row_input::given(name));
  ONNXRAY_ASSERT(it != slots_.end(), "no row maker reads the input '", name, "'");
  run_->bind(it->second, tensor);
}

void RowProgram::run(std::span<const Row> rows) {
  const std::int64_t n = chunk_, k = scalars_, given = static_cast<std::int64_t>(rows.size());
  ONNXRAY_ASSERT(given >= 1 && given <= n);
  used_rows_ = given;
  const std::int64_t baselines = baselines_.empty() ? 1 : baselines_[0].dims()[0];
  Tensor alpha(DType::f64, {n}), weight(DType::f64, {n * k});
  std::vector<std::int64_t> example, baseline, scalar_row, forward_row;
  for (std::int64_t r = 0; r < n; ++r) {
    // The last chunk is filled with copies of its last row, whose weight is zero.
    const Row& row = rows[static_cast<std::size_t>(std::min(r, given - 1))];
    example.push_back(row.example);
    baseline.push_back(row.baseline >= 0 ? row.baseline : (baselines == 1 ? 0 : row.example));
    alpha.mutable_data<double>()[static_cast<std::size_t>(r)] = row.alpha;
    for (std::int64_t j = 0; j < k; ++j) {
      scalar_row.push_back(row.example * k + j);
      forward_row.push_back(r);
      weight.mutable_data<double>()[static_cast<std::size_t>(r * k + j)] = r < given ? row.weight : 0;
    }
  }
  bind_slot(row_input::kExample, Tensor::ints(example));
  bind_slot(row_input::kBaselineRow, Tensor::ints(baseline));
  bind_slot(row_input::kAlpha, alpha);
  bind_slot(row_input::kScalarRow, Tensor::ints(scalar_row));
  bind_slot(row_input::kForwardRow, Tensor::ints(forward_row));
  bind_slot(row_input::kWeight, weight);
  run_->execute();
  values_.clear();
  reference_values_.clear();
  absorbed_.clear();
}

// Everything but the states, which are asked for once, after the last chunk.
void RowProgram::fetch() const {
  if (!values_.empty()) return;
  std::vector<std::size_t> outputs(first_gradient());
  if (spec_.gradient) outputs.resize(outputs.size() + session_.from().size());
  if (spec_.values) outputs.resize(outputs.size() + session_.from().size());
  std::iota(outputs.begin(), outputs.end(), std::size_t{0});
  run_->fetch(outputs);
  values_ = run_->output(0).to_doubles();
  if (has_reference()) reference_values_ = run_->output(1).to_doubles();
  if (spec_.absorbed) absorbed_ = run_->output(first_gradient() - 1).to_doubles();
}

double RowProgram::value(std::int64_t r, std::size_t scalar) const {
  fetch();
  return values_.at(static_cast<std::size_t>(r * scalars_) + scalar);
}

double RowProgram::reference_value(std::int64_t r, std::size_t scalar) const {
  fetch();
  return reference_values_.at(static_cast<std::size_t>(r * scalars_) + scalar);
}

double RowProgram::absorbed(std::int64_t r, std::size_t scalar) const {
  fetch();
  return absorbed_.at(static_cast<std::size_t>(r * scalars_) + scalar);
}

Tensor RowProgram::gradient(std::size_t i) const {
  ONNXRAY_ASSERT(spec_.gradient);
  fetch();
  return run_->output(first_gradient() + i).rows(0, used_rows_ * scalars_);
}

Tensor RowProgram::from_value(std::size_t i) const {
  ONNXRAY_ASSERT(spec_.values);
  fetch();
  const std::size_t gradients = spec_.gradient ? session_.from().size() : 0;
  return run_->output(first_gradient() + gradients + i).rows(0, used_rows_);
}

Tensor RowProgram::folded(std::size_t i, std::size_t f) const {
  return run_->state(slots_.at(row_input::state(f, session_.from().at(i))));
}

}  // namespace onnxray
