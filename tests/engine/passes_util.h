// Runs graphs on random inputs, for tests of passes: the outputs before and after are to be the same.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/builder.h"
#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray::testing {

inline Tensor random_floats(DType dtype, Dims dims, unsigned seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<double> draw(-1, 1);
  std::vector<double> v(static_cast<std::size_t>(count_of(dims)));
  for (double& x : v) x = draw(rng);
  return Tensor::from<double>(std::move(dims), v).to(dtype);
}

inline std::vector<std::vector<double>> run_random(const Graph& g) {
  g.verify();
  PlanRun run(Plan::compile(clean(g), cpu_backend(), nullptr));
  for (std::size_t i = 0; i < g.inputs().size(); ++i) {
    const Value& v = g.value(g.inputs()[i]);
    run.bind(i, random_floats(v.dtype, v.dims, static_cast<unsigned>(i) + 7));
  }
  run.execute();
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < g.outputs().size(); ++i) out.push_back(run.output(i).to_doubles());
  return out;
}

// Same outputs up to `relative` of the largest element.
inline void expect_same(const Graph& before, const Graph& after, double relative) {
  ASSERT_EQ(before.outputs().size(), after.outputs().size());
  for (std::size_t i = 0; i < before.outputs().size(); ++i) {
    EXPECT_EQ(before.value(before.outputs()[i]).dims, after.value(after.outputs()[i]).dims) << "output " << i;
  }
  const auto a = run_random(before), b = run_random(after);
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    double scale = 0, worst = 0;
    for (const double x : a[i]) scale = std::max(scale, std::abs(x));
    for (std::size_t k = 0; k < a[i].size(); ++k) worst = std::max(worst, std::abs(a[i][k] - b[i][k]));
    EXPECT_LE(worst, relative * scale) << "output " << i << "\n" << after.to_text();
  }
}

inline int count_ops(const Graph& g, std::string_view op) {
  int n = 0;
  for (const Node& node : g.nodes()) n += node.op->name == op;
  return n;
}

inline Attrs window(std::int64_t stride, std::int64_t pad) {
  return {{"strides", std::vector<std::int64_t>{stride, stride}},
          {"pads", std::vector<std::int64_t>{pad, pad, pad, pad}},
          {"dilations", std::vector<std::int64_t>{1, 1}}};
}

}  // namespace onnxray::testing
