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

// sum(attributions) + absorbed = F(x), where stabilisers are too small to take a share. Relevance of either sign may be
// much larger than F(x): what rounding and stabilisers may take is in proportion to all of it.
void expect_accounted(const Attribution& a, double bound) {
  ASSERT_EQ(a.delta.size(), a.values.size());
  ASSERT_EQ(a.absorbed.size(), a.values.size());
  const auto rows = static_cast<std::int64_t>(a.values.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    double sum = 0, all = std::abs(a.values[at]) + std::abs(a.absorbed[at]);
    for (const auto& [name, t] : a.attributions) {
      for (const double v : t.rows(r, r + 1).to_doubles()) sum += v, all += std::abs(v);
    }
    EXPECT_NEAR(a.delta[at], sum - a.values[at], 1e-12 * all);
    EXPECT_LE(std::abs(sum + a.absorbed[at] - a.values[at]), bound * all)
        << "F(x) " << a.values[at] << ", sum " << sum << ", absorbed " << a.absorbed[at] << ", in all " << all;
  }
}

// Biases take relevance; the account says how much. Class tokens, position embeddings and initial states are constants
// as well.
TEST(LrpMethods, ConstantsAccountForWhatIsLost) {
  for (const char* name : {"resnet-opset17-double", "mobilenet_v3-opset17-double", "own_vit-opset17-double",
                           "lstm-opset17-double", "vgg-opset17-double", "mixed_rows-opset17-double"}) {
    SCOPED_TRACE(name);
    Export e = exported(name);
    e.request.to = {output(0), output(1) - output(2)};
    for (const char* composite :
         {"none", "epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1", "epsilon-gamma-box"}) {
      SCOPED_TRACE(composite);
      const Lrp options{.composite = composite, .epsilon = 1e-12, .stabilizer = 1e-12, .low = {-9}, .high = {9}};
      expect_accounted(attribute(e.model, options, e.request), 1e-8);
    }
  }
}

// The bound of the paper (section 3): conservation but for biases, stabilisers, and the constant term of softmax.
TEST(LrpMethods, AttnLrpAccountsForTransformers) {
  for (const char* name : {"own_vit-opset17-double", "vit-opset17-double", "bert_floats-opset17-double",
                           "bert-opset17-double", "gpt2-opset17-double"}) {
    SCOPED_TRACE(name);
    Export e = exported(name);
    if (!is_float(e.model.inputs().at(0).dtype)) e.request.from = {"/words/Gather_output_0"};
    if (std::string(name) == "gpt2-opset17-double") e.request.to = {scalar_of("logits", {12, 3})};
    const Attribution a = attribute(e.model, AttnLrp{.epsilon = 1e-12}, e.request);
    expect_accounted(a, 1e-8);
    for (const double taken : a.absorbed) EXPECT_GT(std::abs(taken), 1e-6);
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

// A convolutional net without biases: batch norm, a residual sum, squeeze and excitation, hard swish, pooling.
TEST(LrpMethods, ConvolutionalNetsConserveRelevance) {
  ModelBuilder m;
  m.input("x", {"N", 2, 6, 6}, DType::f64).output("y", {"N", 3}, DType::f64);
  const Tensor zero = Tensor::zeros(DType::f64, {4}), variance = Tensor::from<double>({4}, {1.5, 0.7, 1, 2});
  m.initializer("w1", wave({4, 2, 3, 3}, 1)).initializer("w2", wave({4, 4, 3, 3}, 2, 0.3));
  m.initializer("s1", wave({2, 4, 1, 1}, 3))
      .initializer("s2", wave({4, 2, 1, 1}, 4))
      .initializer("wy", wave({36, 3}, 5));
  m.initializer("scale", Tensor::from<double>({4}, {1, 0.5, 2, 1}))
      .initializer("zero", zero)
      .initializer("var", variance);
  const std::vector<std::int64_t> pads{1, 1, 1, 1}, two{2, 2};
  attr(m.node("Conv", {"x", "w1"}, {"c1"}), "pads", pads);
  m.node("BatchNormalization", {"c1", "scale", "zero", "zero", "var"}, {"n1"});
  m.node("Relu", {"n1"}, {"r1"});
  attr(m.node("Conv", {"r1", "w2"}, {"c2"}), "pads", pads);
  m.node("BatchNormalization", {"c2", "scale", "zero", "zero", "var"}, {"n2"});
  m.node("Add", {"n2", "r1"}, {"sum"});
  m.node("Relu", {"sum"}, {"r2"});
  m.node("GlobalAveragePool", {"r2"}, {"squeezed"});
  m.node("Conv", {"squeezed", "s1"}, {"e1"});
  m.node("Relu", {"e1"}, {"e2"});
  m.node("Conv", {"e2", "s2"}, {"e3"});
  m.node("HardSigmoid", {"e3"}, {"gate"});
  m.node("Mul", {"r2", "gate"}, {"excited"});
  m.node("HardSwish", {"excited"}, {"h"});
  auto& pool = m.node("AveragePool", {"h"}, {"p"});
  attr(pool, "kernel_shape", two);
  attr(pool, "strides", two);
  m.node("Flatten", {"p"}, {"flat"});
  m.node("MatMul", {"flat", "wy"}, {"y"});
  const Model model = testing::model_of(m);
  const Request request{.inputs = {{"x", wave({3, 2, 6, 6}, 9)}}, .to = {output(1)}};
  for (const char* composite : {"none", "epsilon-plus", "epsilon-plus-flat"}) {
    SCOPED_TRACE(composite);
    expect_conserved(attribute(model, Lrp{.composite = composite, .epsilon = 1e-9, .stabilizer = 1e-9}, request), 1e-5);
  }
}

// A transformer without biases and class token: patches or embeddings [N, 6, 4], two heads, tanh, mean over tokens.
// Names of the softmax's input and output: "scores", "weights".
Model transformer(bool norm_first) {
  ModelBuilder m;
  m.input("x", {"N", 6, 4}, DType::f64).output("y", {"N", 3}, DType::f64);
  const auto weight = [&](const char* name, const Dims& dims, double phase) { m.initializer(name, wave(dims, phase)); };
  weight("wq", {4, 4}, 1), weight("wk", {4, 4}, 2), weight("wv", {4, 4}, 3), weight("wo", {4, 4}, 4);
  weight("w1", {4, 8}, 5), weight("w2", {8, 4}, 6), weight("wy", {4, 3}, 7);
  for (const char* name : {"s1", "s2"}) m.initializer(name, wave({4}, name[1]));
  m.initializer("heads", Tensor::from<std::int64_t>({4}, {0, 6, 2, 2}));
  m.initializer("joined", Tensor::from<std::int64_t>({3}, {0, 6, 4}));
  m.initializer("scale", Tensor::scalar<double>(0.7));
  const auto norm = [&](const std::string& in, const std::string& s, const std::string& out) {
    attr(m.node("LayerNormalization", {in, s}, {out}), "axis", -1);
  };
  const std::string in = norm_first ? "n1" : "x";
  if (norm_first) norm("x", "s1", "n1");
  for (const std::string p : {"q", "k", "v"}) {
    m.node("MatMul", {in, "w" + p}, {p + "_flat"});
    m.node("Reshape", {p + "_flat", "heads"}, {p + "_split"});
    attr(m.node("Transpose", {p + "_split"}, {p}), "perm", std::vector<std::int64_t>{0, 2, 1, 3});
  }
  attr(m.node("Transpose", {"k"}, {"kt"}), "perm", std::vector<std::int64_t>{0, 1, 3, 2});
  m.node("MatMul", {"q", "kt"}, {"qk"});
  m.node("Mul", {"qk", "scale"}, {"scores"});
  attr(m.node("Softmax", {"scores"}, {"weights"}), "axis", -1);
  m.node("MatMul", {"weights", "v"}, {"mixed"});
  attr(m.node("Transpose", {"mixed"}, {"mixed_t"}), "perm", std::vector<std::int64_t>{0, 2, 1, 3});
  m.node("Reshape", {"mixed_t", "joined"}, {"mixed_flat"});
  m.node("MatMul", {"mixed_flat", "wo"}, {"attended"});
  m.node("Add", {"x", "attended"}, {"r1"});
  norm("r1", "s2", "n2");
  m.node("MatMul", {"n2", "w1"}, {"h"});
  m.node("Tanh", {"h"}, {"g"});
  m.node("MatMul", {"g", "w2"}, {"f"});
  m.node("Add", {norm_first ? "r1" : "n2", "f"}, {"r2"});
  auto& mean = m.node("ReduceMean", {"r2"}, {"pooled"});
  attr(mean, "axes", std::vector<std::int64_t>{1});
  attr(mean, "keepdims", 0);
  m.node("MatMul", {"pooled", "wy"}, {"y"});
  return testing::model_of(m);
}

double total(const Attribution& a, const std::string& value, std::int64_t row) {
  double s = 0;
  for (const double v : a.attributions.at(value).rows(row, row + 1).to_doubles()) s += v;
  return s;
}

// AttnLRP loses relevance in softmax alone, to the constant term of its Taylor expansion (Achtibat et al. 2024,
// equation 12); with attention weights as gates nothing is lost.
TEST(LrpMethods, TransformersConserveRelevance) {
  for (const bool norm_first : {true, false}) {
    SCOPED_TRACE(norm_first ? "norm first" : "norm last");
    const Model model = transformer(norm_first);
    Request request{.inputs = {{"x", wave({3, 6, 4}, 9)}}, .to = {output(1)}};
    expect_conserved(attribute(model, Lrp{.epsilon = 1e-9, .stabilizer = 1e-9}, request), 1e-5);
    const Attribution all = attribute(model, AttnLrp{.epsilon = 1e-9}, request);
    request.from = {"scores", "weights"};
    const Attribution softmax = attribute(model, AttnLrp{.epsilon = 1e-9}, request);
    for (std::int64_t r = 0; r < 3; ++r) {
      const double lost = total(softmax, "weights", r) - total(softmax, "scores", r);
      EXPECT_GT(std::abs(lost), 1e-6);
      const double value = all.values[static_cast<std::size_t>(r)];
      EXPECT_NEAR(total(all, "x", r) + lost, value, 1e-5 * std::abs(value));
    }
  }
}

// Sets options from JSON; every key must be one.
class FromJson final : public OptionVisitor {
 public:
  explicit FromJson(const nlohmann::json& j) : j_(j) {}
  void operator()(const OptionInfo& i, bool& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { set(i, f); }
  void operator()(const OptionInfo& i, double& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::string& f) override { set(i, f); }
  void operator()(const OptionInfo&, std::vector<std::vector<std::int64_t>>&) override {}
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    if (!j_.contains(i.name)) return;
    f = {j_.at(i.name).get<double>()};
    ++used;
  }
  void operator()(const OptionInfo&, Baselines&) override {}
  void operator()(const OptionInfo&, FeatureMask&) override {}
  std::size_t used = 0;

 private:
  template <class T>
  void set(const OptionInfo& i, T& f) {
    if (!j_.contains(i.name)) return;
    f = j_.at(i.name).get<T>();
    ++used;
  }
  const nlohmann::json& j_;
};

// zennit's values (tests/golden/zennit, made by make_values.py).
TEST(LrpMethods, AgreeWithZennit) {
  const auto folder = in_source("tests/golden/zennit");
  std::ifstream file(folder / "cases.json");
  const auto cases = nlohmann::json::parse(file);
  EXPECT_GE(cases.size(), 50u);
  for (const auto& c : cases) {
    SCOPED_TRACE(c.at("model").get<std::string>() + " " + c.at("method").get<std::string>() + " " +
                 c.at("options").dump());
    const Model model = load(folder / c.at("model").get<std::string>());
    const auto method = onnxray::method(c.at("method")).make();
    FromJson options(c.at("options"));
    method->visit_options(options);
    EXPECT_EQ(options.used, c.at("options").size());
    const Tensor x = Tensor::from<double>(c.at("shape").get<Dims>(), c.at("x").get<std::vector<double>>());
    const Attribution a = method->run(
        model, {.inputs = {{"x", x}}, .to = {output(c.at("target"))}, .compute = {.precision = Precision::kFloat64}});
    const Tensor want = Tensor::from<double>(x.dims(), c.at("relevance").get<std::vector<double>>());
    EXPECT_LE(relative_distance(a.attributions.at("x"), want), 1e-6);
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
  EXPECT_NE(text({.rule = "z-box", .low = {0, 0.5}, .high = {1}}).find("low has 2 numbers, expected 1 or 3"),
            std::string::npos);
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
