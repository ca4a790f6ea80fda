// Gradient SHAP, expected gradients, the noise tunnel: against their definitions, with the documented draws made again.
#include <gtest/gtest.h>

#include <map>

#include "algorithms/random.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::largest;
using testing::largest_difference;
using testing::ModelBuilder;
using testing::relative_distance;
using testing::wave;

constexpr std::int64_t kExamples = 3;

// h = x o x, y = h w: the gradient 2 x w tells where it was taken.
Model squares() {
  ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 2}, DType::f64);
  m.initializer("w", wave({4, 2}, 3));
  m.node("Mul", {"x", "x"}, {"h"});
  m.node("MatMul", {"h", "w"}, {"y"});
  return testing::model_of(m);
}

const Tensor kX = wave({kExamples, 4}, 7), kSample = wave({5, 4}, 70);

double weight(std::size_t i, std::size_t scalar) { return wave({4, 2}, 3).to_doubles()[2 * i + scalar]; }

Request request(std::vector<std::string> from = {"x"}) {
  Request r{.inputs = {{"x", kX}}, .to = {output(1)}, .from = std::move(from)};
  r.compute.seed = 11;
  return r;
}

Baselines sample_of_five() {
  Baselines b{.kind = Baselines::Kind::kTensors};
  b.tensors["x"] = kSample;
  return b;
}

TEST(Random, DrawsOnTheHostAreTheOpsDraws) {
  const Model model = squares();
  const std::vector<RandomKey> keys = {{11, 0, 0}, {~std::uint64_t{0}, 5, 7}, {11, 4294967294, 4294967295}};
  const Tensor t = random_tensor(model, "random_uniform", keys, random_stream::kAlpha, {5});
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t j = 0; j < 5; ++j) {
      EXPECT_EQ(t.to_doubles()[static_cast<std::size_t>(5 * r + j)],
                random_uniform(keys[static_cast<std::size_t>(r)], random_stream::kAlpha, j));
    }
  }
  EXPECT_NE(derived_seed(11, 0), derived_seed(11, 1));
  EXPECT_NE(derived_seed(11, 0), derived_seed(12, 0));
}

// Mean over the draws of (x~ - b) * dF/dx at alpha x~ + (1 - alpha) b, written out.
struct Drawn {
  std::vector<double> attribution, layer, delta;
};
Drawn gradient_shap_by_hand(const Model& model, std::int64_t samples, double stdev) {
  Drawn d;
  const std::vector<double> x = kX.to_doubles(), sample = kSample.to_doubles();
  for (std::size_t e = 0; e < kExamples; ++e) {
    std::vector<double> a(4, 0), l(4, 0);
    double rise = 0;
    for (std::int64_t s = 0; s < samples; ++s) {
      const RandomKey key{11, static_cast<std::int64_t>(e), s};
      const std::vector<double> noise =
          random_tensor(model, "random_normal", std::vector<RandomKey>{key}, random_stream::kNoise, {4}).to_doubles();
      const auto b = static_cast<std::size_t>(random_index(key, random_stream::kBaseline, 5));
      const double alpha = random_uniform(key, random_stream::kAlpha);
      for (std::size_t i = 0; i < 4; ++i) {
        const double top = x[4 * e + i] + stdev * noise[i], bottom = sample[4 * b + i];
        const double point = alpha * top + (1 - alpha) * bottom, w = weight(i, 1), n = static_cast<double>(samples);
        a[i] += (top - bottom) * 2 * point * w / n;
        l[i] += (top * top - bottom * bottom) * w / n;
        rise += (top * top - bottom * bottom) * w / n;
      }
    }
    d.attribution.insert(d.attribution.end(), a.begin(), a.end());
    d.layer.insert(d.layer.end(), l.begin(), l.end());
    d.delta.push_back(a[0] + a[1] + a[2] + a[3] - rise);
  }
  return d;
}

TEST(GradientShap, IsTheMeanOverTheDocumentedDraws) {
  const Model model = squares();
  for (const double stdev : {0.0, 0.3}) {
    const Drawn want = gradient_shap_by_hand(model, 6, stdev);
    GradientShap shap{.n_samples = 6, .stdevs = {stdev}, .baselines = sample_of_five()};
    for (const std::int64_t chunk : {0, 1, 4}) {
      Request r = request();
      r.compute.chunk = chunk;
      const Attribution a = attribute(model, shap, r);
      EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), want.attribution), 1e-13) << stdev;
      EXPECT_LE(largest_difference(a.delta, want.delta), 1e-13) << stdev;
      EXPECT_GT(largest(a.delta), 1e-3);
      // At a layer behind which all is linear, each draw is complete.
      Request inner = request({"h"});
      inner.compute.chunk = chunk;
      const Attribution layer = attribute(model, shap, inner);
      EXPECT_LE(largest_difference(layer.attributions.at("h").to_doubles(), want.layer), 1e-13) << stdev;
      EXPECT_LE(largest(layer.delta), 1e-13);
    }
  }
}

TEST(GradientShap, AnExampleAloneDrawsWhatItDrewInItsBatch) {
  const Model model = squares();
  const GradientShap shap{.n_samples = 4, .stdevs = {0.1}, .baselines = sample_of_five()};
  const Attribution all = attribute(model, shap, request());
  Request one = request();
  one.inputs["x"] = kX.rows(2, 3);
  one.compute.first_example = 2;
  EXPECT_TRUE(attribute(model, shap, one).attributions.at("x").same_bits(all.attributions.at("x").rows(2, 3)));
  one.compute.first_example = 1;
  EXPECT_FALSE(attribute(model, shap, one).attributions.at("x").same_bits(all.attributions.at("x").rows(2, 3)));
  one.compute.seed = 12;
  one.compute.first_example = 2;
  EXPECT_FALSE(attribute(model, shap, one).attributions.at("x").same_bits(all.attributions.at("x").rows(2, 3)));
}

// Integrated gradients averaged over the sample, within four standard errors.
TEST(ExpectedGradients, EstimateIntegratedGradientsOverTheSample) {
  const Model model = squares();
  const std::int64_t n = 4000;
  const Attribution a = attribute(model, ExpectedGradients{.n_samples = n, .baselines = sample_of_five()}, request());
  const std::vector<double> got = a.attributions.at("x").to_doubles(), x = kX.to_doubles(), b = kSample.to_doubles();
  for (std::size_t j = 0; j < got.size(); ++j) {
    double mean = 0, square = 0;
    for (std::size_t s = 0; s < 5; ++s) {
      // (x - b) 2 (b + alpha (x - b)) w: its mean over alpha is (x^2 - b^2) w, its mean square d^2 w^2 4 E[point^2].
      const double low = b[4 * s + j % 4], d = x[j] - low, w = weight(j % 4, 1);
      mean += (x[j] * x[j] - low * low) * w / 5;
      square += d * d * w * w * 4 * (low * low + low * d + d * d / 3) / 5;
    }
    EXPECT_NEAR(got[j], mean, 4 * std::sqrt((square - mean * mean) / static_cast<double>(n))) << j;
  }
  EXPECT_GT(largest(got), 0.1);
}

// The options of a tunnel as text, in the order of its visit.
class Names final : public OptionVisitor {
 public:
  void operator()(const OptionInfo& i, bool&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, std::int64_t&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, double&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, std::string& f) override {
    list.emplace_back(i.name);
    if (list.back() == "inner") f = inner;
  }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, std::vector<double>&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, Baselines&) override { list.emplace_back(i.name); }
  void operator()(const OptionInfo& i, FeatureMask&) override { list.emplace_back(i.name); }
  std::string inner;
  std::vector<std::string> list;
};

TEST(NoiseTunnel, HasTheOptionsOfTheMethodInside) {
  NoiseTunnel tunnel;
  Names names;
  names.inner = "gradient-shap";
  tunnel.visit(names);
  EXPECT_EQ(names.list, (std::vector<std::string>{"inner", "nt_type", "nt_samples", "stdevs", "n_samples",
                                                  "inner_stdevs", "baselines", "multiply_by_inputs"}));
  EXPECT_EQ(tunnel.inner.info().name, "gradient-shap");
  EXPECT_EQ(NoiseTunnel{.inner = InnerMethod(IntegratedGradients{.n_steps = 3})}.inner.info().name,
            "integrated-gradients");
}

// The gradient of x^2 at x + n is 2 (x + n) w.
TEST(NoiseTunnel, TakesMeanMeanSquareAndVarianceOfTheDocumentedDraws) {
  const Model model = squares();
  const double stdev = 0.2;
  for (const std::int64_t examples : {kExamples, std::int64_t{1}}) {
    std::map<std::string, std::vector<double>> want;
    for (std::int64_t e = 0; e < examples; ++e) {
      for (std::size_t i = 0; i < 4; ++i) {
        double mean = 0, square = 0;
        for (std::int64_t s = 0; s < 6; ++s) {
          const std::vector<RandomKey> key{{11, e, s}};
          const double n = random_tensor(model, "random_normal", key, random_stream::kTunnel, {4}).to_doubles()[i];
          const double g = 2 * (kX.to_doubles()[static_cast<std::size_t>(4 * e) + i] + stdev * n) * weight(i, 1);
          mean += g / 6;
          square += g * g / 6;
        }
        want["smoothgrad"].push_back(mean);
        want["smoothgrad_sq"].push_back(square);
        want["vargrad"].push_back(square - mean * mean);
      }
    }
    for (const auto& [type, values] : want) {
      NoiseTunnel tunnel{.inner = InnerMethod(Saliency{.abs = false}), .nt_type = type, .nt_samples = 6};
      tunnel.stdevs = {stdev};
      Request r = request();
      r.inputs["x"] = kX.rows(0, examples);
      const Attribution a = attribute(model, tunnel, r);
      EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), values), 1e-13) << type << " " << examples;
      EXPECT_EQ(a.attributions.at("x").dims(), (Dims{examples, 4}));
      EXPECT_EQ(a.report.rows, examples * 7);
      const std::vector<double> y = evaluate(model, r.inputs, {"y"}).values.at("y").to_doubles();
      for (std::size_t e = 0; e < a.values.size(); ++e) EXPECT_NEAR(a.values[e], y[2 * e + 1], 1e-15);
      EXPECT_EQ(2 * a.values.size(), y.size());
    }
  }
}

TEST(NoiseTunnel, WrapsPathsLayersSamplersAndSeveralScalars) {
  const Model model = squares();
  IntegratedGradients ig{.n_steps = 3};
  ig.baselines.constant = 0.5;
  Request r = request({"h"});
  r.to.push_back(output(0));
  NoiseTunnel tunnel{.inner = InnerMethod(ig), .nt_samples = 4};
  tunnel.stdevs = {0.1};
  const Attribution batch = attribute(model, tunnel, r);
  EXPECT_EQ(batch.attributions.at("h").dims(), (Dims{6, 4}));
  for (std::int64_t e = 0; e < kExamples; ++e) {
    Request one = r;
    one.inputs["x"] = kX.rows(e, e + 1);
    one.compute.first_example = e;
    const Attribution a = attribute(model, tunnel, one);
    EXPECT_TRUE(a.attributions.at("h").same_bits(batch.attributions.at("h").rows(2 * e, 2 * e + 2)));
  }
  // Without noise every sample is the method itself.
  tunnel.stdevs = {0};
  const Attribution still = attribute(model, tunnel, r), plain = attribute(model, ig, r);
  EXPECT_LE(relative_distance(still.attributions.at("h"), plain.attributions.at("h")), 1e-15);
  // A sampler inside draws anew for every copy.
  NoiseTunnel twice{.inner = InnerMethod(GradientShap{.n_samples = 1, .baselines = sample_of_five()}),
                    .nt_type = "vargrad",
                    .nt_samples = 3};
  twice.stdevs = {0};
  EXPECT_GT(largest(attribute(model, twice, request()).attributions.at("x").to_doubles()), 1e-3);
}

}  // namespace
}  // namespace onnxray
