#include "algorithms/attribution/backward_pass.h"

#include <algorithm>
#include <cstring>

#include "algorithms/scheduler.h"

namespace onnxray {

Attribution run_backward_pass(const Model& model, const Request& request, const BackwardPass& pass) {
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    Session session(model, part, false);
    if (pass.check) pass.check(session);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    Scheduler scheduler(part.compute, pass.phase, examples);
    const bool conserves =
        pass.rules && pass.rules->carries == Carries::kRelevance && is_one_layer(session) && session.bypass().empty();
    RowProgram program(
        session,
        {.key = pass.key, .gradient = true, .values = pass.times_value, .absorbed = conserves, .rules = pass.rules}, {},
        examples);
    Attribution out;
    for (const CutValue& c : session.from()) {
      const Dims dims = with_rows(examples * k, c.row_dims);
      out.attributions[c.name] = Tensor(DType::f64, dims);  // every row is written
    }
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::size_t i = 0; i < session.from().size(); ++i) {
            const Tensor g = program.gradient(i);
            Tensor& all = out.attributions[session.from()[i].name];
            const std::int64_t size = examples * k == 0 ? 0 : all.size() / (examples * k);
            double* to = all.mutable_data<double>().data() + first * k * size;
            if (g.dtype() == DType::f64) std::memcpy(to, g.raw(), g.bytes());
            else std::copy_n(g.data<float>().data(), g.size(), to);
            if (!pass.times_value) continue;
            const std::vector<double> x = program.from_value(i).to_doubles();
            for (std::int64_t j = 0; j < rows * k * size; ++j) {
              to[j] *= x[static_cast<std::size_t>(j / (k * size) * size + j % size)];
            }
          }
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) {
              out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
              if (conserves) out.absorbed.push_back(program.absorbed(r, static_cast<std::size_t>(j)));
            }
          }
        });
    if (conserves) {
      out.delta = row_sums(out, out.values.size());
      for (std::size_t r = 0; r < out.delta.size(); ++r) out.delta[r] -= out.values[r];
    }
    scheduler.report(session, out.report);
    return out;
  });
}

std::vector<double> row_sums(const Attribution& a, std::size_t rows) {
  std::vector<double> sums(rows, 0);
  for (const auto& [name, t] : a.attributions) {
    const std::vector<double> v = t.to_doubles();
    const std::size_t size = rows == 0 ? 0 : v.size() / rows;
    for (std::size_t i = 0; i < size * rows; ++i) sums[i / size] += v[i];
  }
  return sums;
}

bool is_one_layer(const Session& session) {
  if (session.from().size() == 1) return true;
  return std::all_of(session.from().begin(), session.from().end(), [&](const CutValue& c) {
    return std::any_of(session.vary().begin(), session.vary().end(),
                       [&](const CutValue& v) { return v.name == c.name; });
  });
}

}  // namespace onnxray
