#include "app/cli/accuracy.h"

#include <cmath>
#include <cstdio>
#include <iostream>

namespace onnxray::app {
namespace {

Gradients gradients_of(const Arguments& args, const LoadOptions& options, Precision precision,
                       const NamedTensors& inputs, const Scalar& scalar) {
  ComputeOptions compute = compute_options(args);
  compute.precision = precision;
  return gradient(load(args.model, options), {.inputs = inputs, .of = {scalar}, .wrt = {}, .compute = compute});
}

double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    off += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return off == 0 ? 0 : std::sqrt(off / norm);
}

std::vector<double> all_of(const NamedTensors& tensors) {
  std::vector<double> all;
  for (const auto& [name, t] : tensors) {
    const std::vector<double> v = t.to_doubles();
    all.insert(all.end(), v.begin(), v.end());
  }
  return all;
}

}  // namespace

void print_accuracy(const Arguments& args, const NamedTensors& inputs, const Scalar& scalar) {
  struct Mode {
    const char* name;
    ComputeMode mode;
  };
  std::vector<Mode> modes{{"float32", ComputeMode::kExact}};
  if (device_backend(args.device).device != nullptr) {
    modes = {{"exact", ComputeMode::kExact},
             {"balanced", ComputeMode::kBalanced},
             {"fast", ComputeMode::kFast},
             {"bf16", ComputeMode::kBf16}};
  }
  Arguments quiet = args;
  quiet.quiet = true;
  const Gradients want = gradients_of(quiet, {.device = "cpu"}, Precision::kFloat64, inputs, scalar);
  const std::vector<double> gradient = all_of(want.gradients);
  if (args.json) std::cout << "{\"onnxray\": \"" << version() << "\", \"accuracy\": [";
  else std::printf("%-10s %14s %14s   (relative, against float64)\n", "mode", "value", "gradient");
  for (std::size_t i = 0; i < modes.size(); ++i) {
    const LoadOptions options{.device = args.device, .mode = modes[i].mode};
    const Gradients got = gradients_of(quiet, options, Precision::kFloat32, inputs, scalar);
    const double value = relative_error(got.values, want.values),
                 slope = relative_error(all_of(got.gradients), gradient);
    if (args.json) {
      std::cout << (i > 0 ? ", " : "") << "{\"mode\": \"" << modes[i].name << "\", \"value_error\": " << value
                << ", \"gradient_error\": " << slope << "}";
    } else {
      std::printf("%-10s %14.3g %14.3g\n", modes[i].name, value, slope);
      std::fflush(stdout);
    }
  }
  if (args.json) std::cout << "]}\n";
}

}  // namespace onnxray::app
