// The op conformance loop on the simulator: every kernel of the CUDA backend against the references, and under every
// schedule and both kinds of asynchronous copies where threads synchronise. What falls back to the host is what
// `onnxray doctor` says (engine/host_nodes.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/host_nodes.h"
#include "engine/passes/passes.h"
#include "kernels/cpu/cpu.h"
#include "kernels/sim/backend.h"
#include "kernels/sim/simulator.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

const Backend& simulator() {
  static const Backend backend = sim::make_backend(cpu_backend());
  return backend;
}

// Ops some of whose samples the kernels decline: programs in float64, whose plans are not fused.
constexpr std::string_view kDeclines[] = {"map"};

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

std::string lines(const Failures& failures) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, failures.size()); ++i) text += failures[i] + "\n";
  if (failures.size() > kShown) text += "... and " + std::to_string(failures.size() - kShown) + " more\n";
  return text;
}

class OpOnSimulator : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (simulator().find(GetParam()) == nullptr) GTEST_SKIP() << "no CUDA kernel: the host computes it";
  }
  void TearDown() override { sim::options() = sim::Options::from_environment(); }

  [[nodiscard]] Subject subject() {
    const auto found =
        std::find_if(all_cases().begin(), all_cases().end(), [&](const OpCase& c) { return c.op == GetParam(); });
    return {op(GetParam()), *found, simulator(), &declined_};
  }
  Failures declined_;
};

TEST(OpsOnSimulator, EveryOpHasAKernelOrExpands) {
  for (const OpDef& def : ops().all()) {
    EXPECT_TRUE(simulator().find(def.name) != nullptr || def.expand != nullptr) << def.name << " has no CUDA kernel";
  }
}

TEST_P(OpOnSimulator, Forward) {
  const Failures failures = check_forward(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
  EXPECT_EQ(!declined_.empty(), contains(kDeclines, GetParam())) << "declined:\n" << lines(declined_);
}

// What the loop on a device runs (tests/gpu).
TEST_P(OpOnSimulator, Reference) {
  const Failures failures = check_reference(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

TEST_P(OpOnSimulator, Plan) {
  const Failures failures = check_plan(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

TEST_P(OpOnSimulator, Rows) {
  const Failures failures = check_rows(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

// Asked without a device, as doctor asks, and by compiling for one; also where the table lacks the op.
TEST_P(OpOnSimulator, WhatFallsBackIsForeseen) {
  const Subject s = subject();
  Backend without = simulator();
  without.add(GetParam(), nullptr);
  const Failures failures = for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    const OneNode one = one_node(s, sample, draw_inputs(sample, float_type, seed_of(s, k)));
    for (const Backend* backend : {&simulator(), static_cast<const Backend*>(&without)}) {
      // Without a kernel on the host either, the passes expand it.
      if (backend == &without && backend->host().find(GetParam()) == nullptr) continue;
      const std::size_t real = Plan::compile(one.graph, *backend, nullptr)->fallbacks().size();
      const std::size_t foreseen = host_nodes(one.graph, *backend).size();
      if (real != foreseen) report(detail::concat(foreseen, " nodes foreseen on the host, ", real, " are"));
      if (backend == &without && foreseen == 0 && !s.op.traits.view) report("a missing kernel is not foreseen");
    }
  });
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

TEST_P(OpOnSimulator, SchedulesAgree) {
  using sim::AsyncCopy, sim::Schedule;
  const Subject s = subject();
  const Failures failures = for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    const std::vector<Tensor> inputs = draw_inputs(sample, float_type, seed_of(s, k));
    sim::options() = {};
    sim::reset_counters();
    const std::vector<Tensor> want = run_sample(s, sample, inputs);
    const sim::Counters n = sim::counters();
    if (n.barriers == 0 && n.collectives == 0 && n.async_copy_bytes == 0) return;
    for (const Schedule schedule : {Schedule::kDescending, Schedule::kRandom, Schedule::kWarpSkew}) {
      for (const AsyncCopy copies : {AsyncCopy::kLate, AsyncCopy::kEarly}) {
        sim::options().schedule = schedule;
        sim::options().async_copy = copies;
        const std::vector<Tensor> got = run_sample(s, sample, inputs);
        for (std::size_t i = 0; i < want.size(); ++i) {
          if (!got[i].same_bits(want[i])) {
            report(detail::concat("schedule ", static_cast<int>(schedule), ", copies ", static_cast<int>(copies),
                                  ": output ", i, ": ", difference(got[i], want[i], 0)));
          }
        }
      }
    }
  });
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

// A kernel cannot throw: the next copy to the host does, and the run goes on with good indices.
TEST(OpsOnSimulator, IndicesOutOfRangeAreReported) {
  for (const char* name : {"gather", "gather_elements", "gather_rows"}) {
    Graph g;
    Builder b(g);
    const ValueId x = g.add_input("x", DType::f32, {4}), i = g.add_input("i", DType::i64, {3});
    b.context = "pick (Gather)";
    g.set_outputs({b.op(name, {x, i}, {{"axis", std::int64_t{0}}})});
    PlanRun run(compile(g, simulator()));
    run.bind(0, Tensor::from<float>({4}, {1, 2, 3, 4}));
    for (int time = 0; time < 2; ++time) {
      run.bind(1, Tensor::ints(std::vector<std::int64_t>{0, 7, 3}));
      run.execute();
      try {
        (void)run.output(0);
        FAIL() << name << ": nothing is thrown";
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("pick (Gather)"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("index 7 is out of range"), std::string::npos) << e.what();
      }
      run.bind(1, Tensor::ints(std::vector<std::int64_t>{0, 2, 3}));
      run.execute();
      EXPECT_EQ(run.output(0).to_doubles(), (std::vector<double>{1, 3, 4})) << name;
    }
  }
}

double relative_l2(const std::vector<double>& got, const std::vector<double>& want) {
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    off += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return norm == 0 ? 0 : std::sqrt(off / norm);
}

// Queries that may look at nothing, infinite and undefined scores: attention gives what its products and its softmax
// give, and so does its gradient.
TEST(OpsOnSimulator, AttentionToNothing) {
  const float none = -INFINITY;
  for (const std::int64_t head : {4, 5}) {                                          // on the tensor cores, and plain
    const double allowed = 8 * 0x1p-23 * std::sqrt(static_cast<double>(head + 3));  // as tolerance() of check.h
    for (const std::int64_t masked : {0, 1}) {
      Graph g;
      Builder b(g);
      const ValueId q = g.add_input("q", DType::f32, {4, head}), k = g.add_input("k", DType::f32, {3, head});
      const ValueId v = g.add_input("v", DType::f32, {3, head}), mask = g.add_input("mask", DType::f32, {4, 3});
      const ValueId dy = g.add_input("dy", DType::f32, {4, head});
      const Attrs attrs{{"scale", 0.5}, {"masked", masked}};
      const std::vector<ValueId> y = b.ops("attention", {q, k, v, mask}, attrs);
      std::vector<ValueId> outputs = b.ops("attention_grad", {dy, q, k, v, mask, y[0], y[1]}, attrs);
      outputs.insert(outputs.end(), y.begin(), y.end());
      g.set_outputs(outputs);
      const Graph expanded = expand_composites(
          g, [](const Node&) { return false; }, nullptr);
      for (const float odd : {none, INFINITY, NAN}) {
        if (masked != 0 && odd != none) continue;
        const std::vector<Tensor> inputs = {
            random_tensor(DType::f32, {4, head}, -1, 1, 1), random_tensor(DType::f32, {3, head}, -1, 1, 2),
            random_tensor(DType::f32, {3, head}, -1, 1, 3),
            Tensor::from<float>({4, 3}, {0, none, 1, none, none, none, 2, odd, 0, 1, 1, none}),
            random_tensor(DType::f32, {4, head}, -1, 1, 4)};
        const std::vector<Tensor> got = run_plan(Plan::compile(g, simulator(), nullptr), inputs);
        const std::vector<Tensor> want = run_plan(Plan::compile(clean(expanded), cpu_backend(), nullptr), inputs);
        for (std::size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(difference(got[i], want[i], allowed), "")
              << "head " << head << " masked " << masked << " score " << odd << " output " << i;
        }
      }
    }
  }
}

// What multiplies, by mode, against float64 on the same float32 operands: the worst sample. Rounding both operands to p
// bits moves a product by 2^-p at most, and a sum of products whose errors are independent by less.
TEST(OpsOnSimulator, ErrorsByMode) {
  struct Mode {
    const char* name;
    ComputeMode mode;
  };
  constexpr Mode kModes[] = {{"exact", ComputeMode::kExact},
                             {"balanced", ComputeMode::kBalanced},
                             {"fast", ComputeMode::kFast},
                             {"bf16", ComputeMode::kBf16}};
  std::printf("%-18s", "relative error");
  for (const Mode& m : kModes) std::printf(" %9s", m.name);
  std::printf("\n");
  for (const char* name : {"conv", "conv_input_grad", "conv_weight_grad", "matmul", "attention", "attention_grad"}) {
    const auto found =
        std::find_if(all_cases().begin(), all_cases().end(), [&](const OpCase& c) { return c.op == name; });
    const Subject s{op(name), *found, simulator()};
    const bool backward = s.op.name.starts_with("conv_") || s.op.name.ends_with("_grad");
    double worst[4] = {};
    for (std::size_t k = 0; k < s.spec.samples.size(); ++k) {
      const OpSample& sample = s.spec.samples[k];
      if (!has_float_under_test(sample)) continue;
      const std::vector<Tensor> inputs = draw_inputs(sample, DType::f32, seed_of(s, k));
      const OneNode one = one_node(s, sample, inputs);
      std::vector<Array> arrays;
      for (const Tensor& t : inputs) arrays.push_back(to_array(t));
      const std::vector<Array> want = s.spec.reference(arrays, sample.attrs);
      std::vector<Tensor> given;
      std::vector<std::string> cotangents;  // of the backward ops
      for (const std::size_t i : one.given) given.push_back(inputs[i]);
      if (backward) {
        for (const ValueId v : one.graph.inputs()) cotangents.push_back(one.graph.value(v).name);
      }
      for (std::size_t m = 0; m < std::size(kModes); ++m) {
        const bool exact = kModes[m].mode == ComputeMode::kExact;
        const Graph g = exact ? one.graph : set_compute_mode(one.graph, kModes[m].mode, cotangents);
        const std::vector<Tensor> got = run_plan(compile(g, simulator()), given);
        worst[m] = std::max(worst[m], relative_l2(got[0].to_doubles(), want[0].v));
      }
    }
    std::printf("%-18s %9.2g %9.2g %9.2g %9.2g\n", name, worst[0], worst[1], worst[2], worst[3]);
    EXPECT_LE(worst[0], tolerance(s, DType::f32, DType::f32)) << name;
    if (s.op.name == "attention_grad") {
      // The scores are exact, the other products are not.
      EXPECT_GE(worst[1], 10 * worst[0]) << name << ": balanced";
      EXPECT_LE(worst[1], 0x1p-10) << name << ": balanced";
    } else {
      EXPECT_EQ(worst[1], backward ? worst[2] : worst[0]) << name << ": balanced";
    }
    EXPECT_LE(worst[2], 0x1p-10) << name << ": fast";
    EXPECT_LE(worst[3], 0x1p-7) << name << ": bf16";
    if (s.op.name == "conv_weight_grad") continue;  // a plain kernel in every mode
    EXPECT_GE(worst[2], 10 * worst[0]) << name << ": fast is not another mode";
    EXPECT_GE(worst[3], 2 * worst[2]) << name << ": bf16 is not another mode";
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, OpOnSimulator, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const OpDef& def : ops().all()) names.push_back(def.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace onnxray::testing
