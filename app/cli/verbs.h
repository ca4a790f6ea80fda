// One function per verb; each returns the exit code and throws onnxray::Error.
#pragma once
#include "api/onnxray.h"
#include "app/cli/arguments.h"

namespace onnxray::app {

int run_doctor(const Arguments& args);
int run_info(const Arguments& args);
int run_run(const Arguments& args);
int run_verify(const Arguments& args);
int run_grad(const Arguments& args);
int run_attribute(const Arguments& args);
int run_methods(const Arguments& args);
int run_bench(const Arguments& args);

// Shared by the computing verbs.
[[nodiscard]] Precision precision_of(const Arguments& args);
// MODEL for --device and --precision.
[[nodiscard]] Model load_model(const Arguments& args);
// Options from the command line; progress goes to standard error (a bar on a terminal, plain lines otherwise).
[[nodiscard]] ComputeOptions compute_options(const Arguments& args);
// --to, --of, --target, --to-mask as scalars.
[[nodiscard]] std::vector<Scalar> scalars_of(const Arguments& args, const Model& model, const NamedTensors& inputs,
                                             const std::vector<std::string>& labels);
// Prints notices to standard error unless --quiet.
void print_notices(const Arguments& args, const ComputeReport& report);
// Inputs of zeros with the declared shapes; symbols and unknown extents from --shape, else 1.
[[nodiscard]] NamedTensors nominal_inputs(const Model& model, const Arguments& args);

}  // namespace onnxray::app
