// Rows of a batch: one run of three rows against three runs of one, forward and backward.
#include <algorithm>
#include <cstring>

#include "engine/autodiff.h"
#include "engine/passes/passes.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

constexpr std::int64_t kRows = 3;

// The tensors of several rows joined along `axis`, row after row.
Tensor join(std::span<const Tensor> rows, std::int64_t axis) {
  Dims dims = rows[0].dims();
  const auto a = static_cast<std::size_t>(axis);
  const std::int64_t outer = product(dims, 0, a);
  const std::size_t chunk =
      static_cast<std::size_t>(product(dims, a, dims.size())) * size_of(rows[0].dtype());  // bytes of a row's part
  dims[a] *= static_cast<std::int64_t>(rows.size());
  Tensor out(rows[0].dtype(), dims);
  auto* to = static_cast<std::byte*>(out.raw_mutable());
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const Tensor& row : rows) {
      std::memcpy(to, static_cast<const std::byte*>(row.raw()) + static_cast<std::size_t>(o) * chunk, chunk);
      to += chunk;
    }
  }
  return out;
}

// Row r of `rows` of them.
Tensor part(const Tensor& t, const RowMap& map, std::int64_t r, std::int64_t rows) {
  Dims dims = t.dims();
  const auto a = static_cast<std::size_t>(map.axis);
  dims[a] /= rows;
  const std::int64_t outer = product(dims, 0, a) * map.outer;
  const std::size_t chunk = static_cast<std::size_t>(product(dims, a, dims.size()) / map.outer) * size_of(t.dtype());
  Tensor out(t.dtype(), dims);
  for (std::int64_t o = 0; o < outer; ++o) {
    std::memcpy(static_cast<std::byte*>(out.raw_mutable()) + static_cast<std::size_t>(o) * chunk,
                static_cast<const std::byte*>(t.raw()) + static_cast<std::size_t>(o * rows + r) * chunk, chunk);
  }
  return out;
}

// Which inputs carry rows, and how, in one trial: along an axis of input 0 alone, of all inputs that have that axis
// (counted from the left or from the right) with the same extent, or of another input alone.
std::vector<std::vector<RowMap>> row_trials(std::span<const Tensor> inputs) {
  std::vector<std::vector<RowMap>> trials;
  const auto add = [&](std::vector<RowMap> t) {
    if (std::find(trials.begin(), trials.end(), t) == trials.end()) trials.push_back(std::move(t));
  };
  const auto extent = [&](std::size_t i, std::size_t axis) { return inputs[i].dims()[axis]; };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    for (std::size_t axis = 0; axis < inputs[i].rank(); ++axis) {
      if (extent(i, axis) == 0) continue;
      std::vector<RowMap> alone(inputs.size());
      alone[i] = RowMap::rows(static_cast<std::int64_t>(axis), extent(i, axis));
      if (i == 0 || axis == 0) add(alone);
      if (i != 0) continue;
      std::vector<RowMap> left = alone, right = alone;
      for (std::size_t j = 1; j < inputs.size(); ++j) {
        if (!inputs[j].defined()) continue;
        if (axis < inputs[j].rank() && extent(j, axis) == extent(0, axis)) left[j] = alone[0];
        const std::size_t from_right = inputs[0].rank() - axis;
        if (inputs[j].rank() < from_right) continue;
        const std::size_t a = inputs[j].rank() - from_right;
        if (extent(j, a) == extent(0, axis)) right[j] = RowMap::rows(static_cast<std::int64_t>(a), extent(j, a));
      }
      add(left);
      add(right);
    }
  }
  return trials;
}

// A sample with rows in some inputs: the graph of one row, of all rows, and the values of each row.
struct Trial {
  std::vector<RowMap> maps;               // per node input
  std::vector<std::vector<Tensor>> rows;  // [row][node input]
  OneNode one;
  std::optional<Graph> batched;  // none: the rule answers mixed
  std::string text;

  Trial(const Subject& s, const OpSample& sample, std::size_t k, DType float_type, std::vector<RowMap> row_maps)
      : maps(std::move(row_maps)) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      rows.push_back(draw_inputs(sample, float_type, seed_of(s, k, static_cast<std::uint64_t>(r) + 1)));
      for (std::size_t i = 0; i < maps.size(); ++i) {
        if (maps[i].is_none()) rows.back()[i] = rows[0][i];
      }
    }
    one = one_node(s, sample, rows[0]);
    for (std::size_t j = 0; j < one.given.size(); ++j) {
      one.graph.value(one.graph.inputs()[j]).rows = maps[one.given[j]];
    }
    batched = batch_rows(one.graph, kRows).graph;
    if (batched) batched->verify();
    text = "rows of";
    for (std::size_t i = 0; i < maps.size(); ++i) {
      if (maps[i].is_rows()) text += detail::concat(" input ", i, " on axis ", maps[i].axis, " inner ", maps[i].inner);
    }
  }

  // What the batched graph's inputs are bound to.
  [[nodiscard]] std::vector<Tensor> joined() const {
    std::vector<Tensor> given;
    for (const std::size_t i : one.given) {
      std::vector<Tensor> parts;
      for (const auto& row : rows) parts.push_back(row[i]);
      given.push_back(maps[i].is_rows() ? join(parts, maps[i].axis) : rows[0][i]);
    }
    return given;
  }
};

template <class Report>
void compare_forward(const Subject& s, const OpSample& sample, DType float_type, const Trial& t, const Report& report) {
  const Graph& g = *t.batched;
  const std::vector<Tensor> together = run_plan(compile(g, s.backend), t.joined());
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::vector<Tensor> single = run_sample(s, sample, t.rows[static_cast<std::size_t>(r)]);
    for (std::size_t i = 0; i < single.size(); ++i) {
      const RowMap map = g.value(g.outputs()[i]).rows;
      const Tensor got = map.is_rows() ? part(together[i], map, r, kRows) : together[i];
      const double relative = float_type == DType::f64 ? 0 : tolerance(s, float_type, got.dtype());
      const std::string off = difference(got, single[i], relative);
      if (!off.empty()) report(detail::concat(t.text, ": row ", r, " output ", i, ": ", off));
    }
  }
}

// Five backward rows over three forward rows against the gradients of single rows. Only for outputs and inputs that
// carry rows.
template <class Report>
void compare_backward(const Subject& s, const Trial& t, std::uint64_t seed, const Report& report) {
  const std::vector<std::int64_t> index{2, 0, 0, 1, 2};
  const auto backward_rows = static_cast<std::int64_t>(index.size());
  Graph g = *t.batched;
  std::vector<std::size_t> wrt_at;  // graph inputs
  std::vector<ValueId> wrt;
  for (std::size_t j = 0; j < t.one.given.size(); ++j) {
    const ValueId v = g.inputs()[j];
    if (g.value(v).dtype != DType::f64 || !g.value(v).rows.is_rows()) continue;
    wrt_at.push_back(j);
    wrt.push_back(v);
  }
  std::vector<Tensor> given = t.joined();
  const ValueId row_index = g.add_input("row_index", DType::i64, {backward_rows});
  given.push_back(Tensor::ints(index));
  std::vector<Seed> seeds;
  std::vector<std::pair<std::size_t, Tensor>> cotangents;  // output, all backward rows
  for (const std::size_t k : s.spec.gradient_outputs) {
    const Value y = g.value(g.outputs().at(k));
    if (y.dtype != DType::f64 || !y.rows.is_rows()) continue;
    Dims dims = y.dims;
    dims[static_cast<std::size_t>(y.rows.axis)] = y.rows.outer * y.rows.inner * backward_rows;
    const Tensor dy = random_tensor(DType::f64, dims, -1, 1, seed * 64 + 60 + k);
    const ValueId v = g.add_input("dy" + std::to_string(k), DType::f64, dims, y.rows);
    seeds.push_back({g.outputs()[k], v});
    given.push_back(dy);
    cotangents.emplace_back(k, dy);
  }
  if (wrt.empty() || seeds.empty()) return;
  Builder b(g, evaluator_of(s.backend));
  const std::vector<ValueId> grads = gradient(b, {.seeds = seeds, .wrt = wrt, .row_index = row_index});
  std::vector<ValueId> outputs;
  for (const ValueId v : grads) {
    if (v != kNoValue) outputs.push_back(v);
  }
  const std::vector<ValueId> forward_outputs = g.outputs();
  g.set_outputs(outputs);
  g.verify();
  const std::vector<Tensor> together = run_plan(compile(g, s.backend), given);

  for (std::int64_t r = 0; r < backward_rows; ++r) {
    Graph single = t.one.graph;
    std::vector<Tensor> x;
    for (const std::size_t i : t.one.given) {
      x.push_back(t.rows[static_cast<std::size_t>(index[static_cast<std::size_t>(r)])][i]);
    }
    std::vector<Seed> single_seeds;
    for (const auto& [k, dy] : cotangents) {
      const RowMap map = g.value(forward_outputs[k]).rows;
      const Tensor own = part(dy, map, r, backward_rows);
      const ValueId y = single.outputs()[k];
      single_seeds.push_back({y, single.add_input("dy" + std::to_string(k), DType::f64, own.dims())});
      x.push_back(own);
    }
    std::vector<ValueId> single_wrt;
    for (const std::size_t j : wrt_at) single_wrt.push_back(single.inputs()[j]);
    Builder sb(single, evaluator_of(s.backend));
    const std::vector<ValueId> single_grads = gradient(sb, {.seeds = single_seeds, .wrt = single_wrt});
    std::vector<ValueId> live;
    for (const ValueId v : single_grads) {
      if (v != kNoValue) live.push_back(v);
    }
    single.set_outputs(live);
    const std::vector<Tensor> want = run_plan(compile(single, s.backend), x);
    std::size_t next = 0, own = 0;
    for (std::size_t i = 0; i < wrt.size(); ++i) {
      if ((grads[i] == kNoValue) != (single_grads[i] == kNoValue)) {
        report(detail::concat(t.text, ": the gradient of input ", t.one.given[wrt_at[i]], " exists only for one row"));
      }
      const std::size_t at = next, single_at = own;
      next += grads[i] != kNoValue;
      own += single_grads[i] != kNoValue;
      if (grads[i] == kNoValue || single_grads[i] == kNoValue) continue;
      const RowMap map = t.maps[t.one.given[wrt_at[i]]];
      const std::string off = difference(part(together[at], map, r, backward_rows), want[single_at], 0);
      if (off.empty()) continue;
      report(detail::concat(t.text, ": gradient of input ", t.one.given[wrt_at[i]], ", backward row ", r, ": ", off));
      return;
    }
  }
}

}  // namespace

Failures check_rows(const Subject& s) {
  if (s.op.rows == nullptr) return {};
  bool carried = false;
  Failures failures = for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    for (const std::vector<RowMap>& maps : row_trials(draw_inputs(sample, float_type, seed_of(s, k)))) {
      const Trial trial(s, sample, k, float_type, maps);
      if (!trial.batched) continue;
      carried = true;
      compare_forward(s, sample, float_type, trial, report);
    }
  });
  if (!carried && failures.empty()) {
    failures.push_back(s.op.name + ": has a row rule, but it answers mixed for every sample");
  }
  return failures;
}

Failures check_gradient_rows(const Subject& s) {
  if (s.op.rows == nullptr || s.op.grad == nullptr || s.op.traits.piecewise_constant) return {};
  return for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    if (float_type != DType::f64) return;
    const OpSample& sample = s.spec.samples[k];
    for (const std::vector<RowMap>& maps : row_trials(draw_inputs(sample, float_type, seed_of(s, k)))) {
      const Trial trial(s, sample, k, float_type, maps);
      if (trial.batched) compare_backward(s, trial, seed_of(s, k), report);
    }
  });
}

}  // namespace onnxray::testing
