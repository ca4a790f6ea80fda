// The op conformance loop on the simulator: every kernel of the CUDA backend against the references, and under every
// schedule and both kinds of asynchronous copies where threads synchronise.
#include <gtest/gtest.h>

#include <algorithm>

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

// Ops that the host computes although the model runs on CUDA. `onnxray doctor` lists them for a model.
constexpr std::string_view kOnHost[] = {"crop_at", "paste_at"};
// Ops some of whose samples the kernels decline: float64 programs, storage types, bytes and booleans.
constexpr std::string_view kDeclines[] = {"map", "cast"};

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

TEST(OpsOnSimulator, WhatFallsBackIsListed) {
  for (const OpDef& def : ops().all()) {
    const bool here = simulator().find(def.name) != nullptr || def.expand != nullptr;
    EXPECT_EQ(!here, contains(kOnHost, def.name)) << def.name << (here ? " has" : " has no") << " CUDA kernel";
  }
}

TEST_P(OpOnSimulator, Forward) {
  const Failures failures = check_forward(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
  EXPECT_EQ(!declined_.empty(), contains(kDeclines, GetParam())) << "declined:\n" << lines(declined_);
}

TEST_P(OpOnSimulator, Plan) {
  const Failures failures = check_plan(subject());
  EXPECT_TRUE(failures.empty()) << lines(failures);
}

TEST_P(OpOnSimulator, Rows) {
  const Failures failures = check_rows(subject());
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

INSTANTIATE_TEST_SUITE_P(Ops, OpOnSimulator, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const OpDef& def : ops().all()) names.push_back(def.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace onnxray::testing
