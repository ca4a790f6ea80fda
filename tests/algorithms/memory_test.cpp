// Memory depends on the rows of a chunk, not on how many chunks there are, and obeys the budget.
#include <gtest/gtest.h>

#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::thrown_by;

const Model& small_net() {
  static const Model model = [] {
    testing::ModelBuilder m;
    m.input("x", {"N", 3, 16, 16}).output("y", {"N", 5});
    m.initializer("w", testing::wave({8, 3, 3, 3}, 1, 0.3).to(DType::f32));
    m.initializer("v", testing::wave({8, 5}, 2).to(DType::f32));
    attr(m.node("Conv", {"x", "w"}, {"c"}, "conv"), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
    m.node("Relu", {"c"}, {"r"});
    m.node("GlobalAveragePool", {"r"}, {"p"});
    m.node("Flatten", {"p"}, {"f"});
    m.node("MatMul", {"f", "v"}, {"y"});
    return testing::model_of(m);
  }();
  return model;
}

Attribution path(std::int64_t n_steps, ComputeOptions compute, std::int64_t examples = 2) {
  return attribute(
      small_net(), IntegratedGradients{.n_steps = n_steps},
      {.inputs = {{"x", testing::wave({examples, 3, 16, 16}, 5)}}, .to = {output(1)}, .from = {}, .compute = compute});
}

TEST(Memory, DoesNotGrowWithTheNumberOfSteps) {
  for (const Precision precision : {Precision::kFloat32, Precision::kFloat64}) {
    const auto few = path(50, {.precision = precision, .chunk = 10});
    const auto many = path(2990, {.precision = precision, .chunk = 10});
    EXPECT_EQ(few.report.chunk, 10);
    EXPECT_EQ(many.report.chunk, 10);
    EXPECT_EQ(few.report.rows, 2 * 50 + 4);
    EXPECT_EQ(many.report.rows, 2 * 2990 + 4);
    EXPECT_GT(few.report.peak_bytes, 0u);
    EXPECT_EQ(few.report.peak_bytes, many.report.peak_bytes);
    // Many steps are nearer to completeness than few.
    EXPECT_LE(testing::largest(many.delta), testing::largest(few.delta) + 1e-6);
  }
}

TEST(Memory, OfADefaultChunkIsBounded) {
  const auto many = path(2990, {});
  EXPECT_LE(many.report.chunk, 256);
  EXPECT_EQ(path(2990, {}).report.peak_bytes, many.report.peak_bytes);
}

TEST(Memory, BudgetIsObeyed) {
  const std::size_t one = path(3, {.chunk = 1}).report.peak_bytes;
  std::int64_t last = 0;
  for (const std::size_t rows : {2, 5, 12, 40}) {
    const std::size_t budget = rows * one;
    const auto a = path(60, {.memory_bytes = budget});
    EXPECT_LE(a.report.peak_bytes, budget) << rows;
    EXPECT_GE(a.report.chunk, last) << rows;
    EXPECT_GT(a.report.chunk, 0);
    last = a.report.chunk;
  }
  EXPECT_GT(last, 5);
  // The rows of a chunk change nothing but rounding.
  EXPECT_LE(testing::relative_distance(path(60, {.memory_bytes = 2 * one}).attributions.at("x"),
                                       path(60, {}).attributions.at("x")),
            1e-5);
}

TEST(Memory, TooSmallABudgetIsRefused) {
  const auto e = thrown_by([] { (void)path(10, {.memory_bytes = 1000}); });
  EXPECT_EQ(e.kind, ErrorKind::kBadInput);
  EXPECT_NE(e.text.find("one row needs"), std::string::npos) << e.text;
  EXPECT_NE(e.text.find("memory budget"), std::string::npos) << e.text;
  EXPECT_EQ(e.text.find(" 0 MiB"), std::string::npos) << e.text;
}

TEST(Memory, ForwardPassesObeyItToo) {
  const NamedTensors in{{"x", testing::wave({64, 3, 16, 16}, 5)}};
  const std::size_t one = evaluate(small_net(), in, {}, {.chunk = 1}).report.peak_bytes;
  const Evaluation e = evaluate(small_net(), in, {}, {.memory_bytes = 8 * one});
  EXPECT_LE(e.report.peak_bytes, 8 * one);
  EXPECT_LT(e.report.chunk, 64);
  EXPECT_LE(testing::relative_distance(e.values.at("y"), evaluate(small_net(), in).values.at("y")), 1e-5);
  EXPECT_GT(default_memory_budget(), std::size_t{1} << 20);
}

}  // namespace
}  // namespace onnxray
