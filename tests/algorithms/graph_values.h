// Numbers that a graph computes, for tests of rules and gradients below the level of models.
#pragma once
#include <vector>

#include "engine/model.h"
#include "kernels/cpu/cpu.h"

namespace onnxray::testing {

// Runs a graph whose inputs are bound in order; the contents of `outputs`.
inline std::vector<std::vector<double>> compute(Graph g, std::vector<ValueId> outputs,
                                                const std::vector<Tensor>& inputs) {
  g.set_outputs(std::move(outputs));
  const auto plan = Plan::compile(lower_for(cpu_backend(), g, evaluator_of(cpu_backend())), cpu_backend(), nullptr);
  PlanRun run(plan);
  for (std::size_t i = 0; i < inputs.size(); ++i) run.bind(i, inputs[i]);
  run.execute();
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < plan->graph().outputs().size(); ++i) out.push_back(run.output(i).to_doubles());
  return out;
}

inline double total(const std::vector<double>& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}

}  // namespace onnxray::testing
