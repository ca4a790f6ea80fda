#include "algorithms/row_graph.h"

#include <algorithm>
#include <unordered_map>

#include "engine/autodiff.h"

namespace onnxray {
namespace {

class RowGraph final : public FoldCtx {
 public:
  RowGraph(Builder& b, const Session& session, const RowSpec& spec, const std::vector<Tensor>& baselines,
           std::int64_t rows)
      : FoldCtx(b, session),
        spec_(spec),
        baselines_(baselines),
        rows_(rows),
        scalars_(static_cast<std::int64_t>(session.to().size())),
        real_(session.float_type()),
        batched_(session.batched()) {}

  std::int64_t rows() const override { return rows_; }

  ValueId actual(std::size_t i) override {
    return batched_ ? gather(all_actual(i), index(row_input::kExample, rows_)) : all_actual(i);
  }

  ValueId baseline(std::size_t i) override {
    const ValueId all = all_baselines(i);
    if (!batched_ && b.dims(all)[0] == 1) return all;
    return gather(all, index(row_input::kBaselineRow, rows_));
  }

  ValueId broadcast_actual(std::size_t i) override { return session.examples() == 1 ? all_actual(i) : actual(i); }

  ValueId broadcast_baseline(std::size_t i) override {
    const ValueId all = all_baselines(i);
    return b.dims(all)[0] == 1 ? all : baseline(i);
  }

  ValueId alpha() override { return plan_input(row_input::kAlpha, real_, {rows_}); }

  ValueId input(std::string_view name) override {
    for (const RowInput& in : spec_.inputs) {
      if (in.name != name) continue;
      return plan_input(row_input::given(name), is_float(in.dtype) ? real_ : in.dtype,
                        in.per_row ? with_rows(rows_, in.dims) : in.dims, in.per_row);
    }
    fail_internal("a row maker asks for the input '", name, "', which its spec does not list");
  }

  ValueId gradient(std::size_t i) override {
    if (gradients_.empty()) differentiate();
    return gradients_.at(i);
  }

  ValueId value(std::size_t i) override { return handed_out(i, from_.at(i)); }

  ValueId reference(std::size_t i) override {
    ONNXRAY_ASSERT(has_reference(), "a fold asks for a reference pass that the rules do not have");
    return handed_out(i, reference_from_.at(i));
  }

  ValueId scalars() override { return scalar_; }

  ValueId tangent(std::size_t i) override {
    if (tangents_.empty()) find_tangents();
    return tangents_.at(i);
  }

  ValueId pull_back(std::size_t i, ValueId cotangent, std::size_t j) override {
    const CutValue& from = session.from().at(i);
    GradientRequest request;
    request.seeds = {{from_.at(i), from_rows_first(b, cotangent, from.one_row, from.rows, batched_)}};
    if (scalars_ > 1) request.row_index = index(row_input::kForwardRow, rows_ * scalars_);
    request.wrt = {made_.at(j)};
    return handed_out(onnxray::gradient(b, request)[0], session.vary().at(j), rows_ * scalars_);
  }

  void build() {
    const std::vector<ValueId> inputs = rows_of(spec_.make ? spec_.make : actual_rows());
    made_.assign(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(session.vary().size()));
    Graph body = session.suffix();
    if (batched_) {
      Batched many = batch_rows(body, rows_);
      ONNXRAY_ASSERT(many.graph.has_value(), "rows mix at ", many.mixed);
      body = std::move(*many.graph);
    }
    const Pass forward = run(body, inputs);
    from_ = forward.from;
    asked_ = forward.asked;
    for (const Session::Target& t : session.targets()) {
      const ValueId seeds =
          plan_input(row_input::seed(t), real_, with_rows(session.examples() * scalars_, t.row_dims), true);
      seeds_.push_back(gather(seeds, index(row_input::kScalarRow, rows_ * scalars_)));
    }
    scalar_ = weigh(forward.asked);
    std::vector<ValueId> outputs{scalar_};
    if (has_reference()) {
      const Pass reference = run(body, rows_of(spec_.reference));
      outputs.push_back(weigh(reference.asked));
      reference_from_ = reference.from;
      for (std::size_t i = 0; i < forward.values.size(); ++i) {
        reference_.emplace(forward.values[i], reference.values[i]);
      }
    }
    if (spec_.absorbed) {
      if (gradients_.empty()) differentiate();
      outputs.push_back(absorbed_);
    }
    for (std::size_t i = 0; spec_.gradient && i < from_.size(); ++i) outputs.push_back(gradient(i));
    for (std::size_t i = 0; spec_.values && i < from_.size(); ++i) outputs.push_back(value(i));
    for (std::size_t f = 0; f < spec_.folds.size(); ++f) {
      for (std::size_t i = 0; i < from_.size(); ++i) outputs.push_back(fold(f, i));
    }
    b.graph.set_outputs(std::move(outputs));
  }

 private:
  // One forward pass: the values behind the cut and the asked values, rows first.
  struct Pass {
    std::vector<ValueId> from, asked;
    std::vector<ValueId> values;  // everything that was made, in a fixed order
  };

  bool has_reference() const { return spec_.rules != nullptr && spec_.rules->reference; }

  // [E, row_dims...]
  ValueId all_actual(std::size_t i) {
    const CutValue& c = session.vary().at(i);
    return plan_input(row_input::x(c), c.dtype, with_rows(session.examples(), c.row_dims), true);
  }

  // [any, row_dims...]
  ValueId all_baselines(std::size_t i) {
    const CutValue& c = session.vary().at(i);
    ONNXRAY_ASSERT(i < baselines_.size(), "a row maker asks for a baseline that was not given");
    return plan_input(row_input::baseline(c), c.dtype, with_rows(baselines_[i].dims()[0], c.row_dims), true);
  }

  ValueId plan_input(const std::string& name, DType dtype, Dims dims, bool rows = false) {
    const auto [it, fresh] = inputs_.try_emplace(name, kNoValue);
    if (fresh) it->second = b.graph.add_input(name, dtype, std::move(dims), rows ? RowMap::rows(0) : RowMap::none());
    return it->second;
  }
  ValueId index(const char* name, std::int64_t count) { return plan_input(name, DType::i64, {count}); }
  ValueId gather(ValueId v, ValueId rows) { return b.op("gather_rows", {v, rows}, {{"axis", std::int64_t{0}}}); }

  ValueId handed_out(std::size_t i, ValueId v) {
    const CutValue& c = session.from().at(i);
    return b.reshape(rows_first(b, v, c.rows, batched_), with_rows(rows_, c.row_dims));
  }

  // What the suffix reads: rows of the varied values by `make`, and of the held ones.
  std::vector<ValueId> rows_of(const RowMakerFn& make) {
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < session.vary().size(); ++i) {
      const CutValue& c = session.vary()[i];
      const ValueId row = make(*this, i);
      ONNXRAY_ASSERT(b.dims(row) == with_rows(rows_, c.row_dims) && b.dtype(row) == c.dtype, "row maker of '", c.name,
                     "' made ", to_string(b.dims(row)), ", expected ", to_string(with_rows(rows_, c.row_dims)));
      inputs.push_back(from_rows_first(b, row, c.one_row, c.rows, batched_));
    }
    for (const CutValue& c : session.held()) {
      const bool shared = batched_ && !c.rows.is_rows();
      const ValueId all = plan_input(row_input::held(c), c.dtype,
                                     shared ? c.one_row : with_rows(session.examples(), c.row_dims), !shared);
      if (shared) {
        inputs.push_back(all);
      } else {
        const ValueId row = batched_ ? gather(all, index(row_input::kExample, rows_)) : all;
        inputs.push_back(from_rows_first(b, row, c.one_row, c.rows, batched_));
      }
    }
    return inputs;
  }

  Pass run(const Graph& body, const std::vector<ValueId>& inputs) {
    Pass pass;
    const std::vector<ValueId> map = splice(b, body, inputs);
    const auto made_before = static_cast<ValueId>(b.graph.value_count());
    const std::vector<ValueId>& outs = body.outputs();
    for (std::size_t i = 0; i < outs.size(); ++i) {
      const ValueId v = map[static_cast<std::size_t>(outs[i])];
      if (i >= session.targets().size()) {
        pass.from.push_back(v);
        continue;
      }
      // The scalars are differentiated through the same nodes that hand them out.
      const Session::Target& t = session.targets()[i];
      ValueId asked = v;
      if (t.log_probability) {
        asked = b.op("log_softmax", {asked}, {{"axis", static_cast<std::int64_t>(b.rank(asked)) - 1}});
        b.graph.value(asked).rows = b.graph.value(v).rows;
      }
      asked = rows_first(b, asked, b.graph.value(asked).rows, batched_);
      pass.asked.push_back(b.reshape(asked, with_rows(rows_, t.row_dims)));
    }
    pass.values = map;
    for (auto v = made_before; v < static_cast<ValueId>(b.graph.value_count()); ++v) pass.values.push_back(v);
    return pass;
  }

  // Sums of seeds . values: [R * K].
  ValueId weigh(const std::vector<ValueId>& asked) {
    ValueId sum = kNoValue;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      ValueId product = b.mul(spread(asked[i]), seeds_[i]);
      std::vector<std::int64_t> axes;
      for (std::size_t a = 1; a < b.rank(product); ++a) axes.push_back(static_cast<std::int64_t>(a));
      if (!axes.empty()) product = b.reduce("reduce_sum", product, axes, false);
      sum = sum == kNoValue ? product : b.add(sum, product);
    }
    return sum;
  }

  void differentiate() {
    GradientRequest request;
    const bool relevance = spec_.rules != nullptr && spec_.rules->carries == Carries::kRelevance;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      request.seeds.push_back({asked_[i], relevance ? b.mul(spread(asked_[i]), seeds_[i]) : seeds_[i]});
    }
    if (scalars_ > 1) request.row_index = index(row_input::kForwardRow, rows_ * scalars_);
    request.wrt = from_;  // at the cut: the varied row itself
    request.rules = spec_.rules.get();
    if (has_reference()) {
      request.reference = [this](ValueId v) {
        const auto it = reference_.find(v);
        return it == reference_.end() ? v : it->second;  // what both passes share
      };
    }
    std::vector<Absorbed> absorbed;
    if (spec_.absorbed) request.absorbed = &absorbed;
    const std::vector<ValueId> d = onnxray::gradient(b, request);
    if (spec_.absorbed) absorbed_ = total_of(absorbed);
    for (std::size_t i = 0; i < from_.size(); ++i) {
      gradients_.push_back(handed_out(d[i], session.from()[i], rows_ * scalars_));
    }
  }

  // Sums over the elements of each backward row: [R * K].
  ValueId total_of(const std::vector<Absorbed>& parts) {
    const std::int64_t rows = rows_ * scalars_;
    ValueId sum = kNoValue;
    for (const Absorbed& part : parts) {
      ValueId v = part.relevance;
      const RowMap map = b.graph.value(part.like).rows;
      if (batched_ || map.is_rows()) v = rows_first(b, v, map, batched_);
      const std::int64_t size = count_of(b.dims(v));
      v = b.reduce("reduce_sum", b.reshape(v, {rows, size / rows}), {1}, false);
      sum = sum == kNoValue ? v : b.add(sum, v);
    }
    return sum == kNoValue ? b.zeros(real_, {rows}) : sum;
  }

  void find_tangents() {
    std::vector<Tangent> along;
    for (std::size_t i = 0; i < made_.size(); ++i) {
      const CutValue& c = session.vary()[i];
      const ValueId direction = spec_.direction(*this, i);
      if (direction == kNoValue) continue;
      along.push_back({made_[i], from_rows_first(b, direction, c.one_row, c.rows, batched_)});
    }
    const std::vector<ValueId> d = directional_derivative(b, from_, along);
    for (std::size_t i = 0; i < from_.size(); ++i) tangents_.push_back(handed_out(d[i], session.from()[i], rows_));
  }

  // A derivative in the layout of the value it belongs to, rows first: [count, row_dims...]; zeros for kNoValue.
  ValueId handed_out(ValueId derivative, const CutValue& c, std::int64_t count) {
    const Dims dims = with_rows(count, c.row_dims);
    if (derivative == kNoValue) return b.zeros(real_, dims);
    return b.reshape(rows_first(b, derivative, c.rows, batched_), dims);
  }

  ValueId fold(std::size_t f, std::size_t i) {
    const ValueId v = spec_.folds[f](*this, i);
    Dims dims = b.dims(v);
    ONNXRAY_ASSERT(!dims.empty() && dims[0] == rows_ * scalars_, "a fold has ", to_string(dims), ", expected ",
                   rows_ * scalars_, " rows");
    dims[0] = session.examples() * scalars_;
    const ValueId state = plan_input(row_input::state(f, session.from()[i]), DType::f64, dims);
    const ValueId weight = plan_input(row_input::kWeight, DType::f64, {rows_ * scalars_});
    return b.op("fold_rows", {state, v, weight, index(row_input::kScalarRow, rows_ * scalars_)});
  }

  const RowSpec& spec_;
  const std::vector<Tensor>& baselines_;
  std::int64_t rows_, scalars_;
  DType real_;
  bool batched_;
  std::unordered_map<std::string, ValueId> inputs_;
  std::vector<ValueId> made_, from_, reference_from_, asked_, seeds_, gradients_, tangents_;
  std::unordered_map<ValueId, ValueId> reference_;
  ValueId scalar_ = kNoValue, absorbed_ = kNoValue;
};

}  // namespace

ValueId RowCtx::column(ValueId per_row, std::size_t rank) {
  return b.reshape(per_row, with_rows(rows(), Dims(rank - 1, 1)));
}

ValueId FoldCtx::spread(ValueId v) {
  const auto k = static_cast<std::int64_t>(session.to().size());
  if (k == 1) return v;
  // [R, ...] -> [R, 1, ...] -> [R, K, ...] -> [R * K, ...]
  Dims one = b.dims(v);
  one.insert(one.begin() + 1, 1);
  Dims wide = one;
  wide[1] = k;
  Dims flat = b.dims(v);
  flat[0] *= k;
  return b.reshape(b.expand(b.reshape(v, one), wide), flat);
}

RowMakerFn actual_rows() {
  return [](RowCtx& c, std::size_t i) { return c.actual(i); };
}

ValueId path_row(RowCtx& c, std::size_t i, ValueId alpha) {
  if (!is_float(c.session.vary()[i].dtype)) return c.actual(i);
  const ValueId x = c.broadcast_actual(i);
  alpha = c.column(alpha, c.b.rank(x));
  const ValueId rest = c.b.sub(c.b.scalar_like(alpha, 1), alpha);
  return c.b.add(c.b.mul(x, alpha), c.b.mul(c.broadcast_baseline(i), rest));
}

RowMakerFn path_rows() {
  return [](RowCtx& c, std::size_t i) {
    // Integer values do not move, and do not ask for alpha.
    return is_float(c.session.vary()[i].dtype) ? path_row(c, i, c.alpha()) : c.actual(i);
  };
}

RowMakerFn masked_rows() {
  return [](RowCtx& c, std::size_t i) {
    return c.b.where(c.input(mask_input(i)), c.broadcast_baseline(i), c.broadcast_actual(i));
  };
}

std::string mask_input(std::size_t i) { return "mask " + std::to_string(i); }

std::vector<RowInput> mask_inputs(const Session& session) {
  std::vector<RowInput> inputs;
  for (std::size_t i = 0; i < session.vary().size(); ++i) {
    inputs.push_back({.name = mask_input(i), .dtype = DType::boolean, .dims = session.vary()[i].row_dims});
  }
  return inputs;
}

FoldFn fold_gradient() {
  return [](FoldCtx& c, std::size_t i) { return c.gradient(i); };
}

Graph build_row_graph(const Session& session, const RowSpec& spec, const std::vector<Tensor>& baselines,
                      std::int64_t rows) {
  Graph g;
  Builder b(g, session.model().evaluator());
  RowGraph(b, session, spec, baselines, rows).build();
  return g;
}

}  // namespace onnxray
