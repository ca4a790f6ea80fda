// The float32 functions of vector_math.h against the C library in float64, over their whole range.
#include "kernels/vector_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace onnxray {
namespace {

using F32 = float (*)(float);
using F64 = double (*)(double);

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The largest relative error over [lo, hi]; results below the smallest normal number count as that.
double worst(F32 f, F64 exact, double lo, double hi, int steps = 400000) {
  double result = 0;
  for (int i = 0; i <= steps; ++i) {
    const auto x = static_cast<float>(lo + (hi - lo) * i / steps);
    const double want = exact(static_cast<double>(x)), got = static_cast<double>(f(x));
    const double scale = std::max(std::abs(want), 0x1p-126);
    result = std::max(result, std::abs(got - want) / scale);
  }
  return result;
}

// The same over magnitudes 2^lo .. 2^hi of both signs.
double worst_magnitudes(F32 f, F64 exact, double lo, double hi) {
  const auto at = [&](double sign) {
    double result = 0;
    for (int i = 0; i <= 100000; ++i) {
      const auto x = static_cast<float>(sign * std::exp2(lo + (hi - lo) * i / 100000));
      const double want = exact(static_cast<double>(x)), got = static_cast<double>(f(x));
      result = std::max(result, std::abs(got - want) / std::max(std::abs(want), 0x1p-126));
    }
    return result;
  };
  return std::max(at(1), at(-1));
}

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

TEST(VectorMath, Exp) {
  EXPECT_LT(worst(vmath::exp, std::exp, -87, 88.7), 1.5e-7);
  EXPECT_EQ(vmath::exp(0.0f), 1.0f);
  EXPECT_EQ(vmath::exp(kInf), kInf);
  EXPECT_EQ(vmath::exp(89.5f), kInf);
  EXPECT_EQ(vmath::exp(-kInf), 0.0f);
  EXPECT_TRUE(std::isnan(vmath::exp(kNan)));
  // Denormal results: within one unit of the last place.
  for (float x = -103; x < -87.4f; x += 0.01f) {
    EXPECT_NEAR(static_cast<double>(vmath::exp(x)), std::exp(static_cast<double>(x)), 0x1p-149);
  }
}

TEST(VectorMath, Expm1) {
  EXPECT_LT(worst(vmath::expm1, std::expm1, -30, 88.7), 2.5e-7);
  EXPECT_LT(worst_magnitudes(vmath::expm1, std::expm1, -120, 4), 2.5e-7);
  EXPECT_EQ(vmath::expm1(kInf), kInf);
  EXPECT_EQ(vmath::expm1(-kInf), -1.0f);
  EXPECT_TRUE(std::isnan(vmath::expm1(kNan)));
}

TEST(VectorMath, Tanh) {
  EXPECT_LT(worst(vmath::tanh, std::tanh, -12, 12), 3e-7);
  EXPECT_LT(worst_magnitudes(vmath::tanh, std::tanh, -120, 6), 3e-7);
  EXPECT_EQ(vmath::tanh(kInf), 1.0f);
  EXPECT_EQ(vmath::tanh(-kInf), -1.0f);
  EXPECT_TRUE(std::isnan(vmath::tanh(kNan)));
}

TEST(VectorMath, Sigmoid) {
  EXPECT_LT(worst(vmath::sigmoid, sigmoid, -87, 100), 3e-7);
  EXPECT_EQ(vmath::sigmoid(kInf), 1.0f);
  EXPECT_EQ(vmath::sigmoid(-kInf), 0.0f);
  EXPECT_TRUE(std::isnan(vmath::sigmoid(kNan)));
}

TEST(VectorMath, Erf) {
  EXPECT_LT(worst(vmath::erf, std::erf, -6, 6), 3e-7);
  EXPECT_LT(worst_magnitudes(vmath::erf, std::erf, -120, 4), 3e-7);
  EXPECT_EQ(vmath::erf(kInf), 1.0f);
  EXPECT_EQ(vmath::erf(-kInf), -1.0f);
  EXPECT_TRUE(std::isnan(vmath::erf(kNan)));
}

TEST(VectorMath, Log) {
  const auto exact = [](double x) { return std::log(x); };
  EXPECT_LT(worst(vmath::log, exact, 0.25, 4), 2e-7);
  for (double e = -149; e < 127.9; e += 0.003) {
    const auto x = static_cast<float>(std::exp2(e));
    const double want = std::log(static_cast<double>(x));
    ASSERT_NEAR(static_cast<double>(vmath::log(x)), want, 2e-7 * std::abs(want)) << x;
  }
  EXPECT_EQ(vmath::log(0.0f), -kInf);
  EXPECT_EQ(vmath::log(kInf), kInf);
  EXPECT_TRUE(std::isnan(vmath::log(-1.0f)));
  EXPECT_TRUE(std::isnan(vmath::log(-kInf)));
  EXPECT_TRUE(std::isnan(vmath::log(kNan)));
  EXPECT_LT(worst(
                vmath::log1p_unit, [](double x) { return std::log1p(x); }, 0, 1),
            2e-7);
}

TEST(VectorMath, Normal) {
  const auto cdf = [](float x) { return vmath::normal(x).cdf; };
  const auto pdf = [](float x) { return vmath::normal(x).pdf; };
  const auto exact_cdf = [](double x) { return vmath::normal(x).cdf; };
  const auto exact_pdf = [](double x) { return vmath::normal(x).pdf; };
  EXPECT_LT(worst(cdf, exact_cdf, -2, 8), 4e-7);
  EXPECT_LT(worst(cdf, exact_cdf, -6, 8), 1e-6);
  EXPECT_LT(worst(pdf, exact_pdf, -12, 12), 3e-7);
  EXPECT_EQ(cdf(kInf), 1.0f);
  EXPECT_EQ(cdf(-kInf), 0.0f);
  EXPECT_TRUE(std::isnan(cdf(kNan)));
}

}  // namespace
}  // namespace onnxray
