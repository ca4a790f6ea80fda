#include <cstdio>
#include <iostream>

#include "app/cli/inputs.h"
#include "app/cli/output.h"
#include "app/cli/verbs.h"
#include "app/io/npy.h"
#include "app/report/result_json.h"

namespace onnxray::app {

int run_grad(const Arguments& args) {
  OutputFolder folder(args.output);
  const Model model = load_model(args);
  const LoadedInputs inputs = load_inputs(model, args);
  GradientQuery query{.inputs = inputs.tensors, .of = {}, .wrt = args.from, .compute = compute_options(args)};
  query.of = scalars_of(args, model, inputs.tensors, inputs.labels);
  const Gradients g = gradient(model, query);
  print_notices(args, g.report);
  std::map<std::string, std::string> files;
  for (const auto& [name, t] : g.gradients) files[name] = folder.add(name, ".npy", npy_bytes(t));
  const std::string json = grad_json(model, args, inputs.files, g, files);
  folder.add("result", ".json", json + "\n");
  folder.write();
  if (args.json) {
    std::cout << json << "\n";
  } else {
    for (const auto& [name, t] : g.gradients) {
      std::printf("d/d %s %s -> %s\n", name.c_str(), to_string(t.dims()).c_str(), folder.path_of(files[name]).c_str());
    }
  }
  return 0;
}

}  // namespace onnxray::app
