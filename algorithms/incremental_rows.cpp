#include "algorithms/incremental_rows.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>

#include "algorithms/out_of_memory.h"
#include "engine/op.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// What whole rows must cost at least, relative to rectangles, before rectangles are worth their plans.
constexpr double kWorthwhile = 1.15;

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

LocalRows rows_of_features(std::size_t value, std::vector<std::int64_t> features, const Dims& row_dims,
                           std::int64_t count) {
  struct Shared {
    std::vector<std::int64_t> features;
    Dims strides;
    std::vector<Dims> begin, end;  // per feature
  };
  const auto shared = std::make_shared<Shared>();
  ONNXRAY_ASSERT(static_cast<std::int64_t>(features.size()) == count_of(row_dims));
  const std::size_t rank = row_dims.size();
  shared->strides = strides_of(row_dims);
  shared->begin.assign(at(count), row_dims);
  shared->end.assign(at(count), Dims(rank, 0));
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (features[i] < 0 || features[i] >= count) continue;
    Dims& begin = shared->begin[at(features[i])];
    Dims& end = shared->end[at(features[i])];
    for (std::size_t d = 0; d < rank; ++d) {
      const std::int64_t p = static_cast<std::int64_t>(i) / shared->strides[d] % row_dims[d];
      begin[d] = std::min(begin[d], p);
      end[d] = std::max(end[d], p + 1);
    }
  }
  // A feature without elements changes nothing.
  for (std::size_t f = 0; f < at(count); ++f) {
    if (rank > 0 && shared->begin[f][0] >= shared->end[f][0]) shared->begin[f] = shared->end[f] = Dims(rank, 0);
  }
  shared->features = std::move(features);
  LocalRows rows{.value = value, .count = count};
  rows.box = [shared](std::int64_t k, Dims& begin, Dims& end) {
    begin = shared->begin[at(k)];
    end = shared->end[at(k)];
  };
  rows.mark = [shared](std::int64_t k, const Dims& begin, const Dims& size, bool* mask) {
    const Dims inside = strides_of(size);
    const std::int64_t n = count_of(size);
    for (std::int64_t i = 0; i < n; ++i) {
      std::int64_t element = 0;
      for (std::size_t d = 0; d < size.size(); ++d)
        element += (begin[d] + i / inside[d] % size[d]) * shared->strides[d];
      mask[i] = shared->features[at(element)] == k;
    }
  };
  return rows;
}

// The plans of one class, bound to one example at a time.
class IncrementalRows::Program {
 public:
  Program(const IncrementalRows& owner, const Class& part);

  void start(std::int64_t example);
  [[nodiscard]] const std::vector<double>& clean_scalars() const { return clean_scalars_; }
  // Rows [first, first + count) of the class; scalars [count, K] in `to`.
  void run(std::int64_t first, std::int64_t count, double* to);
  // 0: the memory budget does not hold the clean example and one row.
  [[nodiscard]] std::int64_t chunk() const { return chunk_; }
  // The clean pass and the chunks follow each other; what is kept of the former stays.
  [[nodiscard]] std::size_t peak_bytes() const {
    return kept_bytes_ + std::max(clean_->arena_bytes(), plan_->arena_bytes());
  }
  [[nodiscard]] PlanRun& plan_run() { return *rows_; }
  [[nodiscard]] std::shared_ptr<const Plan> plan() const { return plan_; }

 private:
  [[nodiscard]] Graph clean_graph() const;
  [[nodiscard]] Graph rows_graph(std::int64_t rows) const;
  void choose_chunk();

  const IncrementalRows& owner_;
  const Class& part_;
  Incremental graphs_;
  std::vector<RowMap> target_maps_;
  std::int64_t chunk_ = 1;
  std::shared_ptr<const Plan> clean_, plan_;
  std::size_t kept_bytes_ = 0;
  std::vector<double> clean_scalars_;
  RunPool::Run rows_;
};

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
    Dims dims = t.row_dims;
    dims.insert(dims.begin(), static_cast<std::int64_t>(s.to().size()));
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
    Dims dims = t.row_dims;
    dims.insert(dims.begin(), static_cast<std::int64_t>(s.to().size()));
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
  Dims dims = size;
  dims.insert(dims.begin(), chunk_);
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

IncrementalRows::IncrementalRows(const Session& session, LocalRows rows, const Tensor& baseline, double plan_work)
    : session_(session), rows_(std::move(rows)), baseline_(baseline.to(session.float_type())) {
  const CutValue& c = session.vary().at(rows_.value);
  const Backend& backend = session.model().backend();
  if (!session.batched() || rows_.count == 0 || backend.find("crop_at") == nullptr ||
      backend.find("paste_at") == nullptr) {
    return;
  }
  // Everything is handed over with the row axis first.
  const auto plain = [](const CutValue& v) { return !v.rows.is_rows() || v.rows == RowMap::rows(0, v.one_row[0]); };
  if (c.rows != RowMap::rows(0) || c.one_row.size() < 3 || c.one_row.size() > 5) return;
  for (const std::vector<CutValue>* list : {&session.vary(), &session.held()}) {
    for (const CutValue& v : *list) {
      if (!plain(v)) return;
    }
  }
  const std::vector<ValueId> outputs = session.suffix().outputs();
  suffix_ = extract(session.suffix(), session.suffix().inputs(),
                    {outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(session.targets().size())});
  classify(plan_work);
  if (session.request().compute.memory_bytes == 0) return;
  const auto fits = [&](const Class& part) { return Program(*this, part).chunk() > 0; };
  if (!std::all_of(classes_.begin(), classes_.end(), fits)) classes_.clear();
}

IncrementalRows::Class IncrementalRows::class_of(std::vector<std::int64_t> rows,
                                                 const std::vector<std::vector<Interval>>& boxes) const {
  Class part{std::move(rows), Intervals(axes_.size()), std::vector<std::vector<std::size_t>>(axes_.size()), 0};
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    std::map<Interval, std::size_t> seen;
    for (const std::int64_t k : part.rows) {
      const auto [it, fresh] = seen.emplace(boxes[at(k)][i], seen.size());
      if (fresh) part.intervals[i].push_back(it->first);
      part.at_axis[i].push_back(it->second);
    }
  }
  part.work = incremental_work(suffix_, suffix_.inputs()[rows_.value], axes_, part.intervals).work *
              static_cast<double>(part.rows.size());
  return part;
}

// Chooses the spatial axes, and the distance from the border at which classes part.
void IncrementalRows::classify(double plan_work) {
  const CutValue& c = session_.vary()[rows_.value];
  const auto rank = static_cast<std::int64_t>(c.one_row.size());
  std::vector<std::int64_t> every(at(rows_.count));
  std::iota(every.begin(), every.end(), 0);
  std::vector<std::vector<Interval>> boxes;
  const auto take_boxes = [&] {
    boxes.clear();
    Dims begin, end;
    for (const std::int64_t k : every) {
      rows_.box(k, begin, end);
      boxes.emplace_back();
      for (const std::int64_t a : axes_) boxes.back().push_back({begin[at(a) - 1], end[at(a) - 1]});
    }
  };

  // Channels first or channels last.
  std::vector<std::int64_t> best_axes;
  for (const std::int64_t first : {std::int64_t{2}, std::int64_t{1}}) {
    axes_.clear();
    for (std::int64_t a = first; a < first + rank - 2; ++a) axes_.push_back(a);
    take_boxes();
    Class all = class_of(every, boxes);
    const double full = incremental_work(suffix_, suffix_.inputs()[rows_.value], axes_, all.intervals).full_work *
                        static_cast<double>(rows_.count);
    if (all.work <= 0 || full < kWorthwhile * all.work || (!classes_.empty() && classes_[0].work <= all.work)) continue;
    best_axes = axes_;
    full_work_ = full;
    classes_.clear();
    classes_.push_back(std::move(all));
  }
  if (classes_.empty()) return;
  axes_ = best_axes;
  take_boxes();

  // Rows nearer to a border than `threshold` of the extent, on an axis, form a class of their own there.
  const auto split = [&](double threshold) {
    std::map<std::vector<char>, std::vector<std::int64_t>> parts;
    for (const std::int64_t k : every) {
      std::vector<char> near;
      for (std::size_t i = 0; i < axes_.size(); ++i) {
        const std::int64_t extent = c.one_row[at(axes_[i])];
        const std::int64_t distance = std::min(boxes[at(k)][i].begin, extent - boxes[at(k)][i].end);
        near.push_back(static_cast<double>(distance) < threshold * static_cast<double>(extent));
      }
      parts[near].push_back(k);
    }
    std::vector<Class> classes;
    for (auto& [near, rows] : parts) classes.push_back(class_of(std::move(rows), boxes));
    return classes;
  };
  const auto total = [](const std::vector<Class>& classes) {
    double sum = 0;
    for (const Class& part : classes) sum += part.work;
    return sum;
  };
  constexpr int kSteps = 16;
  plan_work /= static_cast<double>(session_.examples());
  for (int i = 1; i <= kSteps / 2; ++i) {
    std::vector<Class> trial = split(static_cast<double>(i) / kSteps);
    if (total(trial) + plan_work * static_cast<double>(trial.size()) <
        total(classes_) + plan_work * static_cast<double>(classes_.size())) {
      classes_ = std::move(trial);
    }
  }
  work_ = total(classes_);
}

std::string IncrementalRows::notice() const {
  std::ostringstream text;
  text.precision(2);
  text << "rows that change part of '" << session_.vary()[rows_.value].name
       << "' are computed incrementally: " << full_work_ / work_ << " times less work than whole rows";
  return text.str();
}

IncrementalRows::Result IncrementalRows::run(Scheduler& scheduler) const {
  const std::int64_t examples = session_.examples(), k = static_cast<std::int64_t>(session_.to().size());
  Result result{std::vector<double>(at(examples * k)), std::vector<double>(at(examples * rows_.count * k))};
  std::vector<double> scalars;
  std::shared_ptr<const Plan> previous;  // keeps prepared weights alive for the next class
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const Class& part = classes_[i];
    Program program(*this, part);
    previous = program.plan();
    const auto count = static_cast<std::int64_t>(part.rows.size());
    for (std::int64_t e = 0; e < examples; ++e) {
      program.start(e);
      if (i == 0) {
        const std::vector<double>& clean = program.clean_scalars();
        std::copy(clean.begin(), clean.end(), result.clean.begin() + static_cast<std::ptrdiff_t>(e * k));
      }
      const auto step = [&](std::int64_t first, std::int64_t rows) {
        scalars.resize(at(rows * k));
        program.run(first, rows, scalars.data());
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t row = part.rows[at(first + r)];
          std::copy_n(scalars.begin() + static_cast<std::ptrdiff_t>(r * k), k,
                      result.rows.begin() + static_cast<std::ptrdiff_t>((e * rows_.count + row) * k));
        }
      };
      scheduler.run(program.plan_run(), program.chunk(), program.peak_bytes(), count, step);
      if (i == 0) scheduler.count(1);
    }
  }
  return result;
}

}  // namespace onnxray
