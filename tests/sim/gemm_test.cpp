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

const Case kCases[] = {{64, 64, 32, 1, false},   {70, 36, 44, 1, false},   {5, 3, 7, 1, false},
                       {1, 130, 64, 1, false},   {65, 66, 33, 1, false},   {20, 24, 8, 3, true},
                       {9, 12, 36, 2, false},    {130, 72, 100, 1, false}, {6, 8, 0, 1, false},
                       {150, 200, 72, 1, false}, {17, 13, 132, 1, false}};

std::vector<float> run(const Problem<float>& p, const GemmPlan& plan, bool with_epilogue,
                       std::uint32_t* out_bits = nullptr) {
  const Buffer<float> a(p.a), b(p.b), bias(p.bias), y(p.sum);
  const Buffer<float> packed(plan.weight_bytes / sizeof(float)), workspace(plan.workspace_bytes / sizeof(float));
  if (plan.weight_bytes > 0) pack_gemm_weights(plan, b.get(), packed.get(), nullptr);
  Epilogue<float> e;
  if (with_epilogue) e = {bias.get(), y.get(), nullptr, true};  // the sum lies where the result goes
  e.out_bits = out_bits;
  run_gemm(plan, a.get(), plan.weight_bytes > 0 ? packed.get() : b.get(), y.get(), e, workspace.get(), nullptr);
  return y.values();
}

// Relative to the sum of magnitudes: rounding of the operands, and of sums of k numbers.
double tolerance(Precision precision, std::int64_t k) {
  return 6e-8 * (2 + std::sqrt(static_cast<double>(k))) + (precision == Precision::kExact  ? 3e-7
                                                           : precision == Precision::kTf32 ? 1.0 / 1024
                                                                                           : 1.0 / 128);
}

constexpr Precision kPrecisions[] = {Precision::kExact, Precision::kTf32, Precision::kBf16};

// f(plan, text) of every tile that serves, b taken for a constant.
template <class F>
void for_each_plan(const GemmShape& s, F f) {
  for (const auto precision : kPrecisions) {
    for (const auto tile : kProductTiles) {
      if (!tile_serves(tile, s, precision, true)) continue;
      for (const int splits : {1, 2}) {
        if (splits > 1 && s.k <= 32) continue;
        SCOPED_TRACE(::testing::Message()
                     << s.m << "x" << s.n << "x" << s.k << " trans " << s.trans_a << s.trans_b << " precision "
                     << static_cast<int>(precision) << " tile " << static_cast<int>(tile) << " splits " << splits);
        f(plan_gemm_with(s, precision, tile, splits));
      }
    }
  }
}

TEST(Gemm, EveryTileTranspositionAndPrecision) {
  int packed = 0;
  for (const Case& c : kCases) {
    for (int trans = 0; trans < 4; ++trans) {
      const auto p = problem<float>(c, (trans & 1) != 0, (trans & 2) != 0);
      for_each_plan(p.shape, [&](const GemmPlan& plan) {
        packed += plan.weight_bytes > 0;
        const double allowed = tolerance(plan.precision, c.k);
        for (const bool with_epilogue : {false, true}) {
          const auto y = run(p, plan, with_epilogue);
          const auto& expected = with_epilogue ? p.expected : p.plain;
          for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_LE(std::abs(y[i] - expected[i]), allowed * p.scale[i]) << "element " << i << ": " << y[i];
          }
        }
      });
    }
  }
  EXPECT_GT(packed, 0);
}

// Masks of bits beside the same result; whole tiles and such that end early.
TEST(Gemm, MasksOfBits) {
  for (const Case& c : {Case{70, 96, 68, 1, false}, Case{130, 160, 36, 1, false}, Case{9, 32, 64, 2, true}}) {
    const auto p = problem<float>(c, false, true);
    for_each_plan(p.shape, [&](const GemmPlan& plan) {
      const auto expected = run(p, plan, true);
      std::vector<std::uint32_t> mask(expected.size() / 32, 0);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        mask[i / 32] |= static_cast<std::uint32_t>(expected[i] > 0) << i % 32;
      }
      const Buffer<std::uint32_t> bits(mask.size());
      EXPECT_TRUE(sim_test::same_bits(run(p, plan, true, bits.get()), expected));
      EXPECT_EQ(bits.values(), mask);
    });
  }
}

// The bits of a row do not depend on how many rows there are, nor on where it lies.
TEST(Gemm, RowsAreIndependent) {
  const auto p = problem<float>({140, 72, 100, 1, false}, false, false);
  for_each_plan(p.shape, [&](const GemmPlan& plan) {
    const auto all = run(p, plan, true);
    for (const std::int64_t row : {0, 77, 139}) {
      const auto line = [&](const std::vector<float>& v, std::int64_t length) {
        return std::vector<float>(v.begin() + row * length, v.begin() + (row + 1) * length);
      };
      auto one = p;
      one.shape.m = 1;
      one.a = line(p.a, p.shape.k);
      one.sum = line(p.sum, p.shape.n);
      const auto alone = run(one, plan_gemm_with(one.shape, plan.precision, plan.tile, plan.splits), true);
      EXPECT_TRUE(sim_test::same_bits(alone, line(all, p.shape.n))) << "row " << row;
    }
  });
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
      for_each_plan(p.shape, [&](const GemmPlan& plan) {
        if (plan.splits > 1 && by_warpgroups(plan.tile) && plan.tile != ProductTile::kGroup64) return;
        std::vector<float> first;
        for (const auto& options : sim_test::all_options()) {
          const With with(options);
          const auto y = run(p, plan, true);
          if (first.empty()) first = y;
          ASSERT_TRUE(sim_test::same_bits(y, first)) << sim_test::name(options);
        }
      });
    }
  }
}

// Infinite and undefined numbers come out as in plain arithmetic, except that 3xTF32 makes NaN of infinity.
TEST(Gemm, NonFinite) {
  const float inf = INFINITY;
  Problem<float> p;
  p.a = {inf, 1, 2, 3, NAN, 1, 2, 3, 1, 2, 3, 4};
  p.b = {1, 0, 0, 1, 1, 1, 1, 1};
  p.sum.assign(6, 0);
  p.shape.m = 3;
  p.shape.n = 2;
  p.shape.k = 4;
  for_each_plan(p.shape, [&](const GemmPlan& plan) {
    const auto v = run(p, plan, false);
    EXPECT_TRUE(plan.precision == Precision::kExact ? std::isnan(v[0]) : v[0] == inf);
    EXPECT_TRUE(std::isnan(v[1])) << "infinity times zero";
    EXPECT_TRUE(std::isnan(v[2]));
    EXPECT_EQ(v[4], 8);
    EXPECT_EQ(v[5], 9);
  });
}

// Tensor cores truncate as they add: slices are summed apart and added by the rounding adder (as in conv_test.cpp).
TEST(Gemm, ExactWhereTensorCoresTruncate) {
  sim_test::sim::Options options;
  options.truncate_sums = true;
  const With with(options);
  auto p = problem<float>({3, 4, 2048, 1, false}, false, true);
  for (float& v : p.a) v = std::abs(v);
  for (float& v : p.b) v = std::abs(v);
  const auto sum = [&](std::size_t row, std::size_t column) {
    double v = 0;
    for (std::size_t k = 0; k < 2048; ++k) v += static_cast<double>(p.a[row * 2048 + k]) * p.b[column * 2048 + k];
    return v;
  };
  for_each_plan(p.shape, [&](const GemmPlan& plan) {
    if (plan.precision != Precision::kExact) return;
    const auto got = run(p, plan, false);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], sum(i / 4, i % 4), 1.5e-6 * sum(i / 4, i % 4));
    }
  });
}

TEST(Gemm, PlanChoosesByShape) {
  const Gpu hopper{132, true}, ampere{108, false};
  const auto shape = [](std::int64_t m, std::int64_t n, std::int64_t k) {
    GemmShape s;
    s.m = m;
    s.n = n;
    s.k = k;
    return s;
  };
  // A linear layer of BERT over 50 rows of 384 tokens.
  const GemmShape linear = shape(50 * 384, 3072, 768);
  const GemmPlan fast = plan_gemm(linear, Precision::kTf32, hopper, true);
  EXPECT_EQ(fast.tile, ProductTile::kGroup256);
  EXPECT_EQ(fast.splits, 1);
  EXPECT_EQ(fast.weight_bytes, 4u * 3072 * 768);
  EXPECT_EQ(plan_gemm(linear, Precision::kExact, hopper, true).weight_bytes, 2u * 4 * 3072 * 768);
  // One row of a large layer: what takes time is reading the weights, by every multiprocessor.
  EXPECT_GT(plan_gemm(shape(1, 4096, 25088), Precision::kExact, hopper, true).splits, 1);
  // What warpgroups do not take.
  EXPECT_FALSE(by_warpgroups(plan_gemm(linear, Precision::kTf32, ampere, true).tile));
  EXPECT_FALSE(by_warpgroups(plan_gemm(linear, Precision::kTf32, hopper, false).tile)) << "not a constant";
  EXPECT_FALSE(by_warpgroups(plan_gemm(shape(19200, 3072, 770), Precision::kTf32, hopper, true).tile));
  EXPECT_FALSE(by_warpgroups(plan_gemm(shape(1 << 16, 1 << 15, 64), Precision::kTf32, hopper, true).tile));
  GemmShape transposed = linear;
  transposed.trans_a = true;
  EXPECT_FALSE(by_warpgroups(plan_gemm(transposed, Precision::kTf32, hopper, true).tile));
}

}  // namespace
