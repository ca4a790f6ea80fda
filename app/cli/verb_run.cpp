#include <cstdio>
#include <iostream>

#include "algorithms/evaluate.h"
#include "app/cli/inputs.h"
#include "app/cli/output.h"
#include "app/cli/verbs.h"
#include "app/io/npy.h"
#include "app/report/result_json.h"

namespace onnxray::app {
namespace {

// Whether every given shape is one the file declares; otherwise rows of a model exported at batch 1 are meant.
bool fits_literally(const Model& model, const NamedTensors& inputs) {
  for (const ValueInfo& in : model.inputs()) {
    const auto it = inputs.find(in.name);
    if (it == inputs.end() || !in.has_shape) continue;
    if (it->second.rank() != in.dims.size()) return true;  // the literal run says what is wrong
    if (!in.dims.empty() && in.dims[0].value > 0 && it->second.dims()[0] != in.dims[0].value) return false;
  }
  return true;
}

}  // namespace

int run_run(const Arguments& args) {
  OutputFolder folder(args.output);
  const Model model = load_model(args);
  const LoadedInputs inputs = load_inputs(model, args);
  const ComputeOptions compute = compute_options(args);
  Evaluation result;
  if (fits_literally(model, inputs.tensors)) {
    result.values = run(model, inputs.tensors, args.values, {.precision = compute.precision});
    result.report.precision = compute.precision;
  } else {
    result = evaluate(model, inputs.tensors, args.values, compute);
  }
  print_notices(args, result.report);
  std::map<std::string, std::string> files;
  for (const auto& [name, t] : result.values) files[name] = folder.add(name, ".npy", npy_bytes(t));
  const std::string json = run_json(model, args, inputs.files, result, files);
  folder.add("result", ".json", json + "\n");
  folder.write();
  if (args.json) {
    std::cout << json << "\n";
  } else {
    for (const auto& [name, t] : result.values) {
      std::printf("%s %s%s -> %s\n", name.c_str(), std::string(name_of(t.dtype())).c_str(), to_string(t.dims()).c_str(),
                  folder.path_of(files[name]).c_str());
    }
  }
  return 0;
}

}  // namespace onnxray::app
