#include "algorithms/gradient.h"

#include "algorithms/attribution.h"
#include "algorithms/attribution/gradient_methods.h"
#include "algorithms/session.h"

namespace onnxray {

Gradients gradient(const Model& model, const GradientQuery& query) {
  const Request request{.inputs = query.inputs, .to = query.of, .from = query.wrt, .compute = query.compute};
  Attribution a = gradients_at(model, request, "gradient");
  Gradients out{.gradients = {}, .values = std::move(a.values), .report = std::move(a.report)};
  for (auto& [name, t] : a.attributions) {
    out.gradients[name] = out.report.precision == Precision::kFloat64 ? t : t.to(DType::f32);
  }
  return out;
}

Gradients vector_jacobian(const Model& model, const NamedTensors& inputs, const NamedTensors& cotangents,
                          std::vector<std::string> wrt, const ComputeOptions& compute) {
  Scalar s;
  for (const auto& [name, t] : cotangents) s.terms.push_back(Term{.value = name, .mask = t});
  s.text = "cotangents";
  return gradient(model, {.inputs = inputs, .of = {s}, .wrt = std::move(wrt), .compute = compute});
}

Gradients jacobian(const Model& model, const NamedTensors& inputs, const std::string& of, std::vector<std::string> wrt,
                   const ComputeOptions& compute) {
  // A mask of ones accepts any shape of `of`; the session tells the shape of one row.
  Request probe{.inputs = inputs, .to = {scalar_of(of)}, .from = wrt, .compute = compute};
  const Dims dims = row_dims_of_value(model, probe, of);
  std::vector<Scalar> rows;
  const std::int64_t size = count_of(dims);
  for (std::int64_t i = 0; i < size; ++i) {
    std::vector<std::int64_t> index(dims.size());
    std::int64_t rest = i;
    for (std::size_t d = dims.size(); d-- > 0;) {
      index[d] = rest % dims[d];
      rest /= dims[d];
    }
    rows.push_back(Scalar{{Term{.value = of, .index = {std::move(index)}}}, of});
  }
  return gradient(model, {.inputs = inputs, .of = std::move(rows), .wrt = std::move(wrt), .compute = compute});
}

}  // namespace onnxray
