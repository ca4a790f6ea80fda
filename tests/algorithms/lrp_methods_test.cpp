// Layer-wise relevance propagation on exported models: what conserves relevance does, options that mean nothing are
// refused.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "app/io/npy.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::in_source;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::thrown_by;
using testing::wave;

struct Export {
  Model model;
  Request request;
};

Export exported(const std::string& name) {
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
  e.request.compute.precision = Precision::kFloat64;
  return e;
}

void expect_conserved(const Attribution& a, double bound) {
  ASSERT_EQ(a.delta.size(), a.values.size());
  for (std::size_t r = 0; r < a.delta.size(); ++r) {
    EXPECT_GT(std::abs(a.values[r]), 1e-3);
    EXPECT_LE(std::abs(a.delta[r]), bound * std::abs(a.values[r])) << a.values[r];
  }
}

// Biases left out, nothing is lost but what stabilisers take (and units that biases alone drive, which these nets do
// not have).
TEST(LrpMethods, ConserveRelevanceOnExportsWithoutBiases) {
  for (const char* composite : {"epsilon-plus", "epsilon-plus-flat"}) {
    for (const char* name : {"vgg-opset17-double", "lstm-opset17-double"}) {
      SCOPED_TRACE(std::string(name) + " " + composite);
      const Export e = exported(name);
      const Lrp options{.composite = composite, .epsilon = 1e-9, .stabilizer = 1e-9, .ignore_bias = true};
      expect_conserved(attribute(e.model, options, e.request), 1e-4);
    }
  }
}

// In a piecewise linear net the epsilon rule with biases is gradient x input (Ancona et al. 2018, proposition 1).
TEST(LrpMethods, EpsilonIsGradientTimesInputInReluNets) {
  for (const char* name : {"resnet-opset17-double", "vgg-opset17-double"}) {
    SCOPED_TRACE(name);
    const Export e = exported(name);
    const Attribution a = attribute(e.model, Lrp{.epsilon = 1e-12, .stabilizer = 1e-12}, e.request);
    const Attribution g = attribute(e.model, InputXGradient{}, e.request);
    for (const auto& [value, t] : g.attributions) EXPECT_LE(relative_distance(a.attributions.at(value), t), 1e-6);
  }
}

// x [N, 3] -> Gemm -> Relu -> Gemm: Captum's SimpleLRPModel with w00 = -2.
Model simple() {
  ModelBuilder m;
  m.input("x", {"N", 3}, DType::f64).output("y", {"N", 1}, DType::f64);
  Tensor w = Tensor::full(DType::f64, {3, 3}, 2);
  w.mutable_data<double>()[0] = -2;
  m.initializer("w", w).initializer("v", Tensor::full(DType::f64, {3, 1}, 3));
  m.node("MatMul", {"x", "w"}, {"a"});
  m.node("Relu", {"a"}, {"h"});
  m.node("MatMul", {"h", "v"}, {"y"});
  return testing::model_of(m);
}

TEST(LrpMethods, CaptumsSimpleModel) {
  const Model model = simple();
  const Request request{.inputs = {{"x", Tensor::from<double>({1, 3}, {1, 2, 3})}}, .to = {output(0)}};
  const auto of = [&](const Lrp& o) { return attribute(model, o, request).attributions.at("x").to_doubles(); };
  // The hidden values 8, 12, 12 get relevance 24, 36, 36 of 96. Captum's test values.
  const auto near = [&](const Lrp& o, const std::vector<double>& want) {
    EXPECT_LE(largest_difference(of(o), want), 1e-4) << o.rule << " " << o.rules;
  };
  near({.rule = "gamma", .gamma = 1}, {28. / 3, 104. / 3, 52});
  near({.rule = "z-plus"}, {12, 33.6, 50.4});
  near({.rules = "a=identity"}, {24, 36, 36});
  near({.epsilon = 0.5}, {5.84251, 34.1562, 51.2343});
  near({.rule = "flat"}, {32, 32, 32});
}

TEST(LrpMethods, RulesOfNamedLayers) {
  const Model model = simple();
  const Request request{.inputs = {{"x", Tensor::from<double>({2, 3}, {1, 2, 3, 0.5, -1, 2})}}, .to = {output(0)}};
  const auto of = [&](const Lrp& o) { return attribute(model, o, request).attributions.at("x"); };
  EXPECT_EQ(relative_distance(of({.rule = "flat", .rules = "y=epsilon"}), of({.rules = "a=flat"})), 0);
  EXPECT_GT(relative_distance(of({.rules = "a=flat"}), of({})), 1e-2);
  const auto text = [&](const Lrp& o) { return thrown_by([&] { (void)of(o); }).text; };
  EXPECT_NE(text({.rules = "h=flat"}).find("option rules names 'h'"), std::string::npos) << text({.rules = "h=flat"});
  EXPECT_NE(text({.rules = "nothing=flat"}).find("option rules names 'nothing'"), std::string::npos);
  EXPECT_NE(text({.rules = "a"}).find("expected VALUE=RULE"), std::string::npos);
  EXPECT_NE(text({.rules = "a=magic"}).find("the rule 'magic'"), std::string::npos);
}

TEST(LrpMethods, OptionsAreChecked) {
  const Model model = simple();
  const Request request{.inputs = {{"x", Tensor::from<double>({1, 3}, {1, 2, 3})}}, .to = {output(0)}};
  const auto text = [&](const Lrp& o) { return thrown_by([&] { (void)attribute(model, o, request); }).text; };
  EXPECT_NE(text({.rule = "alpha-beta", .alpha = 3, .beta = 1}).find("alpha - beta is 2, expected 1"),
            std::string::npos);
  EXPECT_NE(text({.composite = "epsilon-gamma-box"}).find("options low and high"), std::string::npos);
  EXPECT_NE(text({.rule = "identity"}).find("identity rule needs"), std::string::npos);
  EXPECT_NE(text({.rule = "zed"}).find("option rule is 'zed'"), std::string::npos);
}

TEST(LrpMethods, SayThatBatchNormIsFolded) {
  ModelBuilder m;
  m.input("x", {"N", 1, 4, 4}, DType::f64).output("y", {"N", 2, 2, 2}, DType::f64);
  m.initializer("w", wave({2, 1, 3, 3}, 1));
  for (const char* name : {"scale", "bias", "mean"}) m.initializer(name, wave({2}, name[0]));
  m.initializer("var", Tensor::from<double>({2}, {1.5, 0.7}));
  m.node("Conv", {"x", "w"}, {"c"});
  m.node("BatchNormalization", {"c", "scale", "bias", "mean", "var"}, {"n"});
  m.node("Relu", {"n"}, {"y"});
  const Model model = testing::model_of(m);
  Request request{.inputs = {{"x", wave({1, 1, 4, 4}, 2)}}, .to = {scalar_of("n", {0, 1, 1})}, .from = {"c"}};
  const Attribution a = attribute(model, Lrp{}, request);
  ASSERT_FALSE(a.report.notices.empty());
  EXPECT_NE(a.report.notices.back().find("relevance folds batch norm: 'c'"), std::string::npos)
      << a.report.notices.back();
  request.from = {"n"};
  const Attribution b = attribute(model, Lrp{}, request);
  EXPECT_TRUE(b.report.notices.empty());
  EXPECT_EQ(a.attributions.at("c").to_doubles(), b.attributions.at("n").to_doubles());
}

// A winner's probabilities sum to one behind every layer of a net of positive values.
TEST(LrpMethods, ExcitationBackpropHandsDownProbabilities) {
  const Export e = exported("vgg-opset17-double");
  Request request = e.request;
  for (auto& [name, t] : request.inputs) {
    for (double& v : t.mutable_data<double>()) v = std::abs(v);
  }
  const Attribution a = attribute(e.model, ExcitationBackprop{}, request);
  for (const auto& [name, t] : a.attributions) {
    for (std::int64_t r = 0; r < t.dims()[0]; ++r) {
      double sum = 0;
      for (const double v : t.rows(r, r + 1).to_doubles()) {
        EXPECT_GE(v, -1e-12);
        sum += v;
      }
      EXPECT_NEAR(sum, 1, 1e-3);
    }
  }
}

}  // namespace
}  // namespace onnxray
