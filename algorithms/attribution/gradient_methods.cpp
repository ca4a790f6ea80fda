#include "algorithms/attribution/gradient_methods.h"

#include <cmath>
#include <cstring>

#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

// Gradients of every scalar with respect to every `from` value at the examples themselves.
Attribution plain_gradient(const Model& model, const Request& request, const char* phase, bool times_input) {
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    Session session(model, part, false);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    Scheduler scheduler(part.compute, phase, examples);
    RowProgram program(session, {.key = "gradient", .gradient = true}, {}, examples);
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
            std::memcpy(all.mutable_data<double>().data() + first * k * size, g.raw(), g.bytes());
          }
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
          }
        });
    if (times_input) {
      for (const CutValue& c : session.from()) {
        const std::vector<double> x = session.actual_of(c.name).to_doubles();
        Tensor& all = out.attributions[c.name];
        const auto a = all.mutable_data<double>();
        const std::size_t size = a.empty() ? 0 : a.size() / static_cast<std::size_t>(examples * k);
        const bool shared = x.size() == size;
        for (std::size_t i = 0; i < a.size(); ++i) {
          const std::size_t e = i / size / static_cast<std::size_t>(k);
          a[i] *= x[shared ? i % size : e * size + i % size];
        }
      }
    }
    scheduler.report(out.report);
    out.report.batched = session.batched();
    out.report.notices = session.notices();
    out.report.precision = session.precision();
    return out;
  });
}

}  // namespace

Attribution gradients_at(const Model& model, const Request& request, const char* phase) {
  return plain_gradient(model, request, phase, false);
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

}  // namespace onnxray
