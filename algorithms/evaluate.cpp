#include "algorithms/evaluate.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>

#include "algorithms/out_of_memory.h"
#include "algorithms/session.h"
#include "engine/plan.h"

namespace onnxray {
namespace {

// What requests of one structure have in common.
struct OneRow {
  Graph graph;
  std::optional<std::vector<RowMap>> rows;  // of the outputs; none: rows mix
  std::string mixed;                        // where
  [[nodiscard]] std::vector<const Graph*> graphs() const { return {&graph}; }
};

OneRow one_row_of(const Model& model, const Graph& canonical, const std::vector<ValueId>& values, Precision precision) {
  OneRow one;
  one.graph =
      prepare_suffix(prepare_forward(extract(canonical, {}, values), precision, model.evaluator()), model.evaluator());
  const Batched probe = batch_rows(one.graph, 2);
  one.mixed = probe.mixed;
  if (!probe.graph) return one;
  one.rows.emplace();
  for (const ValueId v : one.graph.outputs()) {
    one.rows->push_back(probe.graph->value(probe.values[static_cast<std::size_t>(v)]).rows);
  }
  return one;
}

}  // namespace

Evaluation evaluate(const Model& model, const NamedTensors& inputs, std::vector<std::string> values,
                    const ComputeOptions& compute) {
  const auto start = std::chrono::steady_clock::now();
  Evaluation out;
  out.report.precision = compute.precision == Precision::kDeclared ? model.default_precision() : compute.precision;
  const Request request{.inputs = inputs, .to = {}, .from = {}, .compute = compute};
  std::int64_t examples = 1;
  const Specialisation spec = specialisation_of(model, request, examples);
  if (values.empty()) {
    for (const ValueInfo& v : model.outputs()) values.push_back(v.name);
  }
  const auto canonical = model.canonical(spec);
  std::vector<ValueId> ids;
  for (const std::string& name : values) {
    ids.push_back(canonical->graph.find(name));
    ONNXRAY_CHECK(ids.back() != kNoValue, "the model has no value '", name, "'");
  }
  std::string key;
  if (!canonical->depends_on_data) {
    key = detail::concat("evaluate p", static_cast<int>(out.report.precision));
    for (const auto& [name, dims] : spec.dims) key += keyed("in", name) + to_string(dims);
    for (const auto& [name, rows] : spec.rows) key += keyed("rows", name);
    for (const std::string& name : values) key += keyed("of", name);
  }
  const auto prepare = [&] { return one_row_of(model, canonical->graph, ids, out.report.precision); };
  const auto prepared =
      key.empty() ? std::make_shared<const OneRow>(prepare()) : model.shared<OneRow>("one row " + key, prepare);
  const Graph& one = prepared->graph;
  out.report.batched = prepared->rows.has_value();
  if (!out.report.batched && examples > 1) {
    out.report.notices.push_back("rows run one at a time: they mix at " + prepared->mixed);
  }
  const std::vector<RowMap> maps = prepared->rows.value_or(std::vector<RowMap>(values.size()));
  const auto build = [&](std::int64_t rows) {
    Graph g = out.report.batched ? std::move(*batch_rows(one, rows).graph) : one;
    Rewriter rw(g, model.evaluator());
    for (const Node& node : g.nodes()) rw.copy(node);
    std::vector<ValueId> outs;
    for (std::size_t i = 0; i < maps.size(); ++i) {
      const ValueId v = rw(g.outputs()[i]);
      outs.push_back(maps[i].is_rows() ? rows_first(rw.b, v, maps[i], true) : v);
    }
    Graph h = rw.finish();
    h.set_outputs(std::move(outs));
    return lower_for(model.backend(), h, model.evaluator());
  };
  const auto compiled = [&](std::int64_t rows) {
    const auto make = [&] { return build(rows); };
    if (key.empty()) return Plan::compile(make(), model.backend(), model.prepared());
    return model.plan(detail::concat(key, "|R", rows), make);
  };
  std::int64_t chunk = 1;
  if (out.report.batched && examples > 1) {
    if (compute.chunk > 0) {
      chunk = compute.chunk;
    } else {
      const ChunkLimits limits = chunk_limits(compute, model.backend());
      const auto one_row = [&] { return build(1); };
      const std::size_t per_row = std::max<std::size_t>(1, activation_bytes(model, key, one_row));
      chunk = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::min(limits.budget, limits.wanted) / per_row), 1,
                                       limits.rows);
    }
    chunk = std::min(chunk, examples);
  }
  std::vector<std::vector<Tensor>> parts(values.size());
  std::shared_ptr<const Plan> plan;
  std::int64_t compiled_rows = 0;
  // Kernels' scratch memory is known only in a compiled plan.
  while (compute.memory_bytes > 0 && compute.chunk == 0 && chunk > 1) {
    plan = compiled(chunk);
    compiled_rows = chunk;
    if (plan->arena_bytes() <= compute.memory_bytes) break;
    const double fits = static_cast<double>(compute.memory_bytes) / static_cast<double>(plan->arena_bytes());
    chunk = std::clamp<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(chunk) * fits), 1, chunk - 1);
  }
  const std::int64_t planned = chunk;
  std::vector<std::size_t> all(values.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::int64_t rows = 0;
  for (std::int64_t first = 0; first < examples; first += rows) {
    RunPool::Run made;
    while (made == nullptr) {
      rows = std::min(chunk, examples - first);
      if (rows != compiled_rows) {
        plan = compiled(rows);
        compiled_rows = rows;
      }
      try {
        made = model.run_of(plan, compute.memory_bytes);
      } catch (const Error& e) {
        // Somebody else uses the device: fewer rows may fit beside them.
        if (e.kind() != ErrorKind::kOutOfMemory || compute.chunk > 0 || rows == 1) throw;
        chunk = (rows + 1) / 2;
      }
    }
    const std::string notice = plan->fallback_notice();
    if (first == 0 && !notice.empty()) out.report.notices.push_back(notice);
    PlanRun& run = *made;
    for (std::size_t i = 0; i < plan->graph().inputs().size(); ++i) {
      const std::string& name = plan->graph().value(plan->graph().inputs()[i]).name;
      const Tensor& given = inputs.at(name);
      const auto carries = spec.rows.find(name);
      if (carries == spec.rows.end() || examples == 1) {
        run.bind(i, given);
      } else {
        const std::int64_t unit = carries->second.inner;
        run.bind(i, given.rows(first * unit, (first + rows) * unit));
      }
    }
    run.execute();
    run.fetch(all);
    for (std::size_t i = 0; i < values.size(); ++i) parts[i].push_back(run.output(i));
    out.report.peak_bytes = std::max(out.report.peak_bytes, plan->arena_bytes());
    out.report.rows += rows;
    out.report.chunk = std::max(out.report.chunk, rows);
    if (compute.progress) {
      Progress p{.phase = "evaluate", .done = first + rows, .total = examples};
      if (!compute.progress(p)) throw Error(ErrorKind::kCancelled, "evaluate: cancelled");
    }
  }
  if (chunk < planned) out.report.notices.push_back(out_of_memory_notice(chunk, planned));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool shared = out.report.batched && !maps[i].is_rows();
    const bool scalar = parts[i][0].rank() == 0;
    if (shared || parts[i].size() == 1) {
      out.values[values[i]] = parts[i][0];
    } else if (scalar) {
      for (Tensor& t : parts[i]) t = t.reshaped({1});
      out.values[values[i]] = stack_rows(parts[i]);
    } else {
      out.values[values[i]] = stack_rows(parts[i]);
    }
  }
  out.report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace onnxray
