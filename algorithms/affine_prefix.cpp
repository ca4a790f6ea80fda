#include "algorithms/affine_prefix.h"

#include <algorithm>

#include "engine/autodiff.h"
#include "engine/op.h"
#include "engine/work.h"

namespace onnxray {
namespace {

// What a varied value costs in a step, in multiply-adds per element: its row is made of two others, its gradient added
// to a sum in float64.
constexpr std::int64_t kRowWork = 64;

std::size_t index_of(ValueId v) { return static_cast<std::size_t>(v); }

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

// Finds where the ways that start at a value become worth cutting.
class Ends {
 public:
  Ends(const Graph& g, std::size_t targets, ValueId start) : g_(g), uses_(g.use_counts()), readers_(g.value_count()) {
    for (const Node& node : g.nodes()) {
      for (const ValueId v : node.inputs) {
        if (v == kNoValue) continue;
        std::vector<const Node*>& list = readers_[index_of(v)];
        if (list.empty() || list.back() != &node) list.push_back(&node);
      }
    }
    // The cut value is an output of the suffix, once, for its own sake.
    const auto asked = g.outputs().begin() + static_cast<std::ptrdiff_t>(targets);
    visit(start, static_cast<int>(std::count(asked, g.outputs().end(), start)));
    if (found.empty()) stays = true;
  }

  std::vector<ValueId> found;  // behind a convolution or a matrix product and the sums with constants after it
  bool stays = false;          // other readers are left

 private:
  const Graph& g_;
  std::vector<int> uses_;
  std::vector<std::vector<const Node*>> readers_;

  [[nodiscard]] int reads(ValueId v) const {
    int count = 0;
    for (const Node* node : readers_[index_of(v)]) {
      count += static_cast<int>(std::count(node->inputs.begin(), node->inputs.end(), v));
    }
    return count;
  }

  void visit(ValueId v, int outputs_allowed) {
    if (uses_[index_of(v)] != reads(v) + outputs_allowed) stays = true;  // it is asked for
    for (const Node* node : readers_[index_of(v)]) {
      if (!affine_in(g_, *node, v)) {
        stays = true;
        continue;
      }
      const ValueId out = node->outputs[0];
      const std::int64_t work = multiply_adds(g_, *node);
      if (work == 0) {
        visit(out, 0);
      } else if (2 * work < kRowWork * count_of(g_.value(out).dims)) {
        stays = true;  // as cheap as the row
      } else {
        found.push_back(behind_sums(out));
      }
    }
  }

  [[nodiscard]] ValueId behind_sums(ValueId v) const {
    while (uses_[index_of(v)] == 1 && readers_[index_of(v)].size() == 1) {
      const Node& node = *readers_[index_of(v)][0];
      const bool sum = node.op->name == "add" || node.op->name == "sub";
      // A sum that broadcasts would widen the value.
      if (!sum || !affine_in(g_, node, v) || g_.value(node.outputs[0]).dims != g_.value(v).dims) break;
      v = node.outputs[0];
    }
    return v;
  }
};

Dims with_rows(std::int64_t rows, const Dims& row_dims) {
  Dims d = row_dims;
  d.insert(d.begin(), rows);
  return d;
}

}  // namespace

AffinePrefix::AffinePrefix(const Session& session) : given_(session), parts_(session.vary().size()) {
  const Graph& g = session.suffix();
  const std::size_t count = session.vary().size();
  const auto targets = static_cast<std::ptrdiff_t>(session.targets().size());
  std::vector<ValueId> cut, outputs(g.outputs().begin(), g.outputs().begin() + targets);
  std::vector<std::string> names;
  bool any = false;
  const std::int64_t rows = session.examples() * static_cast<std::int64_t>(session.to().size());
  const std::size_t budget =
      session.request().compute.memory_bytes > 0 ? session.request().compute.memory_bytes : default_memory_budget();
  for (std::size_t i = 0; i < count; ++i) {
    const ValueId v = g.inputs()[i];
    const std::string& name = session.vary()[i].name;
    Part& part = parts_[i];
    if (is_float(g.value(v).dtype)) {
      const Ends ends(g, session.targets().size(), v);
      std::int64_t elements = 0;
      for (const ValueId end : ends.found) elements += count_of(g.value(end).dims);
      // Points, baselines and sums of all examples are held at once.
      if (!ends.found.empty() && static_cast<std::size_t>(elements * rows) * 24 <= budget / 4) {
        part = {.stays = ends.stays, .ends = ends.found.size(), .graph = extract(g, {v}, ends.found)};
        any = true;
        if (part.stays) cut.push_back(v), names.push_back(name);
        for (const ValueId end : ends.found) {
          cut.push_back(end);
          names.push_back(detail::concat(name, " behind ", g.label(end)));
        }
        continue;
      }
    }
    cut.push_back(v);
    names.push_back(name);
  }
  if (!any) return;
  outputs.insert(outputs.end(), cut.begin(), cut.end());
  cut.insert(cut.end(), g.inputs().begin() + static_cast<std::ptrdiff_t>(count), g.inputs().end());
  moved_.emplace(session.cut_again(extract(g, cut, outputs), names));
  std::vector<Tensor> actual;
  for (const CutValue& c : session.vary()) actual.push_back(c.actual);
  moved_->set_actual(push(actual));
}

std::shared_ptr<const Plan> AffinePrefix::plan(const std::string& what, std::size_t part, Graph graph) const {
  const Model& model = given_.model();
  const auto make = [&] { return lower_for(model.backend(), graph, model.evaluator()); };
  if (given_.key().empty()) return Plan::compile(make(), model.backend(), model.prepared());
  return model.plan(given_.key() + detail::concat("|affine ", what, part), make);
}

std::vector<Tensor> AffinePrefix::push(const std::vector<Tensor>& rows) const {
  if (!moved_) return rows;
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (parts_[i].stays) out.push_back(rows[i]);
    if (parts_[i].ends == 0) continue;
    for (Tensor& t : push_part(i, moved_->vary().data() + out.size(), rows[i])) out.push_back(std::move(t));
  }
  return out;
}

// Values [to, to + ends) of the moved session.
std::vector<Tensor> AffinePrefix::push_part(std::size_t i, const CutValue* to, const Tensor& rows) const {
  const Part& part = parts_[i];
  const CutValue& from = given_.vary()[i];
  Graph g;
  Builder b(g, given_.model().evaluator());
  const ValueId x =
      from_rows_first(b, g.add_input("x", from.dtype, with_rows(1, from.row_dims)), from.one_row, from.rows, false);
  const std::vector<ValueId> map = splice(b, part.graph, {x});
  std::vector<ValueId> outputs;
  for (std::size_t j = 0; j < part.ends; ++j) {
    outputs.push_back(rows_first(b, map[index_of(part.graph.outputs()[j])], to[j].rows, false));
  }
  g.set_outputs(std::move(outputs));
  PlanRun run(plan("push ", i, std::move(g)));
  std::vector<std::vector<Tensor>> parts(part.ends);
  const std::int64_t count = rows.dims()[0];
  for (std::int64_t r = 0; r < count; ++r) {
    run.bind(0, rows.rows(r, r + 1));
    run.execute();
    for (std::size_t j = 0; j < part.ends; ++j) parts[j].push_back(run.output(j));
  }
  std::vector<Tensor> out;
  for (std::size_t j = 0; j < part.ends; ++j) {
    out.push_back(stack_rows(parts[j]).reshaped(with_rows(count, to[j].row_dims)));
  }
  return out;
}

std::vector<Tensor> AffinePrefix::pull(const std::vector<Tensor>& gradients) const {
  if (!moved_) return gradients;
  std::vector<Tensor> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Tensor sum;
    if (parts_[i].stays) sum = gradients[at++];
    if (parts_[i].ends > 0) {
      Tensor pulled = pull_part(i, moved_->vary().data() + at, gradients.data() + at);
      if (parts_[i].stays) {
        const auto to = pulled.mutable_data<double>();
        const auto direct = sum.data<double>();
        for (std::size_t k = 0; k < to.size(); ++k) to[k] += direct[k];
      }
      sum = std::move(pulled);
      at += parts_[i].ends;
    }
    out.push_back(std::move(sum));
  }
  return out;
}

Tensor AffinePrefix::pull_part(std::size_t i, const CutValue* to, const Tensor* gradients) const {
  const Part& part = parts_[i];
  const CutValue& from = given_.vary()[i];
  Graph g;
  Builder b(g, given_.model().evaluator());
  // The gradient of an affine operator does not depend on the point.
  const ValueId x = b.zeros(from.dtype, from.one_row);
  std::vector<ValueId> dy;
  for (std::size_t j = 0; j < part.ends; ++j) {
    dy.push_back(g.add_input(detail::concat("dy ", j), to[j].dtype, with_rows(1, to[j].row_dims)));
  }
  Builder plain(g);  // without folding: the nodes are to be differentiated
  const std::vector<ValueId> map = splice(plain, part.graph, {x});
  GradientRequest request;
  for (std::size_t j = 0; j < part.ends; ++j) {
    request.seeds.push_back(
        {map[index_of(part.graph.outputs()[j])], from_rows_first(plain, dy[j], to[j].one_row, to[j].rows, false)});
  }
  request.wrt = {x};
  const ValueId dx = gradient(plain, request)[0];
  g.set_outputs({rows_first(plain, dx, from.rows, false)});
  PlanRun run(plan("pull ", i, std::move(g)));
  std::vector<Tensor> parts;
  const std::int64_t count = gradients[0].dims()[0];
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::size_t j = 0; j < part.ends; ++j) run.bind(j, gradients[j].rows(r, r + 1));
    run.execute();
    parts.push_back(run.output(0).to(DType::f64));
  }
  return stack_rows(parts).reshaped(with_rows(count, from.row_dims));
}

}  // namespace onnxray
