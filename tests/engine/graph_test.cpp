#include <gtest/gtest.h>

#include <cmath>

#include "engine/autodiff.h"
#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray {
namespace {

TEST(Graph, PrintsVerifiesDifferentiatesAndRuns) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {2, 3}, RowMap::rows(0));
  const ValueId w = b.constant(Tensor::from<double>({3}, {1, 2, 3}));
  const ValueId y = b.op("exp", {b.mul(x, w)});
  const ValueId seed = g.add_input("dy", DType::f64, {2, 3}, RowMap::rows(0));
  const std::vector<ValueId> dx = gradient(b, {.seeds = {{y, seed}}, .wrt = {x}});
  g.set_outputs({y, dx[0]});
  g.verify();
  EXPECT_NE(g.to_text().find("mul(%0"), std::string::npos) << g.to_text();
  const Graph cleaned = clean(g);
  PlanRun run(Plan::compile(cleaned, cpu_backend(), nullptr));
  run.bind(0, Tensor::from<double>({2, 3}, {0, 0, 0, 1, 0.5, -1}));
  run.bind(1, Tensor::from<double>({2, 3}, {1, 1, 1, 1, 1, 2}));
  run.execute();
  const auto d = run.output(1).to_doubles();
  EXPECT_DOUBLE_EQ(d[1], 2.0);
  EXPECT_DOUBLE_EQ(d[3], std::exp(1.0));
  EXPECT_DOUBLE_EQ(d[5], 6 * std::exp(-3.0));
}

}  // namespace
}  // namespace onnxray
