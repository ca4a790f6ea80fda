// Throughput of the forward pass, the gradient and methods on a model, with random inputs.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>

#include "algorithms/session.h"
#include "app/cli/accuracy.h"
#include "app/cli/method_options.h"
#include "app/cli/verbs.h"
#include "engine/base/phases.h"
#include "engine/base/philox.h"

namespace onnxray::app {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Random floats in [-1, 1), zeros for integers (a valid token of every vocabulary).
NamedTensors random_inputs(const Model& model, const Arguments& args) {
  NamedTensors inputs = nominal_inputs(model, args);
  const Philox random{args.seed + 1};
  std::uint64_t counter = 0;
  for (auto& [name, t] : inputs) {
    if (!is_float(t.dtype())) continue;
    Tensor f(DType::f32, t.dims());
    for (float& v : f.mutable_data<float>()) v = static_cast<float>(2 * Philox::uniform(random(0, counter++), 0) - 1);
    t = f;
  }
  return inputs;
}

struct Measured {
  std::string name;
  double setup = 0, median = 0;
  std::int64_t rows = 0;
  std::size_t peak = 0;
};

// The costliest kernels of the last run.
void print_profile(const std::map<std::string, double>& seconds) {
  std::vector<std::pair<double, std::string>> list;
  double total = 0;
  for (const auto& [name, s] : seconds) {
    list.emplace_back(s, name);
    total += s;
  }
  std::sort(list.rbegin(), list.rend());
  for (std::size_t i = 0; i < std::min<std::size_t>(25, list.size()); ++i) {
    std::fprintf(stderr, "  %5.1f %% %9.3f ms  %s\n", 100 * list[i].first / total, 1e3 * list[i].first,
                 list[i].second.c_str());
  }
}

// Where the last request's time went on this thread; on a device the kernels run meanwhile.
void print_phases(const std::array<double, kPhaseNames.size()>& seconds) {
  std::fprintf(stderr, "  one request:");
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    std::fprintf(stderr, "%s %s %.3f ms", i > 0 ? "," : "", kPhaseNames[i], 1e3 * seconds[i]);
  }
  std::fprintf(stderr, "\n");
}

}  // namespace

int run_bench(const Arguments& args) {
  const double loading = now();
  const Model model = load_model(args);
  const double loaded = now();
  Arguments quiet = args;
  quiet.quiet = true;
  ComputeOptions compute = compute_options(quiet);
  const NamedTensors inputs = random_inputs(model, args);
  Scalar first_class;
  first_class.terms.push_back(Term{});
  {
    const Request probe{.inputs = inputs, .to = {}, .from = {}, .compute = compute};
    const Dims d = row_dims_of_value(model, probe, model.outputs().at(0).name);
    first_class.terms[0].index = {Dims(d.size(), 0)};
  }
  if (args.accuracy) {
    print_accuracy(args, inputs, first_class);
    return 0;
  }
  std::vector<std::string> wanted = args.methods;
  if (wanted.empty()) wanted = {"forward", "gradient"};
  std::vector<Measured> table;
  for (const std::string& name : wanted) {
    Measured m{.name = name};
    std::vector<double> times;
    std::function<ComputeReport()> once;
    std::unique_ptr<Method> chosen;
    if (name == "forward") {
      once = [&] {
        (void)run(
            model, inputs, {},
            {.precision = compute.precision == Precision::kDeclared ? model.default_precision() : compute.precision});
        ComputeReport r;
        r.rows = 1;
        return r;
      };
    } else if (name == "gradient") {
      once = [&] {
        return gradient(model, {.inputs = inputs, .of = {first_class}, .wrt = {}, .compute = compute}).report;
      };
    } else {
      chosen = method(name).make();
      Arguments options = args;
      if (name == "integrated-gradients" && args.rows > 0)
        options.method_options.emplace_back("n_steps", std::to_string(args.rows));
      set_method_options({chosen.get()}, name, options, model);
      once = [&] {
        return chosen->run(model, {.inputs = inputs, .to = {first_class}, .from = args.from, .compute = compute})
            .report;
      };
    }
    std::array<double, kPhaseNames.size()> phases{};
    for (std::int64_t i = 0; i <= std::max<std::int64_t>(1, args.repeat); ++i) {
      CollectPhases collect;
      const double start = now();
      const ComputeReport r = once();
      phases = collect.seconds();
      const double seconds = now() - start;
      if (i == 0) m.setup = seconds;
      else times.push_back(seconds);
      m.rows = r.rows;
      m.peak = std::max(m.peak, r.peak_bytes);
    }
    if (args.profile) {
      print_phases(phases);
      // A request of its own: kernels are timed one by one, with a wait after each.
      compute.profile = true;
      print_profile(once().op_seconds);
      compute.profile = false;
    }
    std::sort(times.begin(), times.end());
    m.median = times[times.size() / 2];
    m.setup = std::max(0.0, m.setup - m.median);
    table.push_back(m);
    if (!args.json) {
      if (table.size() == 1)
        std::printf("%-22s %8s %12s %12s %10s %10s\n", "method", "rows", "median s", "rows/s", "setup s", "arena MiB");
      std::printf("%-22s %8lld %12.4f %12.1f %10.3f %10.1f\n", m.name.c_str(), static_cast<long long>(m.rows), m.median,
                  static_cast<double>(m.rows) / m.median, m.setup, static_cast<double>(m.peak) / 1048576.0);
      std::fflush(stdout);
    }
  }
  if (args.json) {
    std::cout << "{\"onnxray\": \"" << version() << "\", \"sha256\": \"" << model.metadata().digest
              << "\", \"threads\": " << max_threads() << ", \"load_seconds\": " << loaded - loading
              << ", \"methods\": [";
    for (std::size_t i = 0; i < table.size(); ++i) {
      const Measured& m = table[i];
      std::cout << (i > 0 ? ", " : "") << "{\"method\": \"" << m.name << "\", \"rows\": " << m.rows
                << ", \"median_seconds\": " << m.median << ", \"setup_seconds\": " << m.setup
                << ", \"arena_bytes\": " << m.peak;
      if (model.backend().device != nullptr) {
        std::cout << ", \"device_peak_bytes\": " << device_peak_bytes(model.backend());
      }
      std::cout << "}";
    }
    std::cout << "]}\n";
  }
  return 0;
}

}  // namespace onnxray::app
