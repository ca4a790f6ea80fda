#include <cstdio>
#include <iostream>
#include <set>

#include "algorithms/session.h"
#include "app/cli/verbs.h"
#include "app/report/result_json.h"
#include "engine/op.h"

namespace onnxray::app {

int run_info(const Arguments& args) {
  const Model model = load(args.model, {.device = "cpu"});
  ModelSummary summary;
  const NamedTensors inputs =
      args.shapes.empty() ? NamedTensors() : nominal_inputs(model, args);  // a bad --shape throws
  try {
    std::int64_t examples = 1;
    const Request request{
        .inputs = args.shapes.empty() ? nominal_inputs(model, args) : inputs, .to = {}, .from = {}, .compute = {}};
    const auto canonical = model.canonical(specialisation_of(model, request, examples));
    summary = summarize(canonical->graph);
  } catch (const Error& e) {
    summary.problem = e.what();
  }
  if (args.json) {
    std::cout << info_json(model, summary) << "\n";
    return 0;
  }
  const Metadata& m = model.metadata();
  std::printf("%s\n  sha256 %s\n  producer %s, IR %lld, opset", m.path.c_str(), m.digest.c_str(),
              m.producer.empty() ? "unknown" : m.producer.c_str(), static_cast<long long>(m.ir_version));
  for (const auto& [domain, version] : m.opsets)
    std::printf(" %s %lld", domain.c_str(), static_cast<long long>(version));
  std::printf("\n");
  for (const ValueInfo& v : model.inputs()) {
    std::printf("  input  %s: %s%s\n", v.name.c_str(), std::string(name_of(v.dtype)).c_str(), v.shape_text().c_str());
  }
  for (const ValueInfo& v : model.outputs()) {
    std::printf("  output %s: %s%s\n", v.name.c_str(), std::string(name_of(v.dtype)).c_str(), v.shape_text().c_str());
  }
  if (!summary.problem.empty()) {
    std::printf("values are not listed: %s (give --shape NAME=...)\n", summary.problem.c_str());
    return 0;
  }
  std::printf("  parameters %lld, multiply-adds for one row %lld, nodes %lld\n",
              static_cast<long long>(summary.parameters), static_cast<long long>(summary.multiply_adds),
              static_cast<long long>(summary.nodes));
  std::printf("values (one row):\n");
  for (const auto& v : summary.values) {
    std::printf("  %-40s %-12s %s\n", v.name.c_str(), v.op.c_str(), (v.dtype + to_string(v.dims)).c_str());
  }
  return 0;
}

}  // namespace onnxray::app
