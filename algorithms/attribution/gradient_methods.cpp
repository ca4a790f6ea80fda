#include "algorithms/attribution/gradient_methods.h"

#include <cmath>
#include <cstring>

#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

// Gradients of every scalar with respect to every `from` value at the examples themselves. `of_layers`: a layer that no
// scalar depends on is a mistake, not zeros.
Attribution plain_gradient(const Model& model, const Request& request, const char* phase, bool times_value,
                           bool of_layers = true) {
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    Session session(model, part, false);
    if (of_layers) session.expect_between();
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    Scheduler scheduler(part.compute, phase, examples);
    RowProgram program(session, {.key = "gradient", .gradient = true, .values = times_value}, {}, examples);
    Attribution out;
    for (const CutValue& c : session.from()) {
      Dims dims = c.row_dims;
      dims.insert(dims.begin(), examples * k);
      out.attributions[c.name] = Tensor::zeros(DType::f64, dims);
    }
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::size_t i = 0; i < session.from().size(); ++i) {
            const Tensor g = program.gradient(i).to(DType::f64);
            Tensor& all = out.attributions[session.from()[i].name];
            const std::int64_t size = examples * k == 0 ? 0 : all.size() / (examples * k);
            double* to = all.mutable_data<double>().data() + first * k * size;
            std::memcpy(to, g.raw(), g.bytes());
            if (!times_value) continue;
            const std::vector<double> x = program.from_value(i).to_doubles();
            for (std::int64_t j = 0; j < rows * k * size; ++j) {
              to[j] *= x[static_cast<std::size_t>(j / (k * size) * size + j % size)];
            }
          }
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
          }
        });
    scheduler.report(out.report);
    out.report.batched = session.batched();
    out.report.notices = session.notices();
    out.report.precision = session.precision();
    return out;
  });
}

}  // namespace

Attribution gradients_at(const Model& model, const Request& request, const char* phase) {
  return plain_gradient(model, request, phase, false, false);
}

Attribution run_method(const Model& model, const Saliency& options, const Request& request) {
  Attribution out = plain_gradient(model, request, "saliency", false);
  if (options.abs) {
    for (auto& [name, t] : out.attributions) {
      for (double& v : t.mutable_data<double>()) v = std::abs(v);
    }
  }
  return out;
}

Attribution run_method(const Model& model, const InputXGradient&, const Request& request) {
  return plain_gradient(model, request, "input-x-gradient", true);
}

Attribution run_method(const Model& model, const GradientXActivation& options, const Request& request) {
  return plain_gradient(model, request, "gradient-x-activation", options.multiply_by_inputs);
}

}  // namespace onnxray
