#include "algorithms/attribution/internal_influence.h"

#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"

namespace onnxray {

Attribution run_method(const Model& model, const InternalInfluence& options, const Request& request) {
  const Quadrature q = quadrature(options.method, options.n_steps);
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    const Session session = session_of_path(model, part);
    const auto steps = static_cast<std::int64_t>(q.alphas.size());
    const std::int64_t examples = session.examples();
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    Scheduler scheduler(part.compute, "internal-influence", examples * (steps + 2));
    Attribution out;
    add_path_ends(scheduler, session, baselines, out);
    RowProgram path(session, {.key = "path gradient", .make = path_rows(), .folds = {fold_gradient()}}, baselines,
                    examples * steps);
    run_path(scheduler, path, q, examples);
    for (std::size_t i = 0; i < session.from().size(); ++i) out.attributions[session.from()[i].name] = path.folded(i);
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
