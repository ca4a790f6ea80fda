#include "algorithms/attribution/rules/deep_lift.h"

#include <algorithm>

#include "algorithms/attribution/backward_pass.h"
#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "algorithms/baselines.h"
#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

bool has_float_input(const Model& model) {
  return std::any_of(model.inputs().begin(), model.inputs().end(),
                     [](const ValueInfo& v) { return is_float(v.dtype); });
}

Attribution multipliers(const Model& model, const DeepLift& o, const Request& request, const char* phase, bool shap) {
  // A blurred baseline belongs to its example; everything else is a set that serves all.
  const bool set = shap && o.baselines.kind != Baselines::Kind::kBlur;
  const auto rules = std::make_shared<const RuleSet>(deep_lift_rules(o.rule == "reveal-cancel", o.eps));
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    Session session(model, part, !has_float_input(model));
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const std::vector<Tensor> baselines =
        set ? make_baseline_sample(session, o.baselines) : make_baselines(session, o.baselines, split);
    const std::int64_t each = set ? baselines.at(0).dims()[0] : 1;

    RowSpec spec{.key = detail::concat(phase, "|", o.rule, "|", o.eps, "|", o.multiply_by_inputs), .rules = rules};
    std::vector<char> moves;  // integer values without a baseline of their own stay actual
    for (const CutValue& c : session.vary()) {
      moves.push_back(is_float(c.dtype) || o.baselines.tensors.contains(c.name));
      spec.key += moves.back() != 0 ? "|1" : "|0";
    }
    spec.reference = [moves](RowCtx& c, std::size_t i) { return moves[i] != 0 ? c.baseline(i) : c.actual(i); };
    const bool multiply = o.multiply_by_inputs;
    spec.folds = {[multiply](FoldCtx& c, std::size_t i) {
      if (!multiply) return c.gradient(i);
      return c.b.mul(c.gradient(i), c.spread(c.b.sub(c.value(i), c.reference(i))));
    }};
    Scheduler scheduler(part.compute, phase, examples * each);
    RowProgram program(session, spec, baselines, examples * each);
    Attribution out;
    out.values.assign(static_cast<std::size_t>(examples * k), 0);
    out.baseline_values.assign(static_cast<std::size_t>(examples * k), 0);
    const double weight = 1 / static_cast<double>(each);
    scheduler.run(
        program, examples * each,
        [&](std::int64_t r) { return Row{.example = r / each, .weight = weight, .baseline = set ? r % each : -1}; },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) {
              const auto at = static_cast<std::size_t>((first + r) / each * k + j);
              out.values[at] = program.value(r, static_cast<std::size_t>(j));
              out.baseline_values[at] += weight * program.reference_value(r, static_cast<std::size_t>(j));
            }
          }
        });
    for (std::size_t i = 0; i < session.from().size(); ++i) {
      out.attributions[session.from()[i].name] = program.folded(i);
    }
    if (multiply && is_one_layer(session)) {
      if (const std::string around = session.bypass(); !around.empty()) {
        session.notice("attributions need not sum to the difference of the outputs: paths bypass '" +
                       session.from()[0].name + "', e.g. through '" + around + "'");
      } else {
        out.delta = row_sums(out, out.values.size());
        for (std::size_t r = 0; r < out.delta.size(); ++r) out.delta[r] -= out.values[r] - out.baseline_values[r];
      }
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace

Attribution run_method(const Model& model, const DeepLift& options, const Request& request) {
  return multipliers(model, options, request, "deep-lift", false);
}

Attribution run_method(const Model& model, const DeepLiftShap& o, const Request& request) {
  const DeepLift each{
      .rule = o.rule, .multiply_by_inputs = o.multiply_by_inputs, .eps = o.eps, .baselines = o.baselines};
  return multipliers(model, each, request, "deep-lift-shap", true);
}

}  // namespace onnxray
