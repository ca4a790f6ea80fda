#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>

#include "algorithms/session.h"
#include "app/cli/inputs.h"
#include "app/cli/verbs.h"

namespace onnxray::app {
namespace {

// A bar on a terminal, at most one line every two seconds otherwise.
class ProgressPrinter {
 public:
  bool operator()(const Progress& p) {
    const bool terminal = isatty(2) == 1;
    const bool last = p.done == p.total;
    if (terminal) {
      constexpr int kWidth = 30;
      const int filled = p.total == 0 ? kWidth : static_cast<int>(kWidth * p.done / p.total);
      std::fprintf(stderr, "\r%s [%.*s%*s] %lld/%lld rows, %.1f s left ", p.phase.c_str(), filled,
                   "##############################", kWidth - filled, "", static_cast<long long>(p.done),
                   static_cast<long long>(p.total), p.remaining_seconds);
      if (last) std::fprintf(stderr, "\n");
    } else if (p.seconds - printed_ >= 2) {
      printed_ = p.seconds;
      std::fprintf(stderr, "%s: %lld of %lld rows, %.0f s left\n", p.phase.c_str(), static_cast<long long>(p.done),
                   static_cast<long long>(p.total), p.remaining_seconds);
    }
    return true;
  }

 private:
  double printed_ = 0;
};

std::size_t parse_memory(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  double factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  else if (unit == "K" || unit == "KiB" || unit == "k") factor = 1024;
  else if (unit == "M" || unit == "MiB") factor = 1024.0 * 1024;
  else if (unit == "G" || unit == "GiB") factor = 1024.0 * 1024 * 1024;
  ONNXRAY_CHECK(error == std::errc() && factor > 0 && value > 0, "--memory ", text,
                ": expected a size such as 500M or 2G");
  return static_cast<std::size_t>(value * factor);
}

}  // namespace

namespace {
struct PrecisionName {
  const char* name;
  Precision precision;
  ComputeMode mode;
};
const PrecisionName& find_precision(const std::string& name) {
  static constexpr PrecisionName kNames[] = {
      {"", Precision::kDeclared, ComputeMode::kExact},           {"float32", Precision::kFloat32, ComputeMode::kExact},
      {"float64", Precision::kFloat64, ComputeMode::kExact},     {"exact", Precision::kFloat32, ComputeMode::kExact},
      {"balanced", Precision::kFloat32, ComputeMode::kBalanced}, {"fast", Precision::kFloat32, ComputeMode::kFast},
      {"bf16", Precision::kFloat32, ComputeMode::kBf16}};
  for (const PrecisionName& n : kNames) {
    if (name == n.name) return n;
  }
  fail("--precision ", name, " is unknown; expected float32, float64, or on CUDA exact, balanced, fast, bf16");
}
}  // namespace

Precision precision_of(const Arguments& args) { return find_precision(args.precision).precision; }

Model load_model(const Arguments& args) {
  const ComputeMode mode = find_precision(args.precision).mode;
  const bool of_devices = mode != ComputeMode::kExact || args.precision == "exact";
  ONNXRAY_CHECK(!of_devices || device_backend(args.device).device != nullptr, "--precision ", args.precision,
                " is a mode of CUDA devices, the device is ", device_backend(args.device).name(),
                "; expected float32 or float64");
  return load(args.model, {.device = args.device, .mode = mode});
}

ComputeOptions compute_options(const Arguments& args) {
  ONNXRAY_CHECK(args.threads >= 0 && args.threads <= 4096, "--threads ", args.threads, ": expected a positive number");
  ONNXRAY_CHECK(args.chunk >= 0, "--chunk ", args.chunk, ": expected a positive number");
  if (args.threads > 0) set_max_threads(args.threads);
  ComputeOptions o;
  o.precision = precision_of(args);
  if (!args.memory.empty()) o.memory_bytes = parse_memory(args.memory);
  o.chunk = args.chunk;
  o.seed = args.seed;
  if (!args.quiet) o.progress = ProgressPrinter();
  return o;
}

std::vector<Scalar> scalars_of(const Arguments& args, const Model& model, const NamedTensors& inputs,
                               const std::vector<std::string>& labels) {
  std::vector<Scalar> out;
  if (!args.to.empty()) {
    std::int64_t examples = 1;
    const Request probe{.inputs = inputs, .to = {}, .from = {}, .compute = {}};
    const auto canonical = model.canonical(specialisation_of(model, probe, examples));
    const auto is_value = [&](std::string_view name) { return canonical->graph.find(name) != kNoValue; };
    for (const std::string& text : args.to) out.push_back(parse_scalar(text, is_value));
  }
  if (!args.targets.empty()) {
    ONNXRAY_CHECK(args.to.empty(), "--target names a class of the first output; with --to, write the index there");
    std::vector<std::int64_t> targets;
    for (const std::string& t : args.targets) targets.push_back(resolve_target(t, labels));
    out.push_back(output_per_example(targets));
  }
  if (!args.to_mask.empty()) {
    ONNXRAY_CHECK(out.size() <= 1, "--to-mask goes with one value");
    if (out.empty()) out.push_back(scalar_of(model.outputs().at(0).name));
    for (Term& t : out[0].terms) t.mask = load_array(args.to_mask);
  }
  if (args.log_probability) {
    if (out.empty()) out.push_back(Scalar{{Term{}}, ""});
    for (Scalar& s : out) {
      for (Term& t : s.terms) t.log_probability = true;
    }
  }
  return out;
}

void print_notices(const Arguments& args, const ComputeReport& report) {
  if (args.quiet) return;
  for (const std::string& n : report.notices) std::cerr << "note: " << n << "\n";
}

NamedTensors nominal_inputs(const Model& model, const Arguments& args) {
  std::map<std::string, Dims> given;
  for (const std::string& s : args.shapes) {
    const std::size_t equals = s.rfind('=');
    ONNXRAY_CHECK(equals != std::string::npos || model.inputs().size() == 1, "--shape ", s,
                  ": expected NAME=1,3,224,224");
    const std::string name = equals == std::string::npos ? model.inputs()[0].name : s.substr(0, equals);
    Dims dims;
    std::string rest = equals == std::string::npos ? s : s.substr(equals + 1);
    while (!rest.empty()) {
      std::int64_t v = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), v);
      ONNXRAY_CHECK(error == std::errc() && v >= 0, "--shape ", s, ": expected NAME=1,3,224,224");
      dims.push_back(v);
      rest.erase(0, static_cast<std::size_t>(end - rest.data()) + 1 <= rest.size()
                        ? static_cast<std::size_t>(end - rest.data()) + 1
                        : rest.size());
    }
    given[name] = dims;
  }
  NamedTensors out;
  for (const ValueInfo& in : model.inputs()) {
    Dims dims;
    for (const DeclaredDim& d : in.dims) dims.push_back(d.value >= 0 ? d.value : 1);
    if (given.contains(in.name)) dims = given.at(in.name);
    given.erase(in.name);
    ONNXRAY_CHECK(in.has_shape || !dims.empty(), "input '", in.name, "' has no declared shape: give --shape ", in.name,
                  "=...");
    out[in.name] = Tensor::zeros(in.dtype, dims);
  }
  for (const auto& [name, dims] : given) fail("--shape: the model has no input '", name, "'");
  return out;
}

}  // namespace onnxray::app
