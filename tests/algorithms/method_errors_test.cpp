// What may be asked (targets, masks, differences, log-probabilities), and what a wrong request is told.
#include <gtest/gtest.h>

#include <limits>

#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::largest_difference;
using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;

constexpr std::int64_t kExamples = 3;
const Tensor kW = wave({4, 6}, 1);

// y = x W, cube = reshape(y, [N, 2, 3]), p = softmax(y); everything is linear up to p.
const Model& linear() {
  static const Model model = [] {
    ModelBuilder m;
    m.input("x", {"N", 4}, DType::f64);
    m.output("y", {"N", 6}, DType::f64).output("cube", {"N", 2, 3}, DType::f64).output("p", {"N", 6}, DType::f64);
    m.initializer("w", kW).initializer("shape", Tensor::from<std::int64_t>({3}, {-1, 2, 3}));
    m.node("MatMul", {"x", "w"}, {"y"});
    m.node("Reshape", {"y", "shape"}, {"cube"});
    m.node("Softmax", {"y"}, {"p"});
    return testing::model_of(m);
  }();
  return model;
}

const Tensor& examples() {
  static const Tensor x = wave({kExamples, 4}, 7);
  return x;
}

// d(scalar)/dx for every example.
std::vector<double> slope(const Scalar& to) {
  return attribute(linear(), Saliency{.abs = false}, {.inputs = {{"x", examples()}}, .to = {to}})
      .attributions.at("x")
      .to_doubles();
}

// The same from weights on y's columns, per example.
std::vector<double> columns(const std::vector<std::vector<double>>& weights) {
  const auto w = kW.to_doubles();
  std::vector<double> out;
  for (std::size_t e = 0; e < kExamples; ++e) {
    for (std::size_t i = 0; i < 4; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < 6; ++j) sum += w[i * 6 + j] * weights[e % weights.size()][j];
      out.push_back(sum);
    }
  }
  return out;
}
std::vector<double> unit(std::size_t j, double value = 1) {
  std::vector<double> v(6, 0);
  v[j] = value;
  return v;
}

TEST(Targets, IndexTupleAndPerExample) {
  EXPECT_LE(largest_difference(slope(output(4)), columns({unit(4)})), 1e-15);
  EXPECT_LE(largest_difference(slope(output(-1)), columns({unit(5)})), 1e-15);
  EXPECT_LE(largest_difference(slope(scalar_of("y", {0})), columns({unit(0)})), 1e-15);
  EXPECT_LE(largest_difference(slope(scalar_of("cube", {1, 2})), columns({unit(5)})), 1e-15);
  EXPECT_LE(largest_difference(slope(output_per_example({3, 0, 5})), columns({unit(3), unit(0), unit(5)})), 1e-15);
  Scalar tuples = scalar_of("cube");
  tuples.terms[0].index = {{0, 1}, {1, 0}, {0, 0}};
  EXPECT_LE(largest_difference(slope(tuples), columns({unit(1), unit(3), unit(0)})), 1e-15);
}

TEST(Targets, MaskAndDifference) {
  Scalar mask = scalar_of("cube");
  mask.terms[0].mask = wave({2, 3}, 3);
  EXPECT_LE(largest_difference(slope(mask), columns({mask.terms[0].mask.to_doubles()})), 1e-15);
  Scalar each = scalar_of("y");
  each.terms[0].mask = wave({kExamples, 6}, 3);
  std::vector<std::vector<double>> rows;
  for (std::int64_t e = 0; e < kExamples; ++e) rows.push_back(each.terms[0].mask.rows(e, e + 1).to_doubles());
  EXPECT_LE(largest_difference(slope(each), columns(rows)), 1e-15);
  auto both = unit(1);
  both[4] = -1;
  EXPECT_LE(largest_difference(slope(output(1) - output(4)), columns({both})), 1e-15);
  EXPECT_LE(largest_difference(slope(scalar_of("y", {1}) - scalar_of("cube", {1, 1})), columns({both})), 1e-15);
}

TEST(Targets, LogProbability) {
  // d log p_k / dy = onehot(k) - p
  const auto p = evaluate(linear(), {{"x", examples()}}, {"p"}).values.at("p");
  std::vector<std::vector<double>> rows;
  for (std::int64_t e = 0; e < kExamples; ++e) {
    std::vector<double> row = unit(2);
    const auto probabilities = p.rows(e, e + 1).to_doubles();
    for (std::size_t j = 0; j < 6; ++j) row[j] -= probabilities[j];
    rows.push_back(row);
  }
  Scalar s = output(2);
  s.terms[0].log_probability = true;
  EXPECT_LE(largest_difference(slope(s), columns(rows)), 1e-14);
  const auto values =
      attribute(linear(), Saliency{}, {.inputs = {{"x", examples()}}, .to = {s, scalar_of("p", {2})}}).values;
  for (std::size_t e = 0; e < kExamples; ++e) EXPECT_NEAR(values[2 * e], std::log(values[2 * e + 1]), 1e-14);
}

TEST(Targets, TheDefaultExplainsWhatEntersASoftmax) {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("p", {"N", 6}, DType::f64);
  m.initializer("w", kW);
  m.node("MatMul", {"x", "w"}, {"logits"});
  m.node("Softmax", {"logits"}, {"p"});
  const Attribution a =
      attribute(testing::model_of(m), Saliency{.abs = false}, {.inputs = {{"x", examples()}}, .to = {output(3)}});
  EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), columns({unit(3)})), 1e-15);
  ASSERT_EQ(a.report.notices.size(), 1u);
  EXPECT_NE(a.report.notices[0].find("explaining its input 'logits'"), std::string::npos);
}

struct Wrong {
  const char* what;
  std::function<void()> run;
  std::vector<const char*> says;
  ErrorKind kind = ErrorKind::kBadInput;
};

Request good() { return {.inputs = {{"x", examples()}}, .to = {output(1)}}; }

template <class Change>
std::function<void()> changed(Change change) {
  return [change] {
    Request r = good();
    change(r);
    (void)attribute(linear(), IntegratedGradients{.n_steps = 3}, r);
  };
}

template <class Options>
std::function<void()> with(Options options) {
  return [options] { (void)attribute(linear(), options, good()); };
}

TEST(Errors, NameThePlaceWhatWasGotAndWhatIsExpected) {
  const Tensor nan = [] {
    Tensor t = wave({kExamples, 4}, 7);
    t.mutable_data<double>()[5] = std::numeric_limits<double>::quiet_NaN();
    return t;
  }();
  const auto baseline = [](const std::string& name, Tensor t) {
    IntegratedGradients ig{.n_steps = 3};
    ig.baselines.kind = Baselines::Kind::kTensors;
    ig.baselines.tensors[name] = std::move(t);
    return ig;
  };
  std::vector<Wrong> cases = {
      {"unknown layer", changed([](Request& r) { r.from = {"conv9"}; }), {"from 'conv9'", "no value of that name"}},
      {"unknown value to explain",
       changed([](Request& r) { r.to = {scalar_of("conv9", {0})}; }),
       {"to 'conv9'", "no value of that name"}},
      {"integer layer", changed([](Request& r) { r.from = {"shape"}; }), {"'shape'"}},
      {"a layer behind what is explained", changed([](Request& r) { r.from = {"p"}; }), {"'y' does not depend on 'p'"}},
      {"mask of a wrong shape",
       changed([](Request& r) {
         r.to = {scalar_of("cube")};
         r.to[0].terms[0].mask = Tensor::zeros(DType::f32, {3, 2});
       }),
       {"mask for 'cube'", "[3, 2]", "[2, 3]"}},
      {"index out of range",
       changed([](Request& r) { r.to = {output(6)}; }),
       {"index [6]", "'y'", "out of range", "[6]"}},
      {"negative index out of range", changed([](Request& r) { r.to = {output(-7)}; }), {"index [-7]", "out of range"}},
      {"index of a wrong rank",
       changed([](Request& r) { r.to = {scalar_of("cube", {1})}; }),
       {"index [1]", "'cube'", "number of dimensions", "[2, 3]"}},
      {"no index", changed([](Request& r) { r.to = {scalar_of("y")}; }), {"'y' has 6 elements per row", "y:0"}},
      {"too few targets",
       changed([](Request& r) {
         r.to = {output_per_example({1, 2})};
       }),
       {"2 targets for 3 examples"}},
      {"NaN pixel", changed([&](Request& r) { r.inputs["x"] = nan; }), {"input 'x'", "NaN"}, ErrorKind::kNonFinite},
      {"wrong shape",
       changed([](Request& r) {
         r.inputs["x"] = wave({3, 5}, 1);
       }),
       {"input 'x' has shape [3, 5]", "expected [N, 4]"}},
      {"wrong rank",
       changed([](Request& r) { r.inputs["x"] = wave({4}, 1); }),
       {"input 'x' has shape [4]", "dimensions"}},
      {"no rows",
       changed([](Request& r) {
         r.inputs["x"] = Tensor::zeros(DType::f64, {0, 4});
       }),
       {"input 'x'", "[0, 4]"}},
      {"wrong dtype",
       changed([](Request& r) {
         r.inputs["x"] = Tensor::zeros(DType::i64, {3, 4});
       }),
       {"input 'x' is int64", "expected float64"}},
      {"wrong name", changed([](Request& r) { r.inputs["image"] = r.inputs["x"]; }), {"no input 'image'"}},
      {"missing input", changed([](Request& r) { r.inputs.clear(); }), {"input 'x'", "was not given"}},
      {"no steps", with(IntegratedGradients{.n_steps = 0}), {"n_steps is 0"}},
      {"unknown quadrature", with(IntegratedGradients{.method = "simpson"}), {"method is 'simpson'", "gausslegendre"}},
      {"baseline of a wrong shape",
       with(baseline("x", Tensor::zeros(DType::f64, {2, 4}))),
       {"baseline for 'x'", "[2, 4]", "[3, 4]"}},
      {"baseline of a wrong name",
       with(baseline("image", Tensor::zeros(DType::f64, {1, 4}))),
       {"baseline for 'image'"}},
      {"NaN baseline", with(baseline("x", nan)), {"baseline for 'x'", "NaN"}},
      {"no window", with(Occlusion{}), {"0 window shapes for 1 value"}},
      {"window larger than the image",
       with(Occlusion{.sliding_window_shapes = {{5}}}),
       {"window for 'x' is 5", "axis 0", "1 to 4"}},
      {"window of a wrong rank", with(Occlusion{.sliding_window_shapes = {{1, 2}}}), {"window for 'x'", "[1, 2]"}},
      {"empty window", with(Occlusion{.sliding_window_shapes = {{0}}}), {"sliding_window_shapes is 0"}},
      {"stride larger than the window",
       with(Occlusion{.sliding_window_shapes = {{2}}, .strides = {{3}}}),
       {"stride for 'x' is 3", "1 to 2"}},
      {"stride of zero", with(Occlusion{.sliding_window_shapes = {{2}}, .strides = {{0}}}), {"strides is 0"}},
      {"too many strides",
       with(Occlusion{.sliding_window_shapes = {{2}}, .strides = {{1}, {1}}}),
       {"2 strides for 1 value"}},
      {"no samples", with(GradientShap{.n_samples = 0}), {"n_samples is 0"}},
      {"blur as a sample of baselines",
       with(ExpectedGradients{.baselines = {.kind = Baselines::Kind::kBlur}}),
       {"drawn from a sample", "blur"}},
      {"a sample of a wrong shape",
       with(ExpectedGradients{.baselines = baseline("x", Tensor::zeros(DType::f64, {7, 3})).baselines}),
       {"baselines for 'x'", "[7, 3]", "any number of rows of shape [4]"}},
      {"too many deviations", with(GradientShap{.stdevs = {0.1, 0.2}}), {"2 stdevs for 1 value"}},
      {"negative deviation", with(GradientShap{.stdevs = {-0.1}}), {"stdevs is -0.1"}},
      {"too many deviations of a tunnel",
       with(NoiseTunnel{.nt_type = "vargrad", .stdevs = {0.1, 0.2}}),
       {"2 stdevs for 1 input"}},
      {"unknown kind of tunnel", with(NoiseTunnel{.nt_type = "mean"}), {"nt_type is 'mean'", "smoothgrad_sq"}},
      {"unknown method inside", [] { (void)NoiseTunnel{.inner = InnerMethod("magic")}; }, {"unknown method 'magic'"}},
      {"a tunnel in a tunnel", [] { (void)NoiseTunnel{.inner = InnerMethod("noise-tunnel")}; }, {"cannot wrap itself"}},
      {"bad option of the method inside",
       with(NoiseTunnel{.inner = InnerMethod(IntegratedGradients{.n_steps = 0})}),
       {"n_steps is 0"}},
      {"conductance of what is not between",
       [] {
         Request r = good();
         r.to = {scalar_of("cube", {0, 0})};
         r.from = {"p"};
         (void)attribute(linear(), Conductance{}, r);
       },
       {"'cube' does not depend on 'p'"}},
      {"a neuron that is no value", with(Conductance{.through = "conv9:0"}), {"'conv9:0' names no value"}},
      {"a neuron without an index", with(Conductance{.through = "y"}), {"neuron 'y'", "6 elements", "y:0"}},
      {"differences without intervals",
       with(Conductance{.increments = "difference"}),
       {"riemann_left or riemann_right", "not gausslegendre"}},
      {"differences through a neuron",
       with(Conductance{.method = "riemann_left", .increments = "difference", .through = "y:0"}),
       {"sums over a layer"}},
      {"a neuron and a layer",
       [] {
         Request r = good();
         r.from = {"cube"};
         (void)attribute(linear(), Conductance{.through = "y:0"}, r);
       },
       {"attributes to the model's inputs"}},
      {"another thing varies",
       changed([](Request& r) {
         r.from = {"y"};
         r.vary = {"x"};
       }),
       {"varies what it attributes to"}},
      {"blurring a vector", with(BlurIntegratedGradients{}), {"needs images", "'x'", "[4]"}},
      {"a delta of zero", with(AdaptiveIntegratedGradients{.max_delta = 0}), {"max_delta is 0"}},
      {"a fraction above one", with(GuidedIntegratedGradients{.fraction = 1.5}), {"fraction is 1.5"}},
  };
  const auto mask = [](Tensor ids) {
    FeatureMask m{.kind = FeatureMask::Kind::kTensors};
    m.tensors["x"] = std::move(ids);
    return m;
  };
  const std::vector<Wrong> of_perturbations = {
      {"no samples", with(Lime{.n_samples = 0}), {"n_samples is 0"}},
      {"no orders", with(ShapleyValueSampling{.n_samples = 0}), {"n_samples is 0"}},
      {"one coalition", with(KernelShap{.n_samples = 1}), {"n_samples is 1", "2"}},
      {"one design", with(SobolAttribution{.n_samples = 1}), {"n_samples is 1", "2"}},
      {"one mask", with(HsicAttribution{.n_samples = 1}), {"n_samples is 1", "2"}},
      {"a mask that shows everything", with(Rise{.probability = 1}), {"probability is 1"}},
      {"unknown linear model", with(Lime{.interpretable_model = "tree"}), {"interpretable_model is 'tree'", "lasso"}},
      {"feature mask of a wrong shape",
       with(FeatureAblation{.feature_mask = mask(Tensor::zeros(DType::i64, {5}))}),
       {"feature mask for 'x'", "[5]", "[4]"}},
      {"feature mask of fractions",
       with(KernelShap{.feature_mask = mask(Tensor::full(DType::f64, {4}, 0.5))}),
       {"feature mask for 'x' holds 0.5", "integer"}},
      {"an axis that is not there",
       with(Lime{.feature_mask = {.kind = FeatureMask::Kind::kAxis, .number = 1}}),
       {"axis:1", "'x'", "[4]"}},
      {"one example to permute",
       [] {
         Request one = good();
         one.inputs["x"] = one.inputs["x"].rows(0, 1);
         (void)attribute(linear(), FeaturePermutation{}, one);
       },
       {"got 1 example", "at least 2"}},
  };
  cases.insert(cases.end(), of_perturbations.begin(), of_perturbations.end());
  for (const Wrong& c : cases) {
    const auto e = thrown_by(c.run);
    EXPECT_EQ(e.kind, c.kind) << c.what << ": " << e.text;
    for (const char* part : c.says) EXPECT_NE(e.text.find(part), std::string::npos) << c.what << ": " << e.text;
    EXPECT_EQ(e.text.find('\n'), std::string::npos) << c.what << ": " << e.text;
  }
  (void)attribute(linear(), IntegratedGradients{.n_steps = 3}, good());  // and nothing is broken afterwards
}

}  // namespace
}  // namespace onnxray
