#include "algorithms/attribution/integrated_gradients.h"

#include "algorithms/affine_prefix.h"
#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"

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
    add_path_ends(scheduler, session, baselines, out);  // for delta
    const AffinePrefix prefix(session, examples * steps);
    RowProgram path(prefix.session(), {.key = "path gradient", .make = path_rows(), .folds = {fold_gradient()}},
                    prefix.push(baselines), examples * steps);
    run_path(scheduler, path, q, examples);
    std::vector<Tensor> folded;
    for (std::size_t i = 0; i < prefix.session().from().size(); ++i) folded.push_back(path.folded(i));
    std::vector<Tensor> gradients = prefix.pull(folded);

    std::vector<double> sums(static_cast<std::size_t>(examples * k), 0);
    for (std::size_t i = 0; i < session.from().size(); ++i) {
      const CutValue& c = session.from()[i];
      Tensor& a = gradients[i];
      const auto v = a.mutable_data<double>();
      const std::size_t size = v.empty() ? 0 : v.size() / static_cast<std::size_t>(examples * k);
      const PathDifference difference(session.vary()[i], baselines[i]);
      for (std::size_t row = 0; row < sums.size(); ++row) {
        const std::int64_t e = static_cast<std::int64_t>(row) / k;
        for (std::size_t j = 0; j < size; ++j) {
          double& to = v[row * size + j];
          if (options.multiply_by_inputs) to *= difference(e, j);
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
