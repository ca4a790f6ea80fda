#include "algorithms/row_program.h"

#include <algorithm>

#include "engine/autodiff.h"

namespace onnxray {
namespace {

// Inputs of the plan, in this order; absent ones are skipped.
//   x of every varied value            [E, row_dims...]   (single rows: the value itself)
//   baseline of every varied value     [E or 1, row_dims...]
//   mask of every varied value         bool [R, row_dims...]
//   every held value                   [E, row_dims...] or shared
//   example int64 [R], baseline row int64 [R]
//   alpha [R], one minus alpha [R]
//   seeds of every target              [E * K, row_dims...]
//   backward: scalar row int64 [R * K] (example * K + k), forward row int64 [R * K]; weight float64 [R * K]
//   states of every from value         float64 [E * K, row_dims...]

Dims with_rows(std::int64_t rows, const Dims& row_dims) {
  Dims d = row_dims;
  d.insert(d.begin(), rows);
  return d;
}

}  // namespace

RowProgram::RowProgram(const Session& session, RowSpec spec, const std::vector<Tensor>& baselines, std::int64_t total)
    : session_(session), spec_(spec), scalars_(static_cast<std::int64_t>(session.to().size())) {
  for (const Tensor& t : baselines) baselines_.push_back(t.to(session.float_type()));
  const ComputeOptions& options = session.request().compute;
  const Model& model = session.model();
  const auto lowered = [&](std::int64_t rows) { return lower_for(model.backend(), build(rows), model.evaluator()); };

  std::string base = session.key();
  for (const Tensor& t : baselines_) base += detail::concat("|b", t.dims().empty() ? 0 : t.dims()[0]);
  base += detail::concat("|rows", static_cast<int>(spec.maker), spec.gradient, spec.fold, "|E", session.examples(),
                         "|K", scalars_);
  if (!session.batched()) {
    chunk_ = 1;
  } else if (options.chunk > 0) {
    chunk_ = std::min(options.chunk, std::max<std::int64_t>(1, total));
  } else {
    // As many rows as keep the activations of a chunk near the size that pays on a CPU, never past the budget, spread
    // evenly over the chunks. A function of model, request and budget alone.
    constexpr std::size_t kWanted = std::size_t{768} << 20;
    constexpr std::int64_t kMaxRows = 256;
    const std::size_t budget = options.memory_bytes > 0 ? options.memory_bytes : default_memory_budget();
    const std::size_t per_row = std::max<std::size_t>(1, plan_buffers(lowered(1)).bytes);
    const auto fit = static_cast<std::int64_t>(std::min(budget, kWanted) / per_row);
    const auto mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    ONNXRAY_CHECK(options.memory_bytes == 0 || per_row <= budget, "one row needs ", mib(per_row),
                  " MiB for activations, more than the memory budget of ", mib(budget), " MiB");
    const std::int64_t most = std::clamp<std::int64_t>(fit, 1, kMaxRows);
    const std::int64_t chunks = (std::max<std::int64_t>(1, total) + most - 1) / most;
    chunk_ = (std::max<std::int64_t>(1, total) + chunks - 1) / chunks;
  }
  const auto compiled = [&] {
    const auto make = [&] { return lowered(chunk_); };
    if (session.key().empty()) return Plan::compile(make(), model.backend(), model.prepared());
    return model.plan(base + detail::concat("|R", chunk_), make);
  };
  std::shared_ptr<const Plan> plan = compiled();
  // Kernels' scratch memory is known only now.
  while (options.memory_bytes > 0 && options.chunk == 0 && chunk_ > 1 && plan->arena_bytes() > options.memory_bytes) {
    const double fits = static_cast<double>(options.memory_bytes) / static_cast<double>(plan->arena_bytes());
    chunk_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(chunk_) * fits), 1, chunk_ - 1);
    plan = compiled();
  }
  run_ = std::make_unique<PlanRun>(plan);

  std::size_t slot = 0;
  const std::size_t varied = session.vary().size();
  const bool path = spec.maker == RowMaker::kPath, mask = spec.maker == RowMaker::kMask;
  ONNXRAY_ASSERT(spec.maker == RowMaker::kActual || baselines_.size() == varied);
  for (const CutValue& c : session.vary())
    run_->bind(slot++, session.batched() ? c.actual : c.actual.reshaped(c.one_row));
  if (path || mask) {
    for (std::size_t i = 0; i < varied; ++i) {
      const CutValue& c = session.vary()[i];
      run_->bind(slot++, session.batched() ? baselines_[i] : baselines_[i].reshaped(c.one_row));
    }
  }
  if (mask) slot += varied;
  for (const CutValue& c : session.held()) {
    run_->bind(slot++, session.batched() ? c.actual : c.actual.reshaped(c.one_row));
  }
  if (session.batched()) slot += 2;
  if (path) slot += 2;
  for (const Session::Target& t : session.targets()) run_->bind(slot++, t.seeds);
  slot += 1 + (spec.gradient && scalars_ > 1 ? 1 : 0) + (spec.fold ? 1 : 0);
  if (spec.fold) {
    for (const CutValue& c : session.from()) {
      states_.push_back(Tensor::zeros(DType::f64, with_rows(session.examples() * scalars_, c.row_dims)));
      run_->bind(slot++, states_.back());
    }
  }
}

Graph RowProgram::build(std::int64_t rows) const {
  const Session& s = session_;
  const bool batched = s.batched();
  const DType real = s.float_type();
  const std::int64_t examples = s.examples(), k = scalars_;
  const bool path = spec_.maker == RowMaker::kPath, mask = spec_.maker == RowMaker::kMask;
  Graph g;
  Builder b(g, s.model().evaluator());

  const auto resident = [&](const CutValue& c, const std::string& name, std::int64_t count) {
    if (!batched) return g.add_input(name, c.dtype, c.one_row);
    if (!c.rows.is_rows()) return g.add_input(name, c.dtype, c.one_row);
    return g.add_input(name, c.dtype, with_rows(count, c.row_dims), RowMap::rows(0));
  };
  std::vector<ValueId> x, baseline, masks, held, seeds;
  for (const CutValue& c : s.vary()) x.push_back(resident(c, "x " + c.name, examples));
  if (path || mask) {
    for (std::size_t i = 0; i < s.vary().size(); ++i) {
      const CutValue& c = s.vary()[i];
      baseline.push_back(resident(c, "baseline " + c.name, baselines_[i].dims()[0]));
    }
  }
  if (mask) {
    for (const CutValue& c : s.vary()) {
      masks.push_back(g.add_input("mask " + c.name, DType::boolean, batched ? with_rows(rows, c.row_dims) : c.one_row));
    }
  }
  for (const CutValue& c : s.held()) held.push_back(resident(c, "held " + c.name, examples));
  ValueId example = kNoValue, baseline_row = kNoValue, alpha = kNoValue, one_minus = kNoValue;
  if (batched) {
    example = g.add_input("example", DType::i64, {rows});
    baseline_row = g.add_input("baseline row", DType::i64, {rows});
  }
  if (path) {
    alpha = g.add_input("alpha", real, {rows});
    one_minus = g.add_input("one minus alpha", real, {rows});
  }
  for (const Session::Target& t : s.targets()) {
    seeds.push_back(g.add_input("seed " + t.value, real, with_rows(examples * k, t.row_dims)));
  }
  const ValueId scalar_row = g.add_input("scalar row", DType::i64, {rows * k});
  const bool split = spec_.gradient && k > 1;
  const ValueId forward_row = split ? g.add_input("forward row", DType::i64, {rows * k}) : kNoValue;
  const ValueId weight = spec_.fold ? g.add_input("weight", DType::f64, {rows * k}) : kNoValue;
  std::vector<ValueId> states;
  if (spec_.fold) {
    for (const CutValue& c : s.from()) {
      states.push_back(g.add_input("state " + c.name, DType::f64, with_rows(examples * k, c.row_dims)));
    }
  }

  // Rows of the varied and the held values.
  const auto gather = [&](ValueId v, ValueId index) {
    return b.op("gather_rows", {v, index}, {{"axis", std::int64_t{0}}});
  };
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < s.vary().size(); ++i) {
    const CutValue& c = s.vary()[i];
    ValueId row = batched ? gather(x[i], example) : x[i];
    ValueId other = kNoValue;
    if (path || mask) other = batched ? gather(baseline[i], baseline_row) : baseline[i];
    if (path && is_float(c.dtype)) {
      const auto column = [&](ValueId a) {
        if (!batched) return b.reshape(a, {});
        return b.reshape(a, with_rows(rows, Dims(c.row_dims.size(), 1)));
      };
      row = b.add(b.mul(row, column(alpha)), b.mul(other, column(one_minus)));
    } else if (mask) {
      row = b.where(masks[i], other, row);
    }
    inputs.push_back(batched ? from_rows_first(b, row, c.one_row, c.rows, true) : row);
  }
  for (std::size_t i = 0; i < s.held().size(); ++i) {
    const CutValue& c = s.held()[i];
    const bool carries = batched && c.rows.is_rows();
    inputs.push_back(carries ? from_rows_first(b, gather(held[i], example), c.one_row, c.rows, true) : held[i]);
  }

  std::vector<ValueId> to, from;
  {
    Graph body = s.suffix();
    if (batched) {
      Batched many = batch_rows(body, rows);
      ONNXRAY_ASSERT(many.graph.has_value(), "rows mix at ", many.mixed);
      body = std::move(*many.graph);
    }
    const std::vector<ValueId> outs = body.outputs();
    const std::vector<ValueId> map = splice(b, body, inputs);
    for (std::size_t i = 0; i < outs.size(); ++i) {
      const ValueId v = map[static_cast<std::size_t>(outs[i])];
      (i < s.targets().size() ? to : from).push_back(v);
    }
  }

  // The scalars, differentiated through the same nodes that hand them out.
  std::vector<ValueId> asked;
  for (std::size_t i = 0; i < to.size(); ++i) {
    const Session::Target& t = s.targets()[i];
    ValueId v = to[i];
    if (t.log_probability) {
      v = b.op("log_softmax", {v}, {{"axis", static_cast<std::int64_t>(b.rank(v)) - 1}});
      g.value(v).rows = g.value(to[i]).rows;
    }
    v = b.reshape(rows_first(b, v, g.value(v).rows, batched), with_rows(batched ? rows : 1, t.row_dims));
    asked.push_back(v);
  }
  ValueId scalar = kNoValue;
  std::vector<ValueId> seed_rows;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    seed_rows.push_back(gather(seeds[i], scalar_row));
    ValueId v = asked[i];
    if (k > 1) {
      // [R, ...] beside [R * K, ...]: every scalar reads its row.
      const Dims d = b.dims(v);
      Dims wide = d;
      wide.insert(wide.begin() + 1, k);
      Dims one = d;
      one.insert(one.begin() + 1, 1);
      Dims flat = d;
      flat[0] *= k;
      v = b.reshape(b.expand(b.reshape(v, one), wide), flat);
    }
    ValueId product = b.mul(v, seed_rows.back());
    std::vector<std::int64_t> axes;
    for (std::size_t a = 1; a < b.rank(product); ++a) axes.push_back(static_cast<std::int64_t>(a));
    if (!axes.empty()) product = b.reduce("reduce_sum", product, axes, false);
    scalar = scalar == kNoValue ? product : b.add(scalar, product);
  }
  std::vector<ValueId> outputs{scalar};
  if (spec_.gradient) {
    GradientRequest request;
    for (std::size_t i = 0; i < asked.size(); ++i) request.seeds.push_back({asked[i], seed_rows[i]});
    request.row_index = forward_row;
    request.wrt = from;  // at the cut: the varied row itself
    const std::vector<ValueId> d = onnxray::gradient(b, request);
    for (std::size_t f = 0; f < from.size(); ++f) {
      const CutValue& c = s.from()[f];
      ValueId v =
          d[f] == kNoValue ? b.zeros(real, with_rows(rows * k, c.row_dims)) : rows_first(b, d[f], c.rows, batched);
      v = b.reshape(v, with_rows(batched ? rows * k : 1, c.row_dims));
      if (spec_.fold) v = b.op("fold_rows", {states[f], v, weight, scalar_row});
      outputs.push_back(v);
    }
  }
  g.set_outputs(std::move(outputs));
  return g;
}

void RowProgram::run(std::span<const Row> rows, std::span<const Tensor> masks) {
  const Session& s = session_;
  const std::int64_t n = chunk_, k = scalars_, given = static_cast<std::int64_t>(rows.size());
  ONNXRAY_ASSERT(given >= 1 && given <= n);
  const bool path = spec_.maker == RowMaker::kPath, mask = spec_.maker == RowMaker::kMask;
  used_rows_ = given;
  // The last chunk is filled with copies of its last row, whose weight is zero.
  const auto row = [&](std::int64_t r) { return rows[static_cast<std::size_t>(std::min(r, given - 1))]; };
  std::size_t slot = s.vary().size() * (path || mask ? 2 : 1);
  if (mask) {
    ONNXRAY_ASSERT(masks.size() == s.vary().size());
    for (std::size_t i = 0; i < masks.size(); ++i) {
      run_->bind(slot++, s.batched() ? masks[i] : masks[i].reshaped(s.vary()[i].one_row));
    }
  }
  slot += s.held().size();
  if (s.batched()) {
    std::vector<std::int64_t> example, baseline;
    for (std::int64_t r = 0; r < n; ++r) {
      example.push_back(row(r).example);
      baseline.push_back(!baselines_.empty() && baselines_[0].dims()[0] == 1 ? 0 : row(r).example);
    }
    run_->bind(slot++, Tensor::ints(example));
    run_->bind(slot++, Tensor::ints(baseline));
  }
  if (path) {
    Tensor alpha(DType::f64, {n}), rest(DType::f64, {n});
    for (std::int64_t r = 0; r < n; ++r) {
      alpha.mutable_data<double>()[static_cast<std::size_t>(r)] = row(r).alpha;
      rest.mutable_data<double>()[static_cast<std::size_t>(r)] = 1 - row(r).alpha;
    }
    run_->bind(slot++, alpha.to(s.float_type()));
    run_->bind(slot++, rest.to(s.float_type()));
  }
  slot += s.targets().size();
  std::vector<std::int64_t> scalar_row, forward_row;
  Tensor weight(DType::f64, {n * k});
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t j = 0; j < k; ++j) {
      scalar_row.push_back(row(r).example * k + j);
      forward_row.push_back(r);
      weight.mutable_data<double>()[static_cast<std::size_t>(r * k + j)] = r < given ? row(r).weight : 0;
    }
  }
  run_->bind(slot++, Tensor::ints(scalar_row));
  if (spec_.gradient && k > 1) run_->bind(slot++, Tensor::ints(forward_row));
  if (spec_.fold) run_->bind(slot++, weight);
  run_->execute();
  values_ = run_->output(0).to_doubles();
}

double RowProgram::value(std::int64_t r, std::size_t scalar) const {
  return values_.at(static_cast<std::size_t>(r * scalars_) + scalar);
}

Tensor RowProgram::gradient(std::size_t i) const {
  ONNXRAY_ASSERT(!spec_.fold);
  return run_->output(1 + i).rows(0, used_rows_ * scalars_);
}

}  // namespace onnxray
