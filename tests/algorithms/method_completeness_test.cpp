// Methods whose attributions sum to a known number do so, within bounds that follow from what the method computes:
//   exact in arithmetic (Shapley values, DeepLIFT)      rounding
//   a Gauss-Legendre rule with weights w on a path      max(w) V, V the total variation of dF/dalpha along it: the
//   nodes
//                                                       separate a partition of the path into cells of lengths w
//                                                       (Chebyshev, Markov, Stieltjes), so the rule is a Riemann sum
//   a mean of n draws on a path                         five standard errors, of at most (max - min) / 2 / sqrt(n) each
//   steps placed for a requested error                  that error
//   first-order steps along a path of its own           an error that falls as 1 / n where the slope is smooth
//   relevance                                           what constants absorbed accounts for the rest but stabilisers
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "algorithms/quadrature.h"
#include "tests/algorithms/method_conformance.h"

namespace onnxray {
namespace {

using testing::exported;
using testing::kExamples;
using testing::Subject;
using testing::wave;

class Completeness : public ::testing::TestWithParam<std::string> {
 protected:
  const MethodInfo& info() const { return method(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Registry, Completeness, ::testing::ValuesIn(testing::method_names()), testing::test_name);

// How far the default options may be from completeness on the net below: rounding with Gauss-Legendre nodes, what was
// asked for with adaptive steps, a left sum of 200 steps, the mean of 20000 draws.
double completeness_tolerance(const MethodInfo& info) {
  if (info.baseline_sample) return 1e-2;
  if (info.name == "guided-integrated-gradients") return 1e-2;
  return info.name == "adaptive-integrated-gradients" ? 1e-3 : 1e-9;
}

class ManySamples final : public testing::LeaveOptions {
 public:
  using LeaveOptions::operator();
  void operator()(const OptionInfo& info, std::int64_t& field) override {
    if (std::string(info.name) == "n_samples") field = 20000;
  }
};

// sum(attributions) = F(x) - F(x') on a smooth net with many steps, and delta says so.
TEST_P(Completeness, OnASmoothNet) {
  if (info().name == "guided-grad-cam") GTEST_SKIP() << "the model has no positions";
  if (info().is_map) {
    EXPECT_FALSE(info().completeness) << "a map is no division of the scalar";
    return;
  }
  testing::ModelBuilder m;
  m.input("x", {"N", 4}, DType::f64).output("y", {"N", 3}, DType::f64);
  m.initializer("w", wave({4, 6}, 1)).initializer("v", wave({6, 3}, 2));
  m.node("MatMul", {"x", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"h"});
  m.node("MatMul", {"h", "v"}, {"z"});
  m.node("Sigmoid", {"z"}, {"y"});
  const Model model = testing::model_of(m);
  const Request request{.inputs = {{"x", wave({kExamples, 4}, 5)}}, .to = {output(2)}};
  if (info().conserves) {
    const Attribution a = info().make()->run(model, request);
    ASSERT_EQ(a.delta.size(), static_cast<std::size_t>(kExamples));
    for (std::size_t e = 0; e < kExamples; ++e) {
      const auto r = static_cast<std::int64_t>(e);
      double sum = 0;
      for (const double v : a.attributions.at("x").rows(r, r + 1).to_doubles()) sum += v;
      EXPECT_NEAR(sum, a.values[e], 1e-4 * std::abs(a.values[e]));  // no biases: only stabilisers take
      EXPECT_NEAR(a.delta[e], sum - a.values[e], 1e-14);
    }
    return;
  }
  if (info().name == "occlusion" || info().name == "blur-integrated-gradients") GTEST_SKIP() << "no rows of shape [4]";
  const auto method = info().make();
  if (!info().completeness) {
    EXPECT_TRUE(method->run(model, request).delta.empty());
    return;
  }
  ManySamples many;
  if (info().baseline_sample) method->visit_options(many);
  const Attribution a = method->run(model, request);
  ASSERT_EQ(a.delta.size(), static_cast<std::size_t>(kExamples));
  for (std::size_t e = 0; e < kExamples; ++e) {
    double sum = 0;
    for (const double v :
         a.attributions.at("x").rows(static_cast<std::int64_t>(e), static_cast<std::int64_t>(e) + 1).to_doubles())
      sum += v;
    EXPECT_NEAR(sum, a.values[e] - a.baseline_values[e], completeness_tolerance(info()));
    EXPECT_NEAR(a.delta[e], sum - (a.values[e] - a.baseline_values[e]), info().stochastic ? 1e-12 : 1e-14);
    EXPECT_GT(std::abs(sum), 1e-3);
  }
}

constexpr double kBaseline = 0.125;

// Sums of residual branches, squeeze and excitation with hard swish, attention with a class token, gates over time.
const std::vector<Subject>& nets() {
  static const std::vector<Subject> all = [] {
    std::vector<Subject> list;
    for (const char* name :
         {"resnet-opset17-double", "mobilenet_v3-opset17-double", "own_vit-opset17-double", "lstm-opset17-double"}) {
      list.push_back(exported(name));
    }
    return list;
  }();
  return all;
}

// dF/dalpha on the straight path from the baseline to an example, at evenly spaced points.
struct Slope {
  double variation = 0, range = 0;
};

Slope slope_of(const Subject& s, std::int64_t example) {
  static std::map<std::pair<std::string, std::int64_t>, Slope> known;
  if (const auto it = known.find({s.name, example}); it != known.end()) return it->second;
  constexpr std::int64_t kPoints = 257;
  const std::string& name = s.from.at(0);
  const Tensor x = s.inputs.at(name).rows(example, example + 1);
  Dims dims = x.dims();
  const std::int64_t size = count_of(dims);
  dims[0] = kPoints;
  Tensor points(DType::f64, dims);
  const std::vector<double> end = x.to_doubles();
  const auto p = points.mutable_data<double>();
  for (std::int64_t k = 0; k < kPoints; ++k) {
    const double alpha = static_cast<double>(k) / (kPoints - 1);
    for (std::int64_t i = 0; i < size; ++i) {
      p[static_cast<std::size_t>(k * size + i)] = kBaseline + alpha * (end[static_cast<std::size_t>(i)] - kBaseline);
    }
  }
  const Gradients g = gradient(s.model, {.inputs = {{name, points}}, .of = {s.to}, .wrt = {name}});
  const std::vector<double> d = g.gradients.at(name).to_doubles();
  double last = 0, lowest = INFINITY, highest = -INFINITY;
  Slope slope;
  for (std::int64_t k = 0; k < kPoints; ++k) {
    double now = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      now += d[static_cast<std::size_t>(k * size + i)] * (end[static_cast<std::size_t>(i)] - kBaseline);
    }
    if (k > 0) slope.variation += std::abs(now - last);
    lowest = std::min(lowest, now);
    highest = std::max(highest, now);
    last = now;
  }
  slope.range = highest - lowest;
  return known[{s.name, example}] = slope;
}

constexpr std::int64_t kSteps = 80, kFirstOrderSteps = 40, kSamples = 400;
constexpr double kMaxDelta = 1e-2;  // of adaptive steps

class Set final : public testing::LeaveOptions {
 public:
  explicit Set(std::int64_t steps) : steps_(steps) {}
  using LeaveOptions::operator();
  void operator()(const OptionInfo& info, std::int64_t& field) override {
    if (std::string(info.name) == "n_steps") field = steps_;
    if (std::string(info.name) == "n_samples") field = kSamples;
  }
  void operator()(const OptionInfo& info, double& field) override {
    if (std::string(info.name) == "max_sigma") field = 2;
    if (std::string(info.name) == "max_delta") field = kMaxDelta;
  }
  void operator()(const OptionInfo&, Baselines& field) override { field.constant = kBaseline; }
  void operator()(const OptionInfo&, FeatureMask& field) override { field = grid_mask(2); }

 private:
  std::int64_t steps_;
};

Attribution run(const MethodInfo& info, const Subject& s, std::int64_t steps) {
  const auto method = info.make();
  Set options(steps);
  method->visit_options(options);
  check_options(*method);
  return method->run(s.model, {.inputs = s.inputs, .to = {s.to}, .from = s.from});
}

double sum_of(const Attribution& a, std::int64_t example) {
  double sum = 0;
  for (const auto& [name, t] : a.attributions) {
    for (const double v : t.rows(example, example + 1).to_doubles()) sum += v;
  }
  return sum;
}

// Every element has its feature's score, so each feature counts once: the quarters of a picture by their corners.
double sum_of_quarters(const Attribution& a, std::int64_t example) {
  const Tensor t = a.attributions.begin()->second.rows(example, example + 1);
  const std::vector<double> v = t.to_doubles();
  const auto width = static_cast<std::size_t>(t.dims()[t.rank() - 1]);
  const auto last = static_cast<std::size_t>(t.dims()[t.rank() - 2] - 1) * width;
  return v[0] + v[width - 1] + v[last] + v[last + width - 1];
}

TEST_P(Completeness, OnNetsWithSumsGatesAttentionAndTime) {
  if (!info().completeness) GTEST_SKIP() << "claims none, or is relevance";
  const std::string& name = info().name;
  const std::set<std::string> gauss{"integrated-gradients", "conductance"},
      draws{"gradient-shap", "expected-gradients"};
  const std::set<std::string> first_order{"guided-integrated-gradients", "blur-integrated-gradients"};
  const std::set<std::string> games{"shapley-value-sampling", "shapley-values", "kernel-shap"};
  const Quadrature q = quadrature("gausslegendre", kSteps);
  const double widest = *std::max_element(q.weights.begin(), q.weights.end());
  for (const Subject& s : nets()) {
    if (name == "blur-integrated-gradients" && s.name.starts_with("lstm")) continue;  // no image
    SCOPED_TRACE(s.name);
    const Attribution a = run(info(), s, first_order.contains(name) ? kFirstOrderSteps : kSteps);
    ASSERT_EQ(a.delta.size(), static_cast<std::size_t>(kExamples));
    double coarse = 0, fine = 0;
    const Attribution finer = first_order.contains(name) ? run(info(), s, 8 * kFirstOrderSteps) : Attribution();
    for (std::int64_t e = 0; e < kExamples; ++e) {
      const auto r = static_cast<std::size_t>(e);
      const double rise = a.values[r] - a.baseline_values[r];
      const double error = (games.contains(name) ? sum_of_quarters(a, e) : sum_of(a, e)) - rise;
      EXPECT_NEAR(a.delta[r], error, 1e-12 * (1 + std::abs(rise)));
      if (first_order.contains(name)) {
        coarse += std::abs(error);
        fine += std::abs(finer.delta[r]);
        continue;
      }
      double bound = 1e-9 * std::abs(rise);
      const bool path = gauss.contains(name) || draws.contains(name);
      const Slope slope = path ? slope_of(s, e) : Slope();
      if (gauss.contains(name)) bound = widest * slope.variation;
      if (draws.contains(name)) bound = 5 * slope.range / 2 / std::sqrt(static_cast<double>(kSamples));
      if (name == "adaptive-integrated-gradients") bound = kMaxDelta;
      EXPECT_LE(std::abs(error), bound) << "of " << rise;
      // Any point of the path alone would be within the slope's range.
      if (path) {
        EXPECT_LE(bound, slope.range / 2) << "says little";
      }
    }
    // Behind a kink the gradient jumps: steps that straddle one cost that jump, and on a net of rectifiers the error
    // falls more slowly.
    const bool kinks = s.name.starts_with("resnet");
    EXPECT_LE(fine, std::max(kinks ? coarse : coarse / 4, 1e-9)) << "eight times the steps, " << coarse << " before";
  }
}

}  // namespace
}  // namespace onnxray
