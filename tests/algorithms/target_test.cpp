// What a target names: classes of outputs with trailing extents of 1, and what stands before a Softmax of old opsets.
#include <gtest/gtest.h>

#include "tests/algorithms/support.h"

namespace onnxray::testing {
namespace {

// y = Softmax-7 of w x, as [N, 3, 1, 1], which the converter flattens.
Model pooled_classifier() {
  ModelBuilder m(7);
  m.input("x", {"N", 2, 1, 1}).output("y", {"N", 3, 1, 1});
  m.initializer("w", Tensor::from<float>({3, 2, 1, 1}, {1, 2, 3, -1, 0, 4}));
  m.node("Conv", {"x", "w"}, {"scores"}, "conv");
  m.node("Softmax", {"scores"}, {"y"}, "softmax");
  return model_of(m);
}

TEST(Target, TrailingExtentsOfOneNeedNoIndex) {
  const Model model = pooled_classifier();
  const NamedTensors inputs{{"x", Tensor::from<float>({1, 2, 1, 1}, {1, 1})}};
  const Gradients g = gradient(model, {.inputs = inputs, .of = {scalar_of("scores", {1})}});
  EXPECT_EQ(g.gradients.at("x").to_doubles(), (std::vector<double>{3, -1}));
  EXPECT_THROW((void)gradient(model, {.inputs = inputs, .of = {scalar_of("scores", {3})}}), Error);
}

TEST(Target, TheDefaultIsTheInputOfAnOldSoftmax) {
  const Model model = pooled_classifier();
  const NamedTensors inputs{{"x", Tensor::from<float>({1, 2, 1, 1}, {1, 1})}};
  const Gradients g = gradient(model, {.inputs = inputs, .of = {output(2)}});
  EXPECT_EQ(g.gradients.at("x").to_doubles(), (std::vector<double>{0, 4}));
  ASSERT_FALSE(g.report.notices.empty());
  EXPECT_NE(g.report.notices[0].find("'scores'"), std::string::npos) << g.report.notices[0];
}

}  // namespace
}  // namespace onnxray::testing
