// Gradients through the importer: for every ONNX operator that has one, the cases of ONNX's node suite (Debian's
// libonnx-testdata) with float inputs pass a float64 directional difference. Covers operators composed in converters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>

#include "api/onnxray.h"
#include "engine/autodiff.h"
#include "engine/base/philox.h"
#include "engine/op.h"
#include "onnx_import/test_data.h"
#include "tests/source_dir.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;

fs::path data_folder() {
  const char* given = std::getenv("ONNXRAY_ONNX_TESTDATA");
  return fs::path(given != nullptr ? given : "/usr/include/onnx/backend/test/data") / "node";
}

Tensor random_like(const Dims& dims, std::uint64_t stream) {
  Tensor t(DType::f64, dims);
  const Philox philox{stream};
  std::uint64_t i = 0;
  for (double& v : t.mutable_data<double>()) v = Philox::normal(philox(1, i++));
  return t;
}

double dot(const Tensor& a, const Tensor& b) {
  const auto x = a.to_doubles(), y = b.to_doubles();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

enum class Outcome { kChecked, kNoFloats, kWrong };

// One case: d/dt <c, y(x + t d)> at 0 by differences against <grad, d>.
Outcome check_case(const fs::path& folder, std::string& problem) {
  const Model model = load(folder / "model.onnx");
  Specialisation spec;
  std::size_t k = 0;
  for (const ValueInfo& in : model.inputs()) {
    Tensor t = onnx_import::read_tensor_file(folder / "test_data_set_0" / ("input_" + std::to_string(k++) + ".pb"), in);
    spec.dims[in.name] = t.dims();
    spec.data[in.name] = t;
  }
  const auto canonical = model.canonical(spec);
  Graph g = prepare_forward(canonical->graph, Precision::kFloat64, model.evaluator());
  Builder b(g, model.evaluator());
  GradientRequest request;
  std::vector<ValueId> outputs;
  std::vector<Tensor> cotangents;
  for (const ValueId v : g.outputs()) {
    if (!is_float(g.value(v).dtype) || g.is_constant(v)) continue;
    outputs.push_back(v);
    cotangents.push_back(random_like(g.value(v).dims, 10 + outputs.size()));
    request.seeds.push_back({v, b.constant(cotangents.back())});
  }
  std::vector<std::size_t> varied;
  const std::vector<ValueId> inputs = g.inputs();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!is_float(g.value(inputs[i]).dtype)) continue;
    varied.push_back(i);
    request.wrt.push_back(inputs[i]);
  }
  if (outputs.empty() || varied.empty()) return Outcome::kNoFloats;
  const std::vector<ValueId> d = gradient(b, request);
  std::vector<ValueId> asked = outputs;
  std::vector<std::size_t> active;
  for (std::size_t j = 0; j < varied.size(); ++j) {
    if (d[j] == kNoValue) continue;
    active.push_back(varied[j]);
    asked.push_back(d[j]);
  }
  if (active.empty()) return Outcome::kNoFloats;
  g.set_outputs(asked);
  g.verify();
  const auto plan = Plan::compile(lower_for(model.backend(), g, model.evaluator()), model.backend(), nullptr);
  PlanRun run(plan);
  std::vector<Tensor> x;
  for (const ValueId v : inputs) x.push_back(spec.data.at(g.value(v).name).to(g.value(v).dtype));
  // Magnitudes that do not need extended range: a step of 1e-4 relative to the point.
  const auto objective = [&](const std::vector<Tensor>& direction, double t) {
    for (std::size_t i = 0; i < inputs.size(); ++i) run.bind(i, x[i]);
    for (std::size_t j = 0; j < active.size(); ++j) {
      Tensor moved(DType::f64, x[active[j]].dims());
      const auto from = x[active[j]].to_doubles(), along = direction[j].to_doubles();
      const auto to = moved.mutable_data<double>();
      for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i] + t * along[i];
      run.bind(active[j], moved);
    }
    run.execute();
    double sum = 0;
    for (std::size_t o = 0; o < outputs.size(); ++o) sum += dot(run.output(o), cotangents[o]);
    return sum;
  };
  double worst = 0;
  for (std::uint64_t attempt = 0; attempt < 8; ++attempt) {
    std::vector<Tensor> direction;
    for (std::size_t j = 0; j < active.size(); ++j) {
      Tensor r = random_like(x[active[j]].dims(), 100 * (attempt + 1) + j);
      for (double& v : r.mutable_data<double>()) v = std::clamp(v, -2.0, 2.0);
      direction.push_back(r);
    }
    objective(direction, 0);
    double analytic = 0, scale = 0;
    for (std::size_t j = 0; j < active.size(); ++j) {
      const Tensor grad = run.output(outputs.size() + j);
      analytic += dot(grad, direction[j]);
      scale += std::sqrt(dot(grad, grad) * dot(direction[j], direction[j]));
    }
    const double h = 1e-5;
    const auto central = [&](double step) {
      return (objective(direction, step) - objective(direction, -step)) / (2 * step);
    };
    const double coarse = central(2 * h), fine = central(h);
    const double numeric = (4 * fine - coarse) / 3;
    const double error = std::abs(analytic - numeric) / std::max({1e-3, std::abs(numeric), scale});
    if (error <= 1e-6) return Outcome::kChecked;
    worst = error;
    // A kink between the points (ReLU, max, clip) shows as two estimates that disagree: draw another direction.
    problem = detail::concat("gradient ", analytic, ", difference ", numeric, " (", coarse,
                             " at twice the step), error ", worst);
  }
  return Outcome::kWrong;
}

TEST(CaseGradients, EveryOperatorWithAGradient) {
  if (!fs::exists(data_folder())) {
    GTEST_SKIP() << "SKIPPED: no ONNX test data in " << data_folder() << " (package libonnx-testdata)";
  }
  std::ifstream list(fs::path(onnxray::testing::source_dir()) / "tests/conformance/debian_tier1.txt");
  std::ifstream kinks(fs::path(onnxray::testing::source_dir()) / "tests/conformance/gradient_expected.txt");
  std::set<std::string> expected;
  std::string line;
  while (std::getline(kinks, line)) {
    if (!line.empty() && line[0] != '#') expected.insert(line.substr(0, line.find(' ')));
  }
  std::map<std::string, int> checked;
  int cases = 0;
  for (std::string name; std::getline(list, name);) {
    if (name.empty() || name[0] == '#' || name.starts_with("test_training_dropout")) continue;
    const fs::path folder = data_folder() / name;
    std::vector<OperatorUse> uses = inspect(folder / "model.onnx").operators();
    const bool differentiable = std::any_of(uses.begin(), uses.end(), [](const OperatorUse& u) { return u.gradient; });
    if (!differentiable || expected.contains(name)) continue;
    std::string problem;
    try {
      const Outcome outcome = check_case(folder, problem);
      if (outcome == Outcome::kNoFloats) continue;
      EXPECT_EQ(outcome, Outcome::kChecked) << name << ": " << problem;
      if (outcome != Outcome::kChecked) continue;
    } catch (const Error& e) {
      ADD_FAILURE() << name << ": " << e.what();
      continue;
    }
    ++cases;
    for (const OperatorUse& u : uses) ++checked[u.op];
  }
  std::cout << cases << " cases, " << checked.size() << " operators with a checked gradient\n";
  EXPECT_GE(cases, 380);
  EXPECT_GE(checked.size(), 80u);
}

}  // namespace
}  // namespace onnxray
