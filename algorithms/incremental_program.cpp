// One class of incremental rows as plans: the clean pass of an example, and chunks of rows that read what it kept.
#include "algorithms/incremental_program.h"

#include <algorithm>
#include <numeric>

#include "algorithms/out_of_memory.h"
#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The scalars of rows: [rows, K]. values: one per target, rows as their row map says; seeds: [K, row_dims...].
ValueId scalars_of(Builder& b, const Session& s, const std::vector<ValueId>& values, const std::vector<ValueId>& seeds,
                   const std::vector<RowMap>& maps, std::int64_t rows, bool batched) {
  ValueId sum = kNoValue;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Session::Target& t = s.targets()[i];
    ValueId v = values[i];
    if (t.log_probability) {
      v = b.op("log_softmax", {v}, {{"axis", static_cast<std::int64_t>(b.rank(v)) - 1}});
      b.graph.value(v).rows = maps[i];
    }
    const std::int64_t size = count_of(t.row_dims);
    v = b.reshape(rows_first(b, v, maps[i], batched), {rows, size});
    const ValueId seed = b.reshape(seeds[i], {b.dims(seeds[i])[0], size});
    const ValueId product = b.matmul(v, seed, false, true);
    sum = sum == kNoValue ? product : b.add(sum, product);
  }
  return sum;
}

// Row e of a value per example (row axis 0), or the shared value, in the shape of the one-row graph.
Tensor example_of(const Tensor& all, const CutValue& c, std::int64_t e) {
  if (!c.rows.is_rows()) return all;
  return (all.dims()[0] == 1 ? all : all.rows(e, e + 1)).reshaped(c.one_row);
}

}  // namespace

IncrementalRows::Program::Program(const IncrementalRows& owner, const Class& part) : owner_(owner), part_(part) {
  const Session& s = owner.session_;
  const Backend& backend = s.model().backend();
  const bool last = backend.wants_channels_last && s.precision() != Precision::kFloat64;
  auto graphs = incremental(owner.suffix_, owner.suffix_.inputs()[owner.rows_.value], owner.axes_, part.intervals, last,
                            s.model().evaluator());
  ONNXRAY_ASSERT(graphs.has_value());
  graphs_ = *std::move(graphs);
  const Batched probe = batch_rows(graphs_.rows, 2);
  ONNXRAY_ASSERT(probe.graph.has_value(), "rows mix at ", probe.mixed);
  for (const ValueId v : probe.graph->outputs()) target_maps_.push_back(probe.graph->value(v).rows);

  const auto plan = [&](const char* what, const Graph& g) {
    const auto make = [&] { return lower_for(backend, g, s.model().evaluator()); };
    // Shapes and sharing of places depend on the boxes: the graph's text tells plans apart.
    if (s.key().empty()) return Plan::compile(make(), backend, s.model().prepared());
    return s.model().plan(s.key() + what + g.to_text(), make);
  };
  clean_ = plan("|clean ", clean_graph());
  for (std::size_t i = 1; i < clean_->graph().outputs().size(); ++i) {
    const Value& v = clean_->graph().value(clean_->graph().outputs()[i]);
    kept_bytes_ += static_cast<std::size_t>(count_of(v.dims)) * size_of(v.dtype);
  }
  choose_chunk();
  if (chunk_ == 0) return;
  plan_ = plan("|windows ", rows_graph(chunk_));
  // Kernels' scratch memory is known only now.
  const ComputeOptions& options = s.request().compute;
  while (options.memory_bytes > 0 && options.chunk == 0 && chunk_ > 1 && peak_bytes() > options.memory_bytes) {
    chunk_ = (chunk_ + 1) / 2;
    plan_ = plan("|windows ", rows_graph(chunk_));
  }
  const std::int64_t planned = chunk_;
  while (rows_ == nullptr) {
    try {
      // Each example's clean pass needs its memory beside the rows'.
      const auto clean = backend.device != nullptr ? s.model().run_of(clean_, options.memory_bytes) : nullptr;
      rows_ = s.model().run_of(plan_, options.memory_bytes);
    } catch (const Error& e) {
      // Somebody else uses the device: fewer rows may fit beside them.
      if (e.kind() != ErrorKind::kOutOfMemory || options.chunk > 0 || chunk_ == 1) throw;
      chunk_ = (chunk_ + 1) / 2;
      plan_ = plan("|windows ", rows_graph(chunk_));
    }
  }
  if (chunk_ < planned) s.notice(out_of_memory_notice(chunk_, planned));
  for (const auto& p : {clean_, plan_}) s.notice(p->fallback_notice());
}

Graph IncrementalRows::Program::clean_graph() const {
  const Session& s = owner_.session_;
  Graph g;
  Builder b(g, s.model().evaluator());
  std::vector<ValueId> inputs, seeds;
  for (const ValueId v : graphs_.clean.inputs()) {
    const Value& value = graphs_.clean.value(v);
    inputs.push_back(g.add_input(value.name, value.dtype, value.dims));
  }
  for (const Session::Target& t : s.targets()) {
    const Dims dims = with_rows(static_cast<std::int64_t>(s.to().size()), t.row_dims);
    seeds.push_back(g.add_input("seed " + t.value, s.float_type(), dims));
  }
  const std::vector<ValueId> map = splice(b, graphs_.clean, inputs);
  std::vector<ValueId> values, outputs;
  for (std::size_t i = 0; i < graphs_.clean.outputs().size(); ++i) {
    const ValueId v = map[at(graphs_.clean.outputs()[i])];
    if (i < s.targets().size()) values.push_back(v);
    else outputs.push_back(v);
  }
  outputs.insert(outputs.begin(), scalars_of(b, s, values, seeds, target_maps_, 1, false));
  g.set_outputs(std::move(outputs));
  return g;
}

// Inputs: x, baseline, mask bool [R, ...]; the other inputs of `graphs_.rows` but the patch; seeds.
Graph IncrementalRows::Program::rows_graph(std::int64_t rows) const {
  const Session& s = owner_.session_;
  Batched many = batch_rows(graphs_.rows, rows);
  const Graph& body = *many.graph;
  Graph g;
  Builder b(g, s.model().evaluator());
  const CutValue& c = s.vary()[owner_.rows_.value];
  const Dims patch = body.value(body.inputs()[0]).dims;
  const ValueId baseline = g.add_input("baseline", c.dtype, c.one_row);
  const ValueId mask = g.add_input("mask", DType::boolean, patch, RowMap::rows(0));
  std::vector<ValueId> inputs{kNoValue}, seeds;
  for (std::size_t i = 1; i < body.inputs().size(); ++i) {
    const Value& value = body.value(body.inputs()[i]);
    inputs.push_back(g.add_input(value.name, value.dtype, value.dims, value.rows));
  }
  for (const Session::Target& t : s.targets()) {
    const Dims dims = with_rows(static_cast<std::int64_t>(s.to().size()), t.row_dims);
    seeds.push_back(g.add_input("seed " + t.value, s.float_type(), dims));
  }
  const ValueId x = inputs[1 + owner_.rows_.value];
  const ValueId places = inputs[1 + owner_.suffix_.inputs().size() + graphs_.kept];
  const Attrs crop{{"axis", graphs_.axes[0]}, {"sizes", graphs_.patch}};
  inputs[0] = b.where(mask, b.op("crop_at", {baseline, places}, crop), b.op("crop_at", {x, places}, crop));
  const std::vector<ValueId> map = splice(b, body, inputs);
  std::vector<ValueId> values;
  for (const ValueId v : body.outputs()) values.push_back(map[at(v)]);
  g.set_outputs({scalars_of(b, s, values, seeds, target_maps_, rows, true)});
  return g;
}

void IncrementalRows::Program::choose_chunk() {
  const Session& s = owner_.session_;
  const ComputeOptions& options = s.request().compute;
  const auto total = static_cast<std::int64_t>(part_.rows.size());
  // Chunks of equal size; the size that a report states gives the same chunks of every class again.
  const auto spread = [&](std::int64_t most) {
    const std::int64_t chunks = (total + most - 1) / most;
    chunk_ = (total + chunks - 1) / chunks;
  };
  if (options.chunk > 0) return spread(options.chunk);
  // Small enough to stay near the caches of a CPU, large enough to amortise reading the weights.
  ChunkLimits limits = chunk_limits(options, s.model().backend());
  if (s.model().backend().device == nullptr) {
    limits.wanted = std::size_t{256} << 20;
    limits.rows = 64;
  }
  const std::size_t kept = std::max(kept_bytes_, options.memory_bytes > 0 ? clean_->arena_bytes() : 0);
  const Graph one = lower_for(s.model().backend(), rows_graph(1), s.model().evaluator());
  const std::size_t per_row = std::max<std::size_t>(1, plan_buffers(one).bytes);
  if (options.memory_bytes > 0 && kept + per_row > limits.budget) {
    chunk_ = 0;
    return;
  }
  const std::size_t room = limits.budget - std::min(limits.budget, kept);
  const auto fit = static_cast<std::int64_t>(std::min(room, limits.wanted) / per_row);
  spread(std::clamp<std::int64_t>(fit, 1, limits.rows));
}

void IncrementalRows::Program::start(std::int64_t example) {
  const Session& s = owner_.session_;
  const auto k = static_cast<std::int64_t>(s.to().size());
  std::vector<Tensor> given, seeds;
  for (const CutValue& c : s.vary()) given.push_back(example_of(c.actual, c, example));
  for (const CutValue& c : s.held()) given.push_back(example_of(c.actual, c, example));
  for (const Session::Target& t : s.targets()) seeds.push_back(t.seeds.rows(example * k, (example + 1) * k));
  const RunPool::Run held = s.model().run_of(clean_, s.request().compute.memory_bytes);
  PlanRun& clean = *held;
  std::size_t slot = 0;
  for (const Tensor& t : given) clean.bind(slot++, t);
  for (const Tensor& t : seeds) clean.bind(slot++, t);
  clean.execute();
  std::vector<std::size_t> all(1 + graphs_.kept);
  std::iota(all.begin(), all.end(), std::size_t{0});
  clean.fetch(all);
  clean_scalars_ = clean.output(0).to_doubles();

  slot = 0;
  rows_->bind(slot++, example_of(owner_.baseline_, s.vary()[owner_.rows_.value], example));
  ++slot;  // mask
  for (const Tensor& t : given) rows_->bind(slot++, t);
  for (std::size_t i = 0; i < graphs_.kept; ++i) rows_->bind(slot++, clean.output(1 + i));
  slot += graphs_.places.size();
  for (const Tensor& t : seeds) rows_->bind(slot++, t);
}

void IncrementalRows::Program::run(std::int64_t first, std::int64_t count, double* to) {
  const std::size_t spatial = graphs_.axes.size();
  const CutValue& c = owner_.session_.vary()[owner_.rows_.value];
  // The last chunk is filled with copies of its last row.
  const auto row = [&](std::int64_t r) { return first + std::min(r, count - 1); };
  std::size_t slot = 2 + owner_.suffix_.inputs().size() + graphs_.kept;
  const auto place = [&](const std::vector<std::vector<std::int64_t>>& all, std::int64_t r, std::size_t axis) {
    return all[axis][part_.at_axis[axis][at(row(r))]];
  };
  for (const auto& all : graphs_.places) {
    Tensor t(DType::i64, {chunk_, static_cast<std::int64_t>(spatial)});
    std::int64_t* v = t.mutable_data<std::int64_t>().data();
    for (std::int64_t r = 0; r < chunk_; ++r) {
      for (std::size_t i = 0; i < spatial; ++i) *v++ = place(all, r, i);
    }
    rows_->bind(slot++, t);
  }
  Dims size = c.row_dims;
  for (std::size_t i = 0; i < spatial; ++i) size[at(graphs_.axes[i]) - 1] = graphs_.patch[i];
  const Dims dims = with_rows(chunk_, size);
  Tensor mask = Tensor::zeros(DType::boolean, dims);
  const std::int64_t elements = count_of(size);
  for (std::int64_t r = 0; r < chunk_; ++r) {
    Dims begin(size.size(), 0);
    for (std::size_t i = 0; i < spatial; ++i) {
      begin[at(graphs_.axes[i]) - 1] = place(graphs_.places[0], r, i);
    }
    owner_.rows_.mark(part_.rows[at(row(r))], begin, size, mask.mutable_data<bool>().data() + r * elements);
  }
  rows_->bind(1, mask);
  rows_->execute();
  const std::vector<double> scalars = rows_->output(0).to_doubles();
  std::copy_n(scalars.begin(), count * static_cast<std::int64_t>(owner_.session_.to().size()), to);
}

}  // namespace onnxray
