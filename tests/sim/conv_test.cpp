// The convolution kernels against the definition in float64: both directions, every tile and precision, odd extents.
#include "tests/sim/conv_problem.h"

namespace {

using namespace sim_test;

TEST(Conv, EveryTileAndPrecision) {
  for (const Case& c : cases()) {
    for (const bool backward : {false, true}) {
      const Problem p = problem(c.shape, backward);
      for (const auto precision : {Precision::kExact, Precision::kTf32, Precision::kBf16}) {
        for (const auto tile : kProductTiles) {
          if (!tile_serves(tile, p.shape, precision)) continue;
          SCOPED_TRACE(std::string(c.name) + (backward ? " backward" : "") + " precision " +
                       std::to_string(static_cast<int>(precision)) + " tile " + std::to_string(static_cast<int>(tile)));
          const ConvPlan plan = plan_conv_with(p.shape, precision, tile, 1);
          const double allowed =
              tolerance(plan.kernel == ConvKernel::kTensorCore ? precision : Precision::kExact, depth_of(p.shape));
          expect_close(run(plan, p, false), p.plain, p.scale, allowed);
          if (plan.kernel != ConvKernel::kTensorCore && tile != ProductTile::kWide) continue;
          expect_close(run(plan, p, true), p.expected, p.scale, allowed);
        }
      }
    }
  }
}

TEST(Conv, SplitSums) {
  for (const int number : {1, 3, 9}) {
    for (const bool backward : {false, true}) {
      const Problem p = problem(cases()[static_cast<std::size_t>(number)].shape, backward);
      for (const int splits : {2, 3}) {
        SCOPED_TRACE(std::string(cases()[static_cast<std::size_t>(number)].name) + " splits " + std::to_string(splits));
        const ConvPlan plan = plan_conv_with(p.shape, Precision::kExact, ProductTile::kMedium, splits);
        EXPECT_GT(plan.workspace_bytes, 0u);
        expect_close(run(plan, p, true), p.expected, p.scale, tolerance(Precision::kExact, depth_of(p.shape)));
      }
    }
  }
}

TEST(Conv, GeneralKernels) {
  for (const Case& c : cases()) {
    for (const bool backward : {false, true}) {
      for (const bool channels_last : {false, true}) {
        SCOPED_TRACE(std::string(c.name) + (backward ? " backward" : "") + (channels_last ? " NHWC" : " NCHW"));
        ConvShape s = c.shape;
        s.channels_last = channels_last;
        const Problem p = problem(s, backward);
        const auto wide = [](const std::vector<float>& v) { return std::vector<double>(v.begin(), v.end()); };
        const Buffer<double> in(wide(p.in)), w(wide(p.w)), bias(wide(p.bias)), mask(wide(p.mask)), out(wide(p.sum));
        run_conv_general<double>(p.shape, in.get(), w.get(), out.get(), {bias.get(), out.get(), mask.get(), true},
                                 nullptr);
        const auto got = out.values();
        for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], p.expected[i], 1e-14 * (1 + p.scale[i]));
        if (channels_last) continue;  // float32 in the model's own layout
        const ConvPlan plan = plan_conv(p.shape, Precision::kExact, {132, false});
        EXPECT_EQ(plan.kernel, ConvKernel::kGeneral);
        expect_close(run(plan, p, true), p.expected, p.scale, tolerance(Precision::kExact, depth_of(s)));
      }
    }
  }
}

TEST(Conv, WeightGradient) {
  for (const Case& c : cases()) {
    for (const bool channels_last : {false, true}) {
      SCOPED_TRACE(c.name);
      ConvShape s = c.shape;
      s.channels_last = channels_last;
      const auto x = random_values<double>(elements(s, true), 1), dy = random_values<double>(elements(s, false), 2);
      std::vector<double> expected(weights(s), 0.0);
      for_each_product(s, [&](std::size_t ix, std::size_t iw, std::size_t iy) { expected[iw] += x[ix] * dy[iy]; });
      const Buffer<double> bx(x), bdy(dy), dw(expected.size());
      run_conv_weight_grad<double>(s, bx.get(), bdy.get(), dw.get(), nullptr);
      const auto got = dw.values();
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], 1e-12 * (1 + std::abs(expected[i])));
    }
  }
}

TEST(Conv, SameBitsUnderEverySchedule) {
  struct Way {
    std::size_t number;
    Precision precision;
    ProductTile tile;
    int splits;
  };
  for (const Way& way :
       {Way{2, Precision::kExact, ProductTile::kMedium, 1}, Way{2, Precision::kTf32, ProductTile::kWide, 2},
        Way{3, Precision::kBf16, ProductTile::kNarrow, 1}, Way{10, Precision::kTf32, ProductTile::kNarrow, 1},
        Way{2, Precision::kExact, ProductTile::kGroup64, 1}, Way{2, Precision::kTf32, ProductTile::kGroup128, 2},
        Way{3, Precision::kTf32, ProductTile::kGroup256, 1}, Way{6, Precision::kExact, ProductTile::kGroup128, 1},
        Way{2, Precision::kBf16, ProductTile::kGroup256, 1}, Way{3, Precision::kBf16, ProductTile::kGroup64, 2},
        Way{13, Precision::kBf16, ProductTile::kMedium, 1}, Way{15, Precision::kExact, ProductTile::kMedium, 1}}) {
    for (const bool backward : {false, true}) {
      const Problem p = problem(cases()[way.number].shape, backward);
      const ConvPlan plan = plan_conv_with(p.shape, way.precision, way.tile, way.splits);
      std::vector<float> first;
      for (const auto& options : sim_test::all_options()) {
        SCOPED_TRACE(std::string(cases()[way.number].name) + ", " + sim_test::name(options));
        const With with(options);
        const auto got = run(plan, p, true);
        if (first.empty()) first = got;
        ASSERT_TRUE(sim_test::same_bits(got, first));
      }
    }
  }
}

// A mask of bits, one bit per element in the order of memory.
std::vector<std::uint32_t> mask_of(const std::vector<float>& v) {
  std::vector<std::uint32_t> words(v.size() / 32, 0);
  for (std::size_t i = 0; i < v.size(); ++i) words[i / 32] |= static_cast<std::uint32_t>(v[i] > 0) << i % 32;
  return words;
}

// With masks of bits instead of floats: the same result to the bit, and the result's own mask.
void expect_mask_bits(const ConvPlan& plan, const Problem& p, const std::vector<float>& expected) {
  const Buffer<float> in(p.in), w(p.w), bias(p.bias), out(p.sum);
  const Buffer<std::uint32_t> mask(mask_of(p.mask)), bits(p.mask.size() / 32);
  const Buffer<float> packed(plan.weight_bytes / sizeof(float)), workspace(plan.workspace_bytes / sizeof(float));
  pack_conv_weights(plan, w.get(), packed.get(), nullptr);
  Epilogue<float> e{bias.get(), out.get(), nullptr, true};
  e.mask_bits = mask.get();
  e.out_bits = bits.get();
  run_conv(plan, in.get(), plan.weight_bytes > 0 ? packed.get() : w.get(), out.get(), e, workspace.get(), nullptr);
  EXPECT_TRUE(sim_test::same_bits(out.values(), expected));
  EXPECT_EQ(bits.values(), mask_of(expected));
}

// 32 and more channels: whole tiles, tiles that end early, several images at a time, words that groups share.
const Case kMaskCases[] = {
    {"1x1", shape(2, 1, 32, 96, axis(7, 1), axis(5, 1))},
    {"3x3 stride 2", shape(2, 1, 64, 32, axis(9, 3, 2, 1, 1), axis(8, 3, 2, 1, 1))},
    {"1x1 stride 2", shape(1, 1, 160, 64, axis(9, 1, 2), axis(8, 1, 2))},
    {"groups", shape(1, 2, 32, 64, axis(6, 3, 1, 1, 1), axis(7, 3, 1, 1, 1))},
    {"groups that share words", shape(2, 8, 4, 4, axis(6, 3, 1, 1, 1), axis(7, 3, 1, 1, 1))},
    {"depthwise", shape(1, 32, 1, 1, axis(9, 3, 2, 1, 1), axis(10, 3, 1, 1, 1))},
};

TEST(Conv, MasksOfBits) {
  for (const Case& c : kMaskCases) {
    for (const bool backward : {false, true}) {
      const Problem p = problem(c.shape, backward);
      for (const auto precision : {Precision::kExact, Precision::kTf32, Precision::kBf16}) {
        for (const auto tile : kProductTiles) {
          if (!tile_serves(tile, p.shape, precision)) continue;
          for (const int splits : {1, 2}) {
            if (splits > 1 && tile != ProductTile::kMedium) continue;  // the kernel that adds writes the bits
            SCOPED_TRACE(::testing::Message()
                         << c.name << (backward ? " backward" : "") << " precision " << static_cast<int>(precision)
                         << " tile " << static_cast<int>(tile) << " splits " << splits);
            ConvPlan plan = plan_conv_with(p.shape, precision, tile, splits);
            const auto expected = run(plan, p, true);
            expect_mask_bits(plan, p, expected);
            if (tile != ProductTile::kMedium || splits > 1) continue;
            plan.images_per_launch = 1;
            expect_mask_bits(plan, p, expected);
          }
        }
      }
      ConvPlan general = plan_conv_with(p.shape, Precision::kExact, ProductTile::kMedium, 1);
      general.kernel = ConvKernel::kGeneral;
      general.weight_bytes = 0;
      expect_mask_bits(general, p, run(general, p, true));
    }
  }
}

TEST(Conv, MasksOfBitsHaveSameBitsUnderEverySchedule) {
  struct Way {
    std::size_t number;
    ProductTile tile;
    int splits;
  };
  for (const Way& way :
       {Way{0, ProductTile::kMedium, 1}, Way{1, ProductTile::kNarrow, 1}, Way{2, ProductTile::kWide, 1},
        Way{3, ProductTile::kMedium, 2}, Way{4, ProductTile::kMedium, 1}, Way{1, ProductTile::kGroup64, 1},
        Way{2, ProductTile::kGroup128, 2}}) {
    const Problem p = problem(kMaskCases[way.number].shape, true);
    const ConvPlan plan = plan_conv_with(p.shape, Precision::kTf32, way.tile, way.splits);
    const auto expected = run(plan, p, true);
    for (const auto& options : sim_test::all_options()) {
      SCOPED_TRACE(std::string(kMaskCases[way.number].name) + ", " + sim_test::name(options));
      const With with(options);
      expect_mask_bits(plan, p, expected);
    }
  }
}

// Tensor cores truncate as they add. Over a long sum of positive numbers that would cost plain 3xTF32 two more digits
// than float32 has; with slices summed apart and added by the rounding adder it does not.
TEST(Conv, ExactWhereTensorCoresTruncate) {
  sim_test::sim::Options options;
  options.truncate_sums = true;
  const With with(options);
  ConvShape s = shape(1, 1, 512, 16, axis(3, 3, 1, 1, 1), axis(3, 3, 1, 1, 1));
  Problem p = problem(s, false);
  for (float& v : p.in) v = std::abs(v);
  for (float& v : p.w) v = std::abs(v);
  p.plain.assign(p.plain.size(), 0);
  for_each_product(
      s, [&](std::size_t x, std::size_t w, std::size_t y) { p.plain[y] += static_cast<double>(p.in[x]) * p.w[w]; });
  for (const auto tile : {ProductTile::kMedium, ProductTile::kGroup128, ProductTile::kGroup64}) {
    const auto got = run(plan_conv_with(s, Precision::kExact, tile, 1), p, false);
    const auto fast = run(plan_conv_with(s, Precision::kTf32, tile, 1), p, false);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(std::abs(got[i] - p.plain[i]), 1.5e-6 * p.plain[i]);
      EXPECT_LE(std::abs(fast[i] - p.plain[i]), 1e-3 * p.plain[i]);
    }
  }
}

TEST(Conv, FragmentsMeetNoBankTwice) {
  const Problem p = problem(cases()[1].shape, false);
  sim_test::sim::reset_counters();
  for (const auto tile : kProductTiles) {
    run(plan_conv_with(p.shape, Precision::kTf32, tile, 1), p, false);
  }
  EXPECT_GT(sim_test::sim::counters().collectives, 0u);
  EXPECT_EQ(sim_test::sim::counters().bank_conflicts, 0u);
}

// More residue classes and groups than a grid has planes.
TEST(Conv, TooManyClassesForAGrid) {
  ConvShape s = shape(1, 4, 1, 2, axis(160, 160, 160), axis(160, 160, 160));
  s.backward = true;
  EXPECT_EQ(plan_conv(s, Precision::kExact, {132, false}).kernel, ConvKernel::kGeneral);
}

// Convolutions compute what the plan says, no more: multiply-adds are those of whole tiles.
TEST(Conv, MultiplyAddsOfAStridedBackwardPass) {
  ConvShape s = shape(1, 1, 64, 64, axis(16, 3, 2, 1, 1), axis(16, 3, 2, 1, 1));
  s.backward = true;
  const ConvPlan plan = plan_conv_with(s, Precision::kTf32, ProductTile::kMedium, 1);
  const Problem p = problem(s, true);
  sim_test::sim::reset_counters();
  run(plan, p, false);
  // Four classes of 64 positions with 1, 2, 2 and 4 taps of 64 channels: the forward pass's own number.
  EXPECT_EQ(sim_test::sim::counters().multiply_adds, 64u * 64 * 64 * 9);
}

TEST(Conv, PlanChoosesByShape) {
  // A late layer of ResNet-50 at batch 1 has too few tiles for the machine: the sum is split.
  EXPECT_GT(
      plan_conv(shape(1, 1, 512, 512, axis(7, 3, 1, 1, 1), axis(7, 3, 1, 1, 1)), Precision::kTf32, {132, false}).splits,
      1);
  const ConvPlan large =
      plan_conv(shape(32, 1, 128, 128, axis(56, 3, 1, 1, 1), axis(56, 3, 1, 1, 1)), Precision::kTf32, {132, false});
  EXPECT_EQ(large.tile, ProductTile::kWide);
  EXPECT_EQ(large.splits, 1);
  // With warpgroups, which three channels do not have.
  const ConvShape middle = shape(32, 1, 128, 128, axis(56, 3, 1, 1, 1), axis(56, 3, 1, 1, 1));
  EXPECT_EQ(plan_conv(middle, Precision::kTf32, {132, true}).tile, ProductTile::kGroup128);
  EXPECT_EQ(plan_conv(middle, Precision::kBf16, {132, true}).tile, ProductTile::kGroup128);
  EXPECT_FALSE(tile_serves(ProductTile::kGroup64, shape(1, 1, 3, 64, axis(8, 3), axis(8, 3)), Precision::kExact));
  ConvShape first = shape(32, 1, 3, 64, axis(224, 7, 2, 3, 3), axis(224, 7, 2, 3, 3));
  first.backward = true;
  EXPECT_EQ(plan_conv(first, Precision::kTf32, {132, false}).kernel, ConvKernel::kFew);
}

}  // namespace
