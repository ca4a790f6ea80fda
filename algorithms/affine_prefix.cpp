#include "algorithms/affine_prefix.h"

#include <algorithm>

#include "engine/autodiff.h"
#include "engine/op.h"

namespace onnxray {
namespace {

// A layer that widens its input by more than this costs more in rows and sums than its arithmetic saves.
constexpr std::int64_t kMostGrowth = 8;

// The node, if it is affine in `v`, its only active input.
bool affine_in(const Graph& g, const Node& node, ValueId v) {
  if (node.outputs.size() != 1 || std::count(node.inputs.begin(), node.inputs.end(), v) != 1) return false;
  for (const ValueId other : node.inputs) {
    if (other != kNoValue && other != v && !g.is_constant(other)) return false;
  }
  const OpTraits& t = node.op->traits;
  if (node.op->name == "div") return node.inputs[0] == v;
  return t.linear || t.moves || t.view;
}

bool weighted(const Node& node) { return node.op->name == "conv" || node.op->name == "matmul"; }

// Where the affine chain that starts at v ends: behind its first convolution or matrix product and the sum after it.
ValueId end_of_chain(const Graph& g, ValueId v) {
  const std::vector<int> uses = g.use_counts();
  ValueId end = kNoValue;
  // The cut value itself is an output of the suffix: one use more.
  int allowed = 1 + static_cast<int>(std::count(g.outputs().begin(), g.outputs().end(), v));
  for (const Node& node : g.nodes()) {
    if (std::find(node.inputs.begin(), node.inputs.end(), v) == node.inputs.end()) continue;
    if (uses[static_cast<std::size_t>(v)] != allowed || !affine_in(g, node, v)) break;
    const bool add = node.op->name == "add" || node.op->name == "sub";
    if (end != kNoValue && !add) break;
    if (end != kNoValue || weighted(node)) end = node.outputs[0];
    v = node.outputs[0];
    allowed = 1;
  }
  return end;
}

}  // namespace

AffinePrefix::AffinePrefix(const Session& session) : given_(session), prefixes_(session.vary().size()) {
  const Graph& g = session.suffix();
  const std::size_t count = session.vary().size();
  const auto targets = session.targets().size();
  std::vector<ValueId> cut(g.inputs().begin(), g.inputs().end());
  std::vector<ValueId> outputs(g.outputs());
  bool any = false;
  const std::int64_t rows = session.examples() * static_cast<std::int64_t>(session.to().size());
  const std::size_t budget =
      session.request().compute.memory_bytes > 0 ? session.request().compute.memory_bytes : default_memory_budget();
  for (std::size_t i = 0; i < count; ++i) {
    const ValueId v = g.inputs()[i];
    if (!is_float(g.value(v).dtype)) continue;
    const ValueId end = end_of_chain(g, v);
    if (end == kNoValue) continue;
    const std::int64_t before = count_of(g.value(v).dims), after = count_of(g.value(end).dims);
    // Points, baselines and sums of all examples are held at once.
    const bool fits = static_cast<std::size_t>(after * rows) * 24 <= budget / 4;
    if (after > kMostGrowth * before || !fits) continue;
    prefixes_[i] = extract(g, {v}, {end});
    cut[i] = end;
    outputs[targets + i] = end;
    any = true;
  }
  if (!any) return;
  moved_.emplace(session.cut_again(extract(g, cut, outputs)));
  std::vector<Tensor> actual;
  for (const CutValue& c : session.vary()) actual.push_back(c.actual);
  moved_->set_actual(push(actual));
}

std::vector<Tensor> AffinePrefix::push(const std::vector<Tensor>& rows) const {
  if (!moved_) return rows;
  std::vector<Tensor> out = rows;
  const Model& model = given_.model();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!prefixes_[i]) continue;
    const CutValue &from = given_.vary()[i], &to = moved_->vary()[i];
    Graph g;
    Builder b(g, model.evaluator());
    Dims dims = from.row_dims;
    dims.insert(dims.begin(), 1);
    const ValueId x = from_rows_first(b, g.add_input("x", from.dtype, dims), from.one_row, from.rows, false);
    const std::vector<ValueId> map = splice(b, *prefixes_[i], {x});
    const ValueId y = map[static_cast<std::size_t>(prefixes_[i]->outputs()[0])];
    g.set_outputs({rows_first(b, y, to.rows, false)});
    PlanRun run(Plan::compile(lower_for(model.backend(), g, model.evaluator()), model.backend(), model.prepared()));
    std::vector<Tensor> parts;
    for (std::int64_t r = 0; r < rows[i].dims()[0]; ++r) {
      run.bind(0, rows[i].rows(r, r + 1));
      run.execute();
      parts.push_back(run.output(0));
    }
    dims = to.row_dims;
    dims.insert(dims.begin(), rows[i].dims()[0]);
    out[i] = stack_rows(parts).reshaped(dims);
  }
  return out;
}

Tensor AffinePrefix::pull(std::size_t i, const Tensor& gradients) const {
  if (!moved_ || !prefixes_[i]) return gradients;
  const Model& model = given_.model();
  const CutValue &from = given_.vary()[i], &to = moved_->vary()[i];
  Graph g;
  Builder b(g, model.evaluator());
  Dims dims = to.row_dims;
  dims.insert(dims.begin(), 1);
  // The gradient of an affine operator does not depend on the point.
  const ValueId x = b.zeros(from.dtype, from.one_row);
  const ValueId dy = g.add_input("dy", to.dtype, dims);
  Builder plain(g);  // without folding: the nodes are to be differentiated
  const std::vector<ValueId> map = splice(plain, *prefixes_[i], {x});
  GradientRequest request;
  request.seeds = {{map[static_cast<std::size_t>(prefixes_[i]->outputs()[0])],
                    from_rows_first(plain, dy, to.one_row, to.rows, false)}};
  request.wrt = {x};
  const ValueId dx = gradient(plain, request)[0];
  g.set_outputs({rows_first(plain, dx, from.rows, false)});
  PlanRun run(Plan::compile(lower_for(model.backend(), g, model.evaluator()), model.backend(), model.prepared()));
  std::vector<Tensor> parts;
  for (std::int64_t r = 0; r < gradients.dims()[0]; ++r) {
    run.bind(0, gradients.rows(r, r + 1));
    run.execute();
    parts.push_back(run.output(0).to(DType::f64));
  }
  dims = from.row_dims;
  dims.insert(dims.begin(), gradients.dims()[0]);
  return stack_rows(parts).reshaped(dims);
}

}  // namespace onnxray
