#include "algorithms/attribution/activation.h"

#include <algorithm>

#include "algorithms/attribution/path_ends.h"

namespace onnxray {

Attribution run_method(const Model& model, const Activation&, const Request& request) {
  Request asked = request;
  const bool scalars_asked = !request.to.empty();
  if (!scalars_asked) {
    // Any scalar of the first read value will do: nothing behind it is computed.
    std::string first = request.from.empty() ? "" : request.from[0];
    for (const ValueInfo& in : model.inputs()) {
      if (first.empty() && is_float(in.dtype)) first = in.name;
    }
    ONNXRAY_CHECK(!first.empty(), "the model has no float input; name a value with `from` (--from)");
    Scalar any = scalar_of(first);
    any.terms[0].mask = Tensor::zeros(DType::f64, row_dims_of_value(model, request, first));
    asked.to = {any};
  }
  return run_by_rows(model, asked, [&](const Request& part, const Split&) {
    const Session session(model, part, false);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    Scheduler scheduler(part.compute, "activation", examples);
    RowProgram program(session, {.key = "values", .values = true}, {}, examples);
    Attribution out;
    for (const CutValue& c : session.from()) {
      const Dims dims = with_rows(examples * k, c.row_dims);
      out.attributions[c.name] = Tensor::zeros(DType::f64, dims);
    }
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::size_t i = 0; i < session.from().size(); ++i) {
            const std::vector<double> v = program.from_value(i).to_doubles();
            const auto size = static_cast<std::int64_t>(v.size()) / rows;
            const auto all = out.attributions[session.from()[i].name].mutable_data<double>();
            for (std::int64_t r = 0; r < rows * k; ++r) {  // the same for every scalar
              std::copy_n(v.begin() + r / k * size, size, all.begin() + (first * k + r) * size);
            }
          }
          for (std::int64_t r = 0; r < rows && scalars_asked; ++r) {
            for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
          }
        });
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
