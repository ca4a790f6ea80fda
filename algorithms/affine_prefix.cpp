#include "algorithms/affine_prefix.h"

#include <algorithm>
#include <numeric>

#include "engine/autodiff.h"
#include "engine/base/phases.h"
#include "engine/op.h"
#include "engine/work.h"

namespace onnxray {
namespace {

// What a varied value costs in a step, in multiply-adds per element: its row is made of two others, its gradient added
// to a sum in float64. A device multiplies faster than it reads, and what lies behind the operators passes through the
// host on its way to the path and back, which only many rows repay.
std::int64_t row_work(const Session& session, std::int64_t rows) {
  constexpr std::int64_t kManyRows = 256;
  return session.model().backend().device != nullptr && rows < kManyRows ? 1024 : 64;
}

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
  Ends(const Graph& g, std::size_t targets, ValueId start, std::int64_t row_work)
      : g_(g), row_work_(row_work), uses_(g.use_counts()), readers_(g.value_count()) {
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
  std::int64_t row_work_;
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
      } else if (2 * work < row_work_ * count_of(g_.value(out).dims)) {
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

std::size_t budget_of(const Session& session) {
  const std::size_t given = session.request().compute.memory_bytes;
  return given > 0 ? given : default_memory_budget();
}

// The only part's memory, or all parts joined.
Tensor joined(const std::vector<Tensor>& parts) { return parts.size() == 1 ? parts[0] : stack_rows(parts); }

}  // namespace

std::vector<const Graph*> AffinePrefix::Prefix::graphs() const {
  std::vector<const Graph*> all;
  for (const Part& part : parts) all.push_back(&part.graph);
  if (cut) all.push_back(cut->suffix.get());
  return all;
}

AffinePrefix::AffinePrefix(const Session& session, std::int64_t rows) : given_(session) {
  const std::int64_t work = row_work(session, rows);
  const InPhase phase(Phase::kPrepare);
  const auto make = [&] { return find(work); };
  prefix_ = session.key().empty()
                ? std::make_shared<const Prefix>(make())
                : session.model().shared<Prefix>(detail::concat("affine ", session.examples(), ' ', session.to().size(),
                                                                ' ', budget_of(session), ' ', work, ' ', session.key()),
                                                 make);
  if (!prefix_->cut) return;
  moved_.emplace(session.cut_again(*prefix_->cut));
  std::vector<Tensor> actual;
  for (const CutValue& c : session.vary()) actual.push_back(c.actual);
  moved_->set_actual(push(actual));
}

AffinePrefix::Prefix AffinePrefix::find(std::int64_t row_work) const {
  const Session& session = given_;
  Prefix made{.row_work = row_work, .parts = std::vector<Part>(session.vary().size()), .cut = {}};
  const Graph& g = session.suffix();
  const std::size_t count = session.vary().size();
  const auto targets = static_cast<std::ptrdiff_t>(session.targets().size());
  std::vector<ValueId> cut, outputs(g.outputs().begin(), g.outputs().begin() + targets);
  std::vector<std::string> names;
  bool any = false;
  const std::int64_t rows = session.examples() * static_cast<std::int64_t>(session.to().size());
  const std::size_t budget = budget_of(session);
  for (std::size_t i = 0; i < count; ++i) {
    const ValueId v = g.inputs()[i];
    const std::string& name = session.vary()[i].name;
    Part& part = made.parts[i];
    if (is_float(g.value(v).dtype)) {
      const Ends ends(g, session.targets().size(), v, row_work);
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
  if (!any) return made;
  outputs.insert(outputs.end(), cut.begin(), cut.end());
  cut.insert(cut.end(), g.inputs().begin() + static_cast<std::ptrdiff_t>(count), g.inputs().end());
  made.cut = session.moved_cut(extract(g, cut, outputs), names);
  return made;
}

std::shared_ptr<const Plan> AffinePrefix::plan(const std::string& what, std::size_t part,
                                               const std::function<Graph()>& make) const {
  const Model& model = given_.model();
  const auto lowered = [&] { return lower_for(model.backend(), make(), model.evaluator()); };
  if (given_.key().empty()) return Plan::compile(lowered(), model.backend(), model.prepared());
  return model.plan(detail::concat("affine ", what, ' ', part, ' ', prefix_->row_work, ' ', given_.key()), lowered);
}

std::vector<Tensor> AffinePrefix::push(const std::vector<Tensor>& rows) const {
  if (!moved_) return rows;
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (prefix_->parts[i].stays) out.push_back(rows[i]);
    if (prefix_->parts[i].ends == 0) continue;
    for (Tensor& t : push_part(i, moved_->vary().data() + out.size(), rows[i])) out.push_back(std::move(t));
  }
  return out;
}

// Values [to, to + ends) of the moved session.
std::vector<Tensor> AffinePrefix::push_part(std::size_t i, const CutValue* to, const Tensor& rows) const {
  const Part& part = prefix_->parts[i];
  const CutValue& from = given_.vary()[i];
  const auto make = [&] {
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
    return g;
  };
  const RunPool::Run held = given_.model().run_of(plan("push", i, make), given_.request().compute.memory_bytes);
  PlanRun& run = *held;
  std::vector<std::size_t> all(part.ends);
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::vector<std::vector<Tensor>> parts(part.ends);
  const std::int64_t count = rows.dims()[0];
  for (std::int64_t r = 0; r < count; ++r) {
    run.bind(0, rows.rows(r, r + 1));
    run.execute();
    run.fetch(all);
    for (std::size_t j = 0; j < part.ends; ++j) parts[j].push_back(run.output(j));
  }
  std::vector<Tensor> out;
  for (std::size_t j = 0; j < part.ends; ++j) {
    out.push_back(joined(parts[j]).reshaped(with_rows(count, to[j].row_dims)));
  }
  return out;
}

std::vector<Tensor> AffinePrefix::pull(const std::vector<Tensor>& gradients) const {
  if (!moved_) return gradients;
  std::vector<Tensor> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < prefix_->parts.size(); ++i) {
    Tensor sum;
    if (prefix_->parts[i].stays) sum = gradients[at++];
    if (prefix_->parts[i].ends > 0) {
      Tensor pulled = pull_part(i, moved_->vary().data() + at, gradients.data() + at);
      if (prefix_->parts[i].stays) {
        const auto to = pulled.mutable_data<double>();
        const auto direct = sum.data<double>();
        for (std::size_t k = 0; k < to.size(); ++k) to[k] += direct[k];
      }
      sum = std::move(pulled);
      at += prefix_->parts[i].ends;
    }
    out.push_back(std::move(sum));
  }
  return out;
}

Tensor AffinePrefix::pull_part(std::size_t i, const CutValue* to, const Tensor* gradients) const {
  const Part& part = prefix_->parts[i];
  const CutValue& from = given_.vary()[i];
  const auto make = [&] {
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
    return g;
  };
  const RunPool::Run held = given_.model().run_of(plan("pull", i, make), given_.request().compute.memory_bytes);
  PlanRun& run = *held;
  std::vector<Tensor> parts;
  const std::int64_t count = gradients[0].dims()[0];
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::size_t j = 0; j < part.ends; ++j) run.bind(j, gradients[j].rows(r, r + 1));
    run.execute();
    parts.push_back(run.output(0).to(DType::f64));
  }
  return joined(parts).reshaped(with_rows(count, from.row_dims));
}

}  // namespace onnxray
