#include "algorithms/attribution/integrated_gradients.h"

#include "algorithms/affine_prefix.h"
#include "algorithms/baselines.h"
#include "algorithms/quadrature.h"
#include "algorithms/scheduler.h"

namespace onnxray {

Attribution run_method(const Model& model, const IntegratedGradients& options, const Request& request) {
  const Quadrature q = quadrature(options.method, options.n_steps);
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    Session session(model, part, true);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const auto steps = static_cast<std::int64_t>(q.alphas.size());
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    Scheduler scheduler(part.compute, "integrated-gradients", examples * steps + 2 * examples);
    Attribution out;
    {
      // Both ends of the path: the completeness delta.
      RowProgram ends(session, {.key = "path", .make = path_rows()}, baselines, 2 * examples);
      scheduler.run(
          ends, 2 * examples,
          [&](std::int64_t r) { return Row{.example = r % examples, .alpha = r < examples ? 1.0 : 0.0}; },
          [&](std::int64_t first, std::int64_t rows) {
            for (std::int64_t r = 0; r < rows; ++r) {
              auto& to = first + r < examples ? out.values : out.baseline_values;
              for (std::int64_t j = 0; j < k; ++j) to.push_back(ends.value(r, static_cast<std::size_t>(j)));
            }
          });
    }
    const AffinePrefix prefix(session, examples * steps);
    RowProgram path(prefix.session(), {.key = "path gradient", .make = path_rows(), .folds = {fold_gradient()}},
                    prefix.push(baselines), examples * steps);
    scheduler.run(
        path, examples * steps,
        [&](std::int64_t r) {
          const auto step = static_cast<std::size_t>(r % steps);
          return Row{.example = r / steps, .alpha = q.alphas[step], .weight = q.weights[step]};
        },
        [](std::int64_t, std::int64_t) {});
    std::vector<Tensor> folded;
    for (std::size_t i = 0; i < prefix.session().from().size(); ++i) folded.push_back(path.folded(i));
    std::vector<Tensor> gradients = prefix.pull(folded);

    std::vector<double> sums(static_cast<std::size_t>(examples * k), 0);
    for (std::size_t i = 0; i < session.from().size(); ++i) {
      const CutValue& c = session.from()[i];
      Tensor& a = gradients[i];
      const auto v = a.mutable_data<double>();
      const std::size_t size = v.empty() ? 0 : v.size() / static_cast<std::size_t>(examples * k);
      const std::vector<double> x = session.vary()[i].actual.to_doubles(), b = baselines[i].to_doubles();
      for (std::size_t row = 0; row < sums.size(); ++row) {
        const std::size_t e = row / static_cast<std::size_t>(k), first = e * size;
        const double* const is = x.data() + first;
        const double* const from = b.data() + (b.size() == size ? 0 : first);
        for (std::size_t j = 0; j < size; ++j) {
          double& to = v[row * size + j];
          if (options.multiply_by_inputs) to *= is[j] - from[j];
          sums[row] += to;
        }
      }
      out.attributions[c.name] = a;
    }
    if (options.multiply_by_inputs) {
      for (std::size_t r = 0; r < sums.size(); ++r) {
        out.delta.push_back(sums[r] - (out.values[r] - out.baseline_values[r]));
      }
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
