#include "algorithms/attribution/conductance.h"

#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"

namespace onnxray {
namespace {

constexpr const char* kNeuron = "neuron";
constexpr const char* kInterval = "interval";  // [1], to the other end of the interval, as a difference of alphas

// Where the path goes: x - x', nothing for integer values.
ValueId path_direction(RowCtx& c, std::size_t i) {
  const ValueId x = c.actual(i);
  return is_float(c.b.dtype(x)) ? c.b.sub(x, c.baseline(i)) : kNoValue;
}

// The exact derivative of the layers times their gradient, at each step.
RowSpec by_derivative() {
  RowSpec spec{.key = "conductance", .make = path_rows()};
  spec.direction = path_direction;
  spec.folds = {[](FoldCtx& c, std::size_t i) { return c.b.mul(c.gradient(i), c.spread(c.tangent(i))); }};
  return spec;
}

// The change of the layers from each step to the other end of its interval times their gradient. The other end is a
// reference pass without any rule that would read it.
RowSpec by_difference() {
  RowSpec spec{.key = "conductance by differences", .make = path_rows()};
  spec.inputs = {{.name = kInterval, .dtype = DType::f64, .dims = {1}, .per_row = false}};
  spec.rules = std::make_shared<const RuleSet>(RuleSet{.reference = true});
  spec.reference = [](RowCtx& c, std::size_t i) { return path_row(c, i, c.b.add(c.alpha(), c.input(kInterval))); };
  spec.folds = {
      [](FoldCtx& c, std::size_t i) { return c.b.mul(c.gradient(i), c.spread(c.b.sub(c.reference(i), c.value(i)))); }};
  return spec;
}

Attribution of_layers(const Model& model, const Conductance& options, const Quadrature& q, const Request& request) {
  const bool differences = options.increments == "difference";
  const bool left = options.method == "riemann_left";
  ONNXRAY_CHECK(
      !differences || left || options.method == "riemann_right",
      "increments difference takes the gradient at an end of each interval: the quadrature is riemann_left or "
      "riemann_right, not ",
      options.method);
  const double to_other_end = (left ? 1.0 : -1.0) / static_cast<double>(q.alphas.size());
  Quadrature nodes = q;
  if (differences) nodes.weights.assign(nodes.weights.size(), left ? 1 : -1);
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    Session session = session_of_path(model, part);
    const std::int64_t examples = session.examples();
    const auto steps = static_cast<std::int64_t>(q.alphas.size());
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    Scheduler scheduler(part.compute, "conductance", examples * (steps + 2));
    Attribution out;
    add_path_ends(scheduler, session, baselines, out);
    RowProgram path(session, differences ? by_difference() : by_derivative(), baselines, examples * steps);
    if (differences) path.bind(kInterval, Tensor::from<double>({1}, {to_other_end}).to(session.float_type()));
    run_path(scheduler, path, nodes, examples);
    for (std::size_t i = 0; i < session.from().size(); ++i) out.attributions[session.from()[i].name] = path.folded(i);
    add_delta(session, rise_of(out), out);
    scheduler.report(session, out.report);
    return out;
  });
}

// The weights in the shape of one row of the neuron's layer.
Tensor selection(const CutValue& layer, const Scalar& neuron) {
  Tensor weights = Tensor::zeros(DType::f64, layer.row_dims);
  const auto w = weights.mutable_data<double>();
  for (const Term& t : neuron.terms) {
    ONNXRAY_CHECK(!t.index.empty() || w.size() == 1, "neuron '", neuron.text, "': '", layer.name, "' has ", w.size(),
                  " elements per row (shape ", to_string(layer.row_dims), "), say which, e.g. ", layer.name, ":0");
    w[t.index.empty() ? 0 : static_cast<std::size_t>(flat_position(layer.row_dims, t.index[0], layer.name))] +=
        t.coefficient;
  }
  return weights;
}

Attribution through_neuron(const Model& model, const Conductance& options, const Quadrature& q,
                           const Request& request) {
  ONNXRAY_CHECK(options.increments == "derivative",
                "increments difference sums over a layer; through a neuron there is its derivative only");
  std::int64_t examples_given = 1;
  const auto canonical = model.canonical(specialisation_of(model, request, examples_given));
  const Scalar neuron =
      parse_scalar(options.through, [&](std::string_view name) { return canonical->graph.find(name) != kNoValue; });
  const std::string& layer = neuron.terms[0].value;
  for (const Term& t : neuron.terms) {
    ONNXRAY_CHECK(t.value == layer, "neuron '", options.through, "' mixes two values");
  }
  ONNXRAY_CHECK(attributes_to_inputs(model, request),
                "conductance through a neuron attributes to the model's inputs; `from` (--from) names another value");
  Request inner = request;
  inner.vary = request.from;
  inner.from = {layer};
  return run_by_rows(model, inner, [&](const Request& part, const Split& split) {
    const Session session(model, part, false);
    session.expect_between();
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const auto steps = static_cast<std::int64_t>(q.alphas.size());
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    Scheduler scheduler(part.compute, "conductance", examples * (steps + 2));
    Attribution out;
    add_path_ends(scheduler, session, baselines, out);
    RowSpec spec{.key = "conductance of a neuron", .make = path_rows()};
    spec.inputs = {{.name = kNeuron, .dtype = DType::f64, .dims = session.from()[0].row_dims, .per_row = false}};
    std::vector<std::size_t> read;
    for (std::size_t i = 0; i < session.vary().size(); ++i) {
      if (!is_float(session.vary()[i].dtype)) continue;
      read.push_back(i);
      spec.folds.push_back(
          [i](FoldCtx& c, std::size_t) { return c.pull_back(0, c.b.mul(c.gradient(0), c.input(kNeuron)), i); });
    }
    RowProgram path(session, spec, baselines, examples * steps);
    path.bind(kNeuron, selection(session.from()[0], neuron).to(session.float_type()));
    run_path(scheduler, path, q, examples);
    for (std::size_t f = 0; f < read.size(); ++f) {
      const CutValue& c = session.vary()[read[f]];
      Tensor a = path.folded(0, f);
      if (options.multiply_by_inputs) PathDifference(c, baselines[read[f]]).multiply(a, k);
      out.attributions[c.name] = a;
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace

Attribution run_method(const Model& model, const Conductance& options, const Request& request) {
  const Quadrature q = quadrature(options.method, options.n_steps);
  return options.through.empty() ? of_layers(model, options, q, request) : through_neuron(model, options, q, request);
}

}  // namespace onnxray
