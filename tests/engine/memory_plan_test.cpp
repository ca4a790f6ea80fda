#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray {
namespace {

// Lower bound on any placement: the most bytes that are alive at one step.
std::size_t peak(const std::vector<Lifetime>& lifetimes) {
  std::size_t most = 0;
  for (const Lifetime& at : lifetimes) {
    std::size_t sum = 0;
    for (const Lifetime& l : lifetimes) {
      if (l.first <= at.first && at.first <= l.last) sum += l.bytes;
    }
    most = std::max(most, sum);
  }
  return most;
}

TEST(MemoryPlan, NothingAliveTogetherOverlaps) {
  double worst_ratio = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const int nodes = 1 + static_cast<int>(random() % 60);
    // A random DAG: node n writes value n and reads earlier ones; every value lives from its writer to its last reader.
    std::vector<Lifetime> lifetimes;
    for (int n = 0; n < nodes; ++n) {
      const std::size_t bytes = random() % 8 == 0 ? 0 : 1 + random() % 5000;
      lifetimes.push_back({bytes, n, n});
      for (unsigned r = random() % 4; n > 0 && r > 0; --r) {
        auto& read = lifetimes[random() % static_cast<unsigned>(n)];
        read.last = std::max(read.last, n);
      }
    }
    const MemoryPlan plan = plan_memory(lifetimes);
    ASSERT_EQ(plan.offsets.size(), lifetimes.size());
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      ASSERT_EQ(plan.offsets[i] % 64, 0U);
      ASSERT_LE(plan.offsets[i] + lifetimes[i].bytes, plan.bytes);
      for (std::size_t j = 0; j < i; ++j) {
        const bool in_time = lifetimes[j].last >= lifetimes[i].first && lifetimes[i].last >= lifetimes[j].first;
        const bool in_memory = plan.offsets[i] < plan.offsets[j] + lifetimes[j].bytes &&
                               plan.offsets[j] < plan.offsets[i] + lifetimes[i].bytes;
        ASSERT_FALSE(in_time && in_memory) << "buffers " << j << " and " << i << " of seed " << seed;
      }
    }
    if (peak(lifetimes) > 20000) {
      worst_ratio = std::max(worst_ratio, static_cast<double>(plan.bytes) / static_cast<double>(peak(lifetimes)));
    }
  }
  EXPECT_LT(worst_ratio, 1.3);
}

// The gradient of a net that narrows: what the forward pass leaves for the backward pass splits the memory that the
// wide values at both ends need, unless it is put beside them.
TEST(MemoryPlan, WideValuesAtBothEndsShareMemory) {
  std::vector<Lifetime> lifetimes;
  const int layers = 8;
  for (int n = 0; n < layers; ++n) {
    const std::size_t wide = std::size_t{1} << (20 - n);
    lifetimes.push_back({wide, 2 * n, 2 * n + 1});
    lifetimes.push_back({wide, 2 * n + 1, 2 * n + 2});
    lifetimes.push_back({wide / 4, 2 * n + 1, 4 * layers - 2 * n});  // until its backward node
  }
  for (int n = layers; n-- > 0;) {
    const std::size_t wide = std::size_t{1} << (20 - n);
    lifetimes.push_back({wide, 4 * layers - 2 * n, 4 * layers - 2 * n + 1});
    lifetimes.push_back({wide, 4 * layers - 2 * n + 1, 4 * layers - 2 * n + 2});
  }
  std::stable_sort(lifetimes.begin(), lifetimes.end(),
                   [](const Lifetime& a, const Lifetime& b) { return a.first < b.first; });
  EXPECT_LE(static_cast<double>(plan_memory(lifetimes).bytes), 1.05 * static_cast<double>(peak(lifetimes)));
}

TEST(MemoryPlan, ReusesWhatDied) {
  const MemoryPlan plan = plan_memory({{1000, 0, 1}, {1000, 1, 2}, {1000, 2, 3}, {1000, 3, 4}});
  EXPECT_EQ(plan.bytes, 2048U);
}

// Random DAGs of arithmetic through the whole planner, with in-place reuse, against plain evaluation of every value.
TEST(MemoryPlan, RandomGraphsComputeWhatTheyShould) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Graph g;
    Builder b(g);
    std::vector<ValueId> values;
    std::vector<std::vector<double>> expected;
    std::vector<Tensor> inputs;
    const auto add = [&](ValueId v, std::vector<double> x) {
      values.push_back(v);
      expected.push_back(std::move(x));
    };
    for (int i = 0; i < 3; ++i) {
      std::vector<double> x(i == 2 ? 1 : 5);
      for (double& e : x) e = static_cast<double>(random() % 7) - 3;
      const Dims dims{static_cast<std::int64_t>(x.size())};
      inputs.push_back(Tensor::from<double>(dims, std::span<const double>(x)));
      add(g.add_input("x" + std::to_string(i), DType::f64, dims), x);
    }
    for (int n = 0; n < 30; ++n) {
      const std::size_t p = random() % values.size(), q = random() % values.size();
      const bool sum = random() % 2 == 0;
      const ValueId v = sum ? b.add(values[p], values[q]) : b.sub(values[p], values[q]);
      std::vector<double> y(std::max(expected[p].size(), expected[q].size()));
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double l = expected[p][expected[p].size() == 1 ? 0 : i], r = expected[q][expected[q].size() == 1 ? 0 : i];
        y[i] = sum ? l + r : l - r;
      }
      add(v, std::move(y));
    }
    std::vector<std::size_t> asked{values.size() - 1, 3 + random() % 30, 3 + random() % 30};
    std::vector<ValueId> outputs;
    for (const std::size_t i : asked) outputs.push_back(values[i]);
    g.set_outputs(outputs);
    PlanRun run(Plan::compile(clean(g), cpu_backend(), nullptr));
    for (std::size_t i = 0; i < inputs.size(); ++i) run.bind(i, inputs[i]);
    for (int time = 0; time < 2; ++time) {
      run.execute();
      for (std::size_t k = 0; k < asked.size(); ++k) {
        ASSERT_EQ(run.output(k).to_doubles(), expected[asked[k]]) << "seed " << seed << "\n" << g.to_text();
      }
    }
  }
}

}  // namespace
}  // namespace onnxray
