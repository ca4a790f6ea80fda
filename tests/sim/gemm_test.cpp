// Matrix products against the definition in float64.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cuda/gemm.h"
#include "tests/sim/schedules.h"

namespace {

using namespace onnxray::cuda;
using sim_test::Buffer;
using sim_test::With;

struct Case {
  std::int64_t m, n, k;
  int batches;       // 1: none
  bool broadcast_b;  // one b for all batches
};

GemmShape shape_of(const Case& c, bool trans_a, bool trans_b) {
  GemmShape s;
  s.m = c.m;
  s.n = c.n;
  s.k = c.k;
  s.trans_a = trans_a;
  s.trans_b = trans_b;
  if (c.batches > 1) {  // two axes: batches x 2, b broadcast along the second or along both
    s.batch_axes = 2;
    s.batch[0] = c.batches;
    s.batch[1] = 2;
    s.a_step[0] = 2 * c.m * c.k;
    s.a_step[1] = c.m * c.k;
    s.b_step[0] = c.broadcast_b ? 0 : c.k * c.n;
  }
  return s;
}

template <class T>
struct Problem {
  GemmShape shape;
  std::vector<T> a, b, bias, sum;
  std::vector<double> plain, expected, scale;
};

template <class T>
Problem<T> problem(const Case& c, bool trans_a, bool trans_b) {
  Problem<T> p;
  p.shape = shape_of(c, trans_a, trans_b);
  std::mt19937 rng(7);
  std::normal_distribution<double> normal(0, std::is_integral_v<T> ? 4 : 1);
  const auto fill = [&](std::vector<T>& v, std::int64_t count) {
    v.resize(static_cast<std::size_t>(count));
    for (T& x : v) x = static_cast<T>(std::is_integral_v<T> ? std::abs(std::round(normal(rng))) : normal(rng));
  };
  const std::int64_t batches = c.batches > 1 ? 2 * c.batches : 1;
  fill(p.a, batches * c.m * c.k);
  fill(p.b, (c.batches > 1 && !c.broadcast_b ? c.batches : 1) * c.k * c.n);
  fill(p.bias, c.n);
  fill(p.sum, batches * c.m * c.n);
  for (std::int64_t z = 0; z < batches; ++z) {
    const std::int64_t a0 = z * c.m * c.k, b0 = c.batches > 1 && !c.broadcast_b ? z / 2 * c.k * c.n : 0;
    for (std::int64_t i = 0; i < c.m; ++i) {
      for (std::int64_t j = 0; j < c.n; ++j) {
        double sum = 0, scale = 0;
        for (std::int64_t k = 0; k < c.k; ++k) {
          const double v =
              static_cast<double>(p.a[static_cast<std::size_t>(a0 + (trans_a ? k * c.m + i : i * c.k + k))]) *
              static_cast<double>(p.b[static_cast<std::size_t>(b0 + (trans_b ? j * c.k + k : k * c.n + j))]);
          sum += v;
          scale += std::abs(v);
        }
        const double add = static_cast<double>(p.bias[static_cast<std::size_t>(j)]) +
                           static_cast<double>(p.sum[static_cast<std::size_t>((z * c.m + i) * c.n + j)]);
        p.plain.push_back(sum);
        p.expected.push_back(std::max(0.0, sum + add));
        p.scale.push_back(scale + std::abs(add) + 1e-30);
      }
    }
  }
  return p;
}

const Case kCases[] = {{64, 64, 32, 1, false}, {70, 36, 44, 1, false},   {5, 3, 7, 1, false},
                       {1, 130, 64, 1, false}, {65, 66, 33, 1, false},   {20, 24, 8, 3, true},
                       {9, 12, 36, 2, false},  {130, 72, 100, 1, false}, {6, 8, 0, 1, false}};

std::vector<float> run(const Problem<float>& p, Precision precision, int processors, bool with_epilogue) {
  const Buffer<float> a(p.a), b(p.b), bias(p.bias), y(p.sum);
  Epilogue<float> e;
  if (with_epilogue) e = {bias.get(), y.get(), nullptr, true};
  run_gemm(p.shape, precision, a.get(), b.get(), y.get(), e, processors, nullptr);
  return y.values();
}

TEST(Gemm, EveryTranspositionAndPrecision) {
  for (const Case& c : kCases) {
    for (int trans = 0; trans < 4; ++trans) {
      const auto p = problem<float>(c, (trans & 1) != 0, (trans & 2) != 0);
      for (const auto precision : {Precision::kExact, Precision::kTf32, Precision::kBf16}) {
        for (const int processors : {1, 132}) {  // one processor: the wide tile wherever it fits
          SCOPED_TRACE(::testing::Message() << c.m << "x" << c.n << "x" << c.k << " trans " << trans << " precision "
                                            << static_cast<int>(precision) << " processors " << processors);
          const double allowed =
              6e-8 * (2 + std::sqrt(static_cast<double>(c.k))) + (precision == Precision::kExact  ? 3e-7
                                                                  : precision == Precision::kTf32 ? 1.0 / 1024
                                                                                                  : 1.0 / 128);
          for (const bool with_epilogue : {false, true}) {
            const auto y = run(p, precision, processors, with_epilogue);
            const auto& expected = with_epilogue ? p.expected : p.plain;
            for (std::size_t i = 0; i < y.size(); ++i) {
              ASSERT_LE(std::abs(y[i] - expected[i]), allowed * p.scale[i]) << "element " << i << ": " << y[i];
            }
          }
        }
      }
    }
  }
}

template <class T>
void check_general() {
  for (const Case& c : kCases) {
    for (int trans = 0; trans < 4; ++trans) {
      const auto p = problem<T>(c, (trans & 1) != 0, (trans & 2) != 0);
      const Buffer<T> a(p.a), b(p.b), bias(p.bias), y(p.sum);
      run_gemm_general<T>(p.shape, a.get(), b.get(), y.get(), {bias.get(), y.get(), nullptr, true}, nullptr);
      const auto got = y.values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        if constexpr (std::is_integral_v<T>) {
          ASSERT_EQ(got[i], static_cast<T>(static_cast<std::int64_t>(p.expected[i])));
        } else {
          ASSERT_NEAR(got[i], p.expected[i], 1e-14 * p.scale[i]);
        }
      }
    }
  }
}
TEST(Gemm, GeneralFloat64) { check_general<double>(); }
TEST(Gemm, GeneralIntegers) {
  check_general<std::int64_t>();
  check_general<std::int32_t>();
}
// int8 wraps around modulo 256, as the CPU's kernel does; without an epilogue, whose ReLU sees the wrapped number.
TEST(Gemm, GeneralBytes) {
  const auto p = problem<std::uint8_t>(kCases[1], false, true);
  const Buffer<std::uint8_t> a(p.a), b(p.b), y(p.sum);
  run_gemm_general<std::uint8_t>(p.shape, a.get(), b.get(), y.get(), {}, nullptr);
  const auto got = y.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i], static_cast<std::uint8_t>(static_cast<std::int64_t>(p.plain[i])));
  }
}

TEST(Gemm, SameBitsUnderEverySchedule) {
  for (const Case& c : {kCases[1], kCases[4], kCases[5]}) {
    for (int trans = 0; trans < 4; ++trans) {
      const auto p = problem<float>(c, (trans & 1) != 0, (trans & 2) != 0);
      for (const auto precision : {Precision::kExact, Precision::kTf32, Precision::kBf16}) {
        std::vector<float> first;
        for (const auto& options : sim_test::all_options()) {
          const With with(options);
          const auto y = run(p, precision, 1, true);
          if (first.empty()) first = y;
          ASSERT_TRUE(sim_test::same_bits(y, first)) << sim_test::name(options);
        }
      }
    }
  }
}

// Infinite and undefined numbers come out as in plain arithmetic, except that 3xTF32 makes NaN of infinity.
TEST(Gemm, NonFinite) {
  const float inf = INFINITY;
  const Buffer<float> a(std::vector<float>{inf, 1, 2, 3, NAN, 1, 2, 3, 1, 2, 3, 4}),
      b(std::vector<float>{1, 0, 0, 1, 1, 1, 1, 1});
  GemmShape s;
  s.m = 3;
  s.n = 2;
  s.k = 4;
  for (const auto precision : {Precision::kExact, Precision::kTf32, Precision::kBf16}) {
    const Buffer<float> y(6);
    run_gemm(s, precision, a.get(), b.get(), y.get(), {}, 132, nullptr);
    const auto v = y.values();
    EXPECT_TRUE(precision == Precision::kExact ? std::isnan(v[0]) : v[0] == inf);
    EXPECT_TRUE(std::isnan(v[1])) << "infinity times zero";
    EXPECT_TRUE(std::isnan(v[2]));
    EXPECT_EQ(v[4], 8);
    EXPECT_EQ(v[5], 9);
  }
}

}  // namespace
