// The op conformance loop: every registered op, every check. `--gtest_filter=*conv*` selects ops by name.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const OpDef& op : ops().all()) names.push_back(op.name);
  return names;
}

// At most this many lines per check: the rest mostly repeats them.
constexpr std::size_t kShown = 8;

void expect_none(const Failures& failures, std::size_t shown = kShown) {
  std::string text;
  for (std::size_t i = 0; i < std::min(shown, failures.size()); ++i) text += failures[i] + "\n";
  if (failures.size() > shown) text += "... and " + std::to_string(failures.size() - shown) + " more\n";
  EXPECT_TRUE(failures.empty()) << text;
}

TEST(OpCoverage, EveryOpHasSamples) { expect_none(check_coverage(ops(), all_cases()), 1000); }

class OpConformance : public ::testing::TestWithParam<std::string> {
 protected:
  void check(Failures (*body)(const Subject&)) {
    const OpDef& def = op(GetParam());
    const auto found =
        std::find_if(all_cases().begin(), all_cases().end(), [&](const OpCase& c) { return c.op == def.name; });
    if (found == all_cases().end()) GTEST_SKIP() << "no samples; OpCoverage fails for it";
    expect_none(body({def, *found, cpu_backend()}));
  }
};

TEST_P(OpConformance, Forward) { check(check_forward); }
TEST_P(OpConformance, Errors) { check(check_errors); }
TEST_P(OpConformance, Gradient) { check(check_gradient); }
TEST_P(OpConformance, SecondOrder) { check(check_second_order); }
TEST_P(OpConformance, Plan) { check(check_plan); }
TEST_P(OpConformance, Rows) { check(check_rows); }
TEST_P(OpConformance, GradientRows) { check(check_gradient_rows); }
TEST_P(OpConformance, Expand) { check(check_expand); }

INSTANTIATE_TEST_SUITE_P(Ops, OpConformance, ::testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace onnxray::testing
