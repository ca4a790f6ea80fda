#include <cstdio>
#include <filesystem>
#include <iostream>

#include "app/cli/inputs.h"
#include "app/cli/verbs.h"
#include "app/io/files.h"
#include "app/io/npy.h"
#include "app/report/result_json.h"

namespace onnxray::app {

int run_grad(const Arguments& args) {
  const Model model = load(args.model);
  const LoadedInputs inputs = load_inputs(model, args);
  GradientQuery query{.inputs = inputs.tensors, .of = {}, .wrt = args.from, .compute = compute_options(args)};
  query.of = scalars_of(args, model, inputs.tensors, inputs.labels);
  const Gradients g = gradient(model, query);
  print_notices(args, g.report);
  std::filesystem::create_directories(args.output);
  UniqueNames names;
  std::map<std::string, std::string> files;
  for (const auto& [name, t] : g.gradients) {
    files[name] = names(name) + ".npy";
    write_npy(std::filesystem::path(args.output) / files[name], t);
  }
  const std::string json = grad_json(model, args, inputs.files, g, files);
  write_file(std::filesystem::path(args.output) / "result.json", json + "\n");
  if (args.json) {
    std::cout << json << "\n";
  } else {
    for (const auto& [name, t] : g.gradients) {
      std::printf("d/d %s %s -> %s/%s\n", name.c_str(), to_string(t.dims()).c_str(), args.output.c_str(),
                  files[name].c_str());
    }
  }
  return 0;
}

}  // namespace onnxray::app
