// Quadrature rules, the blurred baseline, and scalars as people write them.
#include "algorithms/quadrature.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "algorithms/baselines.h"
#include "algorithms/session.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::largest_difference;
using testing::thrown_by;

double integral(const Quadrature& q, const std::function<double(double)>& f) {
  double sum = 0;
  for (std::size_t i = 0; i < q.alphas.size(); ++i) sum += q.weights[i] * f(q.alphas[i]);
  return sum;
}

TEST(Quadrature, GaussLegendreHasTheKnownNodes) {
  const auto one = quadrature("gausslegendre", 1);
  EXPECT_DOUBLE_EQ(one.alphas[0], 0.5);
  EXPECT_DOUBLE_EQ(one.weights[0], 1);
  const auto two = quadrature("gausslegendre", 2);
  EXPECT_NEAR(two.alphas[0], (1 - 1 / std::sqrt(3.0)) / 2, 1e-15);
  EXPECT_NEAR(two.alphas[1], (1 + 1 / std::sqrt(3.0)) / 2, 1e-15);
  EXPECT_NEAR(two.weights[0], 0.5, 1e-15);
  const auto three = quadrature("gausslegendre", 3);
  EXPECT_NEAR(three.alphas[0], (1 - std::sqrt(0.6)) / 2, 1e-15);
  EXPECT_NEAR(three.alphas[1], 0.5, 1e-15);
  EXPECT_NEAR(three.weights[0], 5.0 / 18, 1e-14);
  EXPECT_NEAR(three.weights[1], 8.0 / 18, 1e-14);
  const double a = std::sqrt((3 - 2 * std::sqrt(1.2)) / 7), b = std::sqrt((3 + 2 * std::sqrt(1.2)) / 7);
  const auto four = quadrature("gausslegendre", 4);
  EXPECT_LE(largest_difference(four.alphas, {(1 - b) / 2, (1 - a) / 2, (1 + a) / 2, (1 + b) / 2}), 1e-15);
  const double heavy = (18 + std::sqrt(30.0)) / 72, light = (18 - std::sqrt(30.0)) / 72;
  EXPECT_LE(largest_difference(four.weights, {light, heavy, heavy, light}), 1e-14);
}

TEST(Quadrature, GaussLegendreIntegratesPolynomialsOfDegree2nMinus1) {
  for (const std::int64_t n : {1, 2, 3, 5, 8, 13, 50, 100}) {
    const auto q = quadrature("gausslegendre", n);
    for (const std::int64_t degree : {std::int64_t{0}, n - 1, n, 2 * n - 2, 2 * n - 1}) {
      // In 2 alpha - 1, so that high powers stay of a size with their integral.
      const auto d = static_cast<double>(degree);
      const double exact = degree % 2 == 1 ? 0 : 1 / (d + 1);
      EXPECT_NEAR(integral(q, [&](double t) { return std::pow(2 * t - 1, d); }), exact, 1e-14) << n << " " << degree;
    }
    // and not the next one
    if (n <= 8) {
      const double d = 2 * static_cast<double>(n);
      EXPECT_GT(std::abs(integral(q, [&](double t) { return std::pow(2 * t - 1, d); }) - 1 / (d + 1)), 1e-9) << n;
    }
  }
}

TEST(Quadrature, GaussLegendreStaysAccurateForManyNodes) {
  for (const std::int64_t n : {500, 2990}) {
    const auto q = quadrature("gausslegendre", n);
    EXPECT_TRUE(std::is_sorted(q.alphas.begin(), q.alphas.end()));
    EXPECT_GT(q.alphas.front(), 0);
    EXPECT_LT(q.alphas.back(), 1);
    EXPECT_NEAR(std::accumulate(q.weights.begin(), q.weights.end(), 0.0), 1, 1e-12);
    EXPECT_NEAR(integral(q, [](double t) { return std::exp(3 * t); }), (std::exp(3.0) - 1) / 3, 1e-11);
    EXPECT_EQ(std::set<double>(q.alphas.begin(), q.alphas.end()).size(), static_cast<std::size_t>(n));
  }
}

TEST(Quadrature, RiemannRulesSumToOne) {
  const std::int64_t n = 7;
  const auto first = [&](const char* rule) { return quadrature(rule, n).alphas.front(); };
  const auto last = [&](const char* rule) { return quadrature(rule, n).alphas.back(); };
  EXPECT_DOUBLE_EQ(first("riemann_left"), 0);
  EXPECT_DOUBLE_EQ(last("riemann_left"), 6.0 / 7);
  EXPECT_DOUBLE_EQ(first("riemann_right"), 1.0 / 7);
  EXPECT_DOUBLE_EQ(last("riemann_right"), 1);
  EXPECT_DOUBLE_EQ(first("riemann_middle"), 0.5 / 7);
  EXPECT_DOUBLE_EQ(first("riemann_trapezoid"), 0);
  EXPECT_DOUBLE_EQ(last("riemann_trapezoid"), 1);
  for (const char* rule : {"riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"}) {
    EXPECT_NEAR(integral(quadrature(rule, n), [](double) { return 1; }), 1, 1e-15) << rule;
  }
  // exact for straight lines
  EXPECT_NEAR(integral(quadrature("riemann_trapezoid", 2), [](double t) { return 3 * t + 1; }), 2.5, 1e-15);
  EXPECT_NEAR(integral(quadrature("riemann_middle", 3), [](double t) { return 3 * t + 1; }), 2.5, 1e-15);
}

TEST(Quadrature, RefusesWhatMakesNoSense) {
  EXPECT_NE(thrown_by([] { (void)quadrature("gausslegendre", 0); }).text.find("n_steps is 0"), std::string::npos);
  EXPECT_NE(thrown_by([] { (void)quadrature("riemann_left", 1); }).text.find("at least 2"), std::string::npos);
  EXPECT_NE(thrown_by([] { (void)quadrature("simpson", 4); }).text.find("unknown quadrature 'simpson'"),
            std::string::npos);
}

// The definition, in two dimensions at once: weights exp(-d^2 / (2 sigma^2)) to radius ceil(3 sigma), borders repeated.
TEST(Blur, EqualsTheTwoDimensionalSum) {
  const Tensor x = testing::wave({2, 3, 7, 10}, 4);
  for (const double given : {0.0, 0.6, 2.0}) {
    const double sigma = given > 0 ? given : 1;  // a tenth of 10
    const auto radius = static_cast<std::int64_t>(std::ceil(3 * sigma));
    double norm = 0;
    for (std::int64_t d = -radius; d <= radius; ++d)
      norm += std::exp(-static_cast<double>(d * d) / (2 * sigma * sigma));
    const auto in = x.to_doubles();
    std::vector<double> want(in.size(), 0);
    for (std::int64_t p = 0; p < 6; ++p) {
      for (std::int64_t i = 0; i < 7; ++i) {
        for (std::int64_t j = 0; j < 10; ++j) {
          for (std::int64_t a = -radius; a <= radius; ++a) {
            for (std::int64_t b = -radius; b <= radius; ++b) {
              const std::int64_t y = std::clamp<std::int64_t>(i + a, 0, 6), z = std::clamp<std::int64_t>(j + b, 0, 9);
              want[static_cast<std::size_t>((p * 7 + i) * 10 + j)] +=
                  std::exp(-static_cast<double>(a * a + b * b) / (2 * sigma * sigma)) / (norm * norm) *
                  in[static_cast<std::size_t>((p * 7 + y) * 10 + z)];
            }
          }
        }
      }
    }
    EXPECT_LE(largest_difference(gaussian_blur(x, given).to_doubles(), want), 1e-14) << given;
  }
  const Tensor flat = Tensor::full(DType::f32, {1, 4, 5}, 0.75);
  EXPECT_LE(largest_difference(gaussian_blur(flat, 0).to_doubles(), flat.to_doubles()), 1e-15);
  EXPECT_NE(thrown_by([] { (void)gaussian_blur(Tensor::zeros(DType::f32, {4}), 0); }).text.find("blur needs images"),
            std::string::npos);
}

struct ParsedTerm {
  std::string value;
  std::vector<std::int64_t> index;
  double coefficient;
};

void expect_scalar(const std::string& text, const std::vector<ParsedTerm>& want) {
  static const std::set<std::string, std::less<>> values = {
      "y", "logits", "Identity:0", "onnx::Add_69", "a-b", "a", "b", "a:1", "x-1", "-x", "conv-1:0", "p:0-q", "1"};
  SCOPED_TRACE(text);
  const Scalar s = parse_scalar(text, [](std::string_view name) { return values.contains(name); });
  EXPECT_EQ(s.text, text);
  ASSERT_EQ(s.terms.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(s.terms[i].value, want[i].value);
    EXPECT_EQ(s.terms[i].coefficient, want[i].coefficient);
    if (want[i].index.empty()) {
      EXPECT_TRUE(s.terms[i].index.empty());
    } else {
      ASSERT_EQ(s.terms[i].index.size(), 1u);
      EXPECT_EQ(s.terms[i].index[0], want[i].index);
    }
  }
}

TEST(Scalar, ReadsNamesIndicesAndDifferences) {
  expect_scalar("y", {{"y", {}, 1}});
  expect_scalar("y:281", {{"y", {281}, 1}});
  expect_scalar("y:-1", {{"y", {-1}, 1}});
  expect_scalar("y:2,7,7", {{"y", {2, 7, 7}, 1}});
  expect_scalar("y:1-logits:2", {{"y", {1}, 1}, {"logits", {2}, -1}});
  expect_scalar("y-logits", {{"y", {}, 1}, {"logits", {}, -1}});
  expect_scalar("y:1,2-y:0,3", {{"y", {1, 2}, 1}, {"y", {0, 3}, -1}});
}

TEST(Scalar, NamesMayHoldColonsAndMinusSigns) {
  expect_scalar("Identity:0", {{"Identity:0", {}, 1}});
  expect_scalar("Identity:0:5", {{"Identity:0", {5}, 1}});
  expect_scalar("onnx::Add_69", {{"onnx::Add_69", {}, 1}});
  expect_scalar("onnx::Add_69:3", {{"onnx::Add_69", {3}, 1}});
  expect_scalar("a-b", {{"a-b", {}, 1}});  // an exact name wins over a difference
  expect_scalar("a-b:4", {{"a-b", {4}, 1}});
  expect_scalar("a:1", {{"a:1", {}, 1}});
  expect_scalar("a:2", {{"a", {2}, 1}});
  expect_scalar("x-1", {{"x-1", {}, 1}});
  expect_scalar("x-1:0-x-1:2", {{"x-1", {0}, 1}, {"x-1", {2}, -1}});
  expect_scalar("-x:3--x:4", {{"-x", {3}, 1}, {"-x", {4}, -1}});
  expect_scalar("conv-1:0-Identity:0:1", {{"conv-1:0", {}, 1}, {"Identity:0", {1}, -1}});
  expect_scalar("p:0-q:1-p:0-q:2", {{"p:0-q", {1}, 1}, {"p:0-q", {2}, -1}});
  expect_scalar("y:-1-y:-2", {{"y", {-1}, 1}, {"y", {-2}, -1}});
}

TEST(Scalar, SaysWhatIsNoValue) {
  for (const char* text : {"nothing", "y:", "y:one", "y:1,", "y:1;2", ":3", "", "y-", "-y", "y:1-z:2", "y:1.5",
                           "y:99999999999999999999"}) {
    const auto e = thrown_by([&] { (void)parse_scalar(text, [](std::string_view name) { return name == "y"; }); });
    EXPECT_EQ(e.kind, ErrorKind::kBadInput) << text;
    EXPECT_NE(e.text.find("names no value of the model"), std::string::npos) << text << ": " << e.text;
  }
}

TEST(Scalar, Composes) {
  const Scalar s = output(3) - scalar_of("z", {1, 2});
  ASSERT_EQ(s.terms.size(), 2u);
  EXPECT_EQ(s.terms[0].coefficient, 1);
  EXPECT_EQ(s.terms[1].coefficient, -1);
  EXPECT_EQ((s - s).terms.size(), 4u);
  EXPECT_EQ((s - s).terms[3].coefficient, 1);
  EXPECT_EQ(output_per_example({4, 0}).terms[0].index, (std::vector<std::vector<std::int64_t>>{{4}, {0}}));
}

}  // namespace
}  // namespace onnxray
