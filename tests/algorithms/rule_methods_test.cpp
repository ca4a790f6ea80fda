// Methods that override gradients by rules, on exported models: DeepLIFT is complete, relevance is conserved, textbook
// values come out of files, options that mean nothing are refused.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "app/io/npy.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::in_source;
using testing::largest;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::thrown_by;
using testing::wave;
using Numbers = std::vector<double>;

struct Export {
  Model model;
  Request request;
};

// A folder of tests/golden/exports, one logit against another, attributed to its float input or to `from`.
Export exported(const std::string& name, const std::string& from = "") {
  const auto folder = in_source("tests/golden/exports/" + name);
  std::ifstream file(folder / "case.json");
  const auto j = nlohmann::json::parse(file);
  Export e{load(folder / "model.onnx"), {}};
  for (const auto& [input, files] : j.at("inputs").items()) {
    std::vector<Tensor> rows;
    for (const auto& f : files) rows.push_back(app::read_npy(folder / f.get<std::string>()));
    e.request.inputs[input] = stack_rows(rows);
  }
  e.request.to = {output(0)};
  if (!from.empty()) e.request.from = {from};
  e.request.compute.precision = Precision::kFloat64;
  return e;
}

double row_sum(const Attribution& a, std::int64_t row) {
  double s = 0;
  for (const auto& [name, t] : a.attributions) {
    for (const double v : t.rows(row, row + 1).to_doubles()) s += v;
  }
  return s;
}

constexpr const char* kExports[] = {
    "resnet-opset17-double", "mobilenet_v3-opset17-double", "vit-opset17-double",
    "swin-opset17-double",   "convnext-opset17-double",     "lstm-opset17-double",
    "bigru-opset17-double",  "densenet-opset17-double",     "bert_floats-opset17-double"};

TEST(RuleMethods, DeepLiftIsCompleteOnExports) {
  for (const char* name : kExports) {
    for (const char* rule : {"rescale", "reveal-cancel"}) {
      SCOPED_TRACE(std::string(name) + " " + rule);
      const Export e = exported(name);
      const Attribution a = attribute(e.model, DeepLift{.rule = rule, .baselines = {.constant = 0.3}}, e.request);
      ASSERT_EQ(a.delta.size(), a.values.size());
      for (std::size_t r = 0; r < a.delta.size(); ++r) {
        const double change = a.values[r] - a.baseline_values[r];
        EXPECT_GT(std::abs(change), 1e-6);
        EXPECT_LE(std::abs(a.delta[r]), 1e-5 * std::abs(change));
        EXPECT_NEAR(row_sum(a, static_cast<std::int64_t>(r)) - change, a.delta[r], 1e-12);
      }
    }
  }
}

// Token ids stay: the baseline stands in the place of the embeddings.
TEST(RuleMethods, DeepLiftFromEmbeddings) {
  const auto folder = in_source("tests/golden/exports/bert-opset17-double");
  std::ifstream file(folder / "case.json");
  const auto j = nlohmann::json::parse(file);
  const std::string embedding = j.at("grads").begin().key();
  const Export e = exported("bert-opset17-double", embedding);
  const Attribution a = attribute(e.model, DeepLift{}, e.request);
  ASSERT_EQ(a.delta.size(), a.values.size());
  for (std::size_t r = 0; r < a.delta.size(); ++r) {
    EXPECT_LE(std::abs(a.delta[r]), 1e-5 * std::abs(a.values[r] - a.baseline_values[r]));
  }
}

TEST(RuleMethods, DeepLiftFromALayerSaysWhatBypassesIt) {
  Export e = exported("resnet-opset17-double", "/stem/stem.0/Conv_output_0");
  const auto folder = in_source("tests/golden/exports/resnet-opset17-double");
  std::ifstream file(folder / "case.json");
  const auto j = nlohmann::json::parse(file);
  for (const auto& [value, files] : j.at("grads").items()) {
    if (e.request.inputs.contains(value)) continue;
    SCOPED_TRACE(value);
    e.request.from = {value};
    const Attribution a = attribute(e.model, DeepLift{}, e.request);
    ASSERT_TRUE(a.attributions.contains(value));
    if (a.delta.empty()) {
      ASSERT_FALSE(a.report.notices.empty());
      EXPECT_NE(a.report.notices.back().find("bypass '" + value + "'"), std::string::npos);
    } else {
      for (std::size_t r = 0; r < a.delta.size(); ++r)
        EXPECT_LE(std::abs(a.delta[r]), 1e-9 * std::abs(a.values[r] - a.baseline_values[r]));
    }
  }
}

TEST(RuleMethods, DeepLiftShapIsTheMeanOverItsBaselines) {
  const Export e = exported("resnet-opset17-double");
  const auto& [input, x] = *e.request.inputs.begin();
  Dims many = x.dims();
  many[0] = 4;
  Baselines set{.kind = Baselines::Kind::kTensors};
  set.tensors[input] = wave(many, 30);
  const Attribution a = attribute(e.model, DeepLiftShap{.baselines = set}, e.request);
  Numbers sum(static_cast<std::size_t>(x.size()), 0);
  for (std::int64_t k = 0; k < 4; ++k) {
    Baselines one{.kind = Baselines::Kind::kTensors};
    one.tensors[input] = set.tensors[input].rows(k, k + 1);
    const Numbers part = attribute(e.model, DeepLift{.baselines = one}, e.request).attributions.at(input).to_doubles();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i] / 4;
  }
  EXPECT_LE(largest_difference(a.attributions.at(input).to_doubles(), sum), 1e-12 * largest(sum));
  for (std::size_t r = 0; r < a.delta.size(); ++r) EXPECT_LE(std::abs(a.delta[r]), 1e-10);
  EXPECT_EQ(a.report.rows, 12);
  set.tensors[input] = wave({4, 7}, 30);
  const auto error = thrown_by([&] { (void)attribute(e.model, DeepLiftShap{.baselines = set}, e.request); });
  EXPECT_NE(error.text.find("the baselines for '" + input + "' have shape [4, 7]"), std::string::npos) << error.text;
}

TEST(RuleMethods, GuidedBackpropSaysWhereThereIsNothingToGuide) {
  const Export e = exported("vit-opset17-double");
  const Attribution a = attribute(e.model, GuidedBackprop{}, e.request);
  ASSERT_FALSE(a.report.notices.empty());
  EXPECT_NE(a.report.notices.back().find("guided-backprop is the plain gradient"), std::string::npos);
  const Attribution g = attribute(e.model, Saliency{.abs = false}, e.request);
  for (const auto& [name, t] : g.attributions) EXPECT_TRUE(a.attributions.at(name).same_bits(t));
  const Export r = exported("resnet-opset17-double");
  EXPECT_TRUE(attribute(r.model, GuidedBackprop{}, r.request).report.notices.empty());
  EXPECT_GT(relative_distance(attribute(r.model, GuidedBackprop{}, r.request).attributions.begin()->second,
                              attribute(r.model, Deconvolution{}, r.request).attributions.begin()->second),
            1e-3);
}

// multiply_by_inputs off: the multipliers, which at the baseline itself are the gradient.
TEST(RuleMethods, MultipliersAtTheBaselineAreTheGradient) {
  const Export e = exported("vit-opset17-double");
  Baselines same{.kind = Baselines::Kind::kTensors};
  same.tensors = e.request.inputs;
  const Attribution a = attribute(e.model, DeepLift{.multiply_by_inputs = false, .baselines = same}, e.request);
  const Attribution g = attribute(e.model, Saliency{.abs = false}, e.request);
  for (const auto& [name, t] : g.attributions) EXPECT_LE(relative_distance(a.attributions.at(name), t), 1e-9);
  EXPECT_TRUE(a.delta.empty());
}

}  // namespace
}  // namespace onnxray
