// The convolution kernels against the definition in float64: both directions, every tile and precision, odd extents.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cuda/conv.h"
#include "tests/sim/schedules.h"

namespace {

using namespace onnxray::cuda;
using sim_test::Buffer;
using sim_test::With;

template <class T>
std::vector<T> random_values(std::size_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<T> v(count);
  for (T& x : v) x = static_cast<T>(normal(rng));
  return v;
}

std::size_t elements(const ConvShape& s, bool of_x) {
  auto n = static_cast<std::size_t>(s.batch * s.groups * (of_x ? s.x_channels : s.y_channels));
  for (const ConvAxis& a : s.axis) n *= static_cast<std::size_t>(of_x ? a.x : a.y);
  return n;
}
std::size_t weights(const ConvShape& s) {
  return static_cast<std::size_t>(s.groups * s.x_channels * s.y_channels * s.axis[0].kernel * s.axis[1].kernel *
                                  s.axis[2].kernel);
}

// Element of x or y.
std::size_t at(const ConvShape& s, bool of_x, int n, int channel, const int (&p)[3]) {
  const int channels = s.groups * (of_x ? s.x_channels : s.y_channels);
  int e[3];
  for (int i = 0; i < 3; ++i) e[i] = of_x ? s.axis[i].x : s.axis[i].y;
  const int space = (p[0] * e[1] + p[1]) * e[2] + p[2], all = e[0] * e[1] * e[2];
  return static_cast<std::size_t>(s.channels_last ? (n * all + space) * channels + channel
                                                  : (n * channels + channel) * all + space);
}

// Calls f(index into x, index into w, index into y) for every product of the convolution.
template <class F>
void for_each_product(const ConvShape& s, F f) {
  const ConvAxis* a = s.axis;
  for (int n = 0; n < s.batch; ++n) {
    for (int k = 0; k < s.groups * s.y_channels; ++k) {
      int o[3];
      for (o[0] = 0; o[0] < a[0].y; ++o[0]) {
        for (o[1] = 0; o[1] < a[1].y; ++o[1]) {
          for (o[2] = 0; o[2] < a[2].y; ++o[2]) {
            const std::size_t y = at(s, false, n, k, o);
            for (int c = 0; c < s.x_channels; ++c) {
              int t[3];
              for (t[0] = 0; t[0] < a[0].kernel; ++t[0]) {
                for (t[1] = 0; t[1] < a[1].kernel; ++t[1]) {
                  for (t[2] = 0; t[2] < a[2].kernel; ++t[2]) {
                    int p[3];
                    bool inside = true;
                    for (int i = 0; i < 3; ++i) {
                      p[i] = o[i] * a[i].stride + t[i] * a[i].dilation - a[i].begin;
                      inside = inside && p[i] >= 0 && p[i] < a[i].x;
                    }
                    if (!inside) continue;
                    const std::size_t x = at(s, true, n, k / s.y_channels * s.x_channels + c, p);
                    const int w =
                        (((k * s.x_channels + c) * a[0].kernel + t[0]) * a[1].kernel + t[1]) * a[2].kernel + t[2];
                    f(x, static_cast<std::size_t>(w), y);
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

struct Case {
  const char* name;
  ConvShape shape;
};

ConvAxis axis(int x, int kernel, int stride = 1, int begin = 0, int end = 0, int dilation = 1) {
  return {kernel, stride, dilation, begin, x, (x + begin + end - (kernel - 1) * dilation - 1) / stride + 1};
}
ConvShape shape(std::int64_t batch, int groups, int c, int k, ConvAxis h, ConvAxis w, ConvAxis d = {}) {
  ConvShape s;
  s.batch = batch;
  s.groups = groups;
  s.x_channels = c;
  s.y_channels = k;
  s.axis[0] = d;
  s.axis[1] = h;
  s.axis[2] = w;
  return s;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"1x1", shape(2, 1, 36, 40, axis(7, 1), axis(5, 1))},
      {"3x3", shape(1, 1, 32, 24, axis(9, 3, 1, 1, 1), axis(11, 3, 1, 1, 1))},
      {"3x3 stride 2", shape(2, 1, 8, 20, axis(11, 3, 2, 1, 1), axis(8, 3, 2, 1, 1))},
      {"1x1 stride 2", shape(1, 1, 16, 12, axis(9, 1, 2), axis(8, 1, 2))},
      {"first layer 7x7", shape(1, 1, 3, 64, axis(23, 7, 2, 3, 3), axis(21, 7, 2, 3, 3))},
      {"to two channels", shape(2, 1, 2, 68, axis(9, 3, 2, 1, 1), axis(21, 3, 2, 1, 1))},
      {"patches", shape(2, 1, 3, 10, axis(12, 4, 4), axis(13, 4, 4))},
      {"dilated", shape(1, 1, 4, 6, axis(13, 3, 2, 2, 1, 3), axis(12, 3, 1, 2, 2, 2))},
      {"dilation and stride with a common divisor",
       shape(1, 1, 4, 4, axis(15, 3, 4, 2, 2, 2), axis(14, 2, 2, 0, 0, 4))},
      {"groups", shape(2, 3, 8, 4, axis(6, 3, 1, 1, 1), axis(7, 3, 1, 1, 1))},
      {"groups of odd channels", shape(1, 2, 5, 3, axis(6, 3, 1, 1, 1), axis(7, 3, 2, 0, 1))},
      {"crop", shape(1, 1, 4, 4, axis(9, 3, 1, -1, -2), axis(9, 3, 1, -1, 0))},
      {"1-D", shape(2, 1, 12, 9, {}, axis(31, 5, 2, 2, 2))},
      {"3-D", shape(1, 1, 8, 6, axis(5, 3, 2, 1, 1), axis(6, 3, 1, 1, 1), axis(5, 2, 2, 1, 0))},
      {"one channel", shape(1, 1, 1, 1, axis(6, 3, 1, 1, 1), axis(6, 3, 1, 1, 1))},
      {"depthwise", shape(2, 8, 1, 1, axis(9, 3, 1, 1, 1), axis(10, 3, 1, 1, 1))},
      {"depthwise stride 2", shape(1, 12, 1, 1, axis(9, 5, 2, 2, 2), axis(10, 5, 2, 2, 2))},
      {"depthwise odd", shape(1, 5, 1, 1, axis(9, 3, 2, 1, 1), axis(10, 3, 1, 0, 2, 2))},
  };
  return all;
}

struct Problem {
  ConvShape shape;
  std::vector<float> in, w, bias, sum, mask;
  std::vector<double> plain, expected;  // without and with the epilogue
  std::vector<double> scale;            // sum of the products' magnitudes, what rounding errors are relative to
};

Problem problem(ConvShape s, bool backward) {
  s.backward = backward;
  Problem p;
  p.shape = s;
  p.in = random_values<float>(elements(s, !backward), 1);
  p.w = random_values<float>(weights(s), 2);
  const std::size_t out = elements(s, backward);
  const int channels = s.groups * (backward ? s.x_channels : s.y_channels);
  p.bias = random_values<float>(static_cast<std::size_t>(channels), 3);
  p.sum = random_values<float>(out, 4);
  p.mask = random_values<float>(out, 5);
  p.plain.assign(out, 0);
  p.scale.assign(out, 0);
  for_each_product(s, [&](std::size_t x, std::size_t w, std::size_t y) {
    const double v = static_cast<double>(p.in[backward ? y : x]) * p.w[w];
    p.plain[backward ? x : y] += v;
    p.scale[backward ? x : y] += std::abs(v);
  });
  p.expected = p.plain;
  std::size_t inner = 1;
  for (const ConvAxis& a : s.axis) inner *= static_cast<std::size_t>(backward ? a.x : a.y);
  for (std::size_t i = 0; i < out; ++i) {
    const std::size_t channel = (s.channels_last ? i : i / inner) % static_cast<std::size_t>(channels);
    double v = p.plain[i] + p.bias[channel] + p.sum[i];
    p.scale[i] += std::abs(p.bias[channel]) + std::abs(p.sum[i]);
    v = v <= 0 ? 0 : v;
    p.expected[i] = p.mask[i] > 0 ? v : 0;
  }
  return p;
}

std::vector<float> run(const ConvPlan& plan, const Problem& p, bool with_epilogue) {
  const Buffer<float> in(p.in), w(p.w), bias(p.bias), mask(p.mask), out(p.sum);
  const Buffer<float> packed(plan.weight_bytes / sizeof(float)), workspace(plan.workspace_bytes / sizeof(float));
  pack_conv_weights(plan, w.get(), packed.get(), nullptr);
  Epilogue<float> e;
  if (with_epilogue) e = {bias.get(), out.get(), mask.get(), true};  // the sum lies where the result goes
  run_conv(plan, in.get(), plan.weight_bytes > 0 ? packed.get() : w.get(), out.get(), e, workspace.get(), nullptr);
  return out.values();
}

// Relative to the sum of magnitudes: rounding of the operands, and of sums of `depth` numbers.
double tolerance(Precision precision, double depth) {
  const double sums = 6e-8 * (2 + std::sqrt(depth));
  switch (precision) {
    case Precision::kExact: return sums + 3e-7;
    case Precision::kTf32: return sums + 1.0 / 1024;
    case Precision::kBf16: return sums + 1.0 / 128;
  }
  return 0;
}

void expect_close(const std::vector<float>& got, const std::vector<double>& expected, const std::vector<double>& scale,
                  double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]) / (scale[i] + 1e-30);
    if (!(error <= worst)) {
      worst = error;
      where = i;
    }
    if (std::isnan(got[i])) {
      worst = error;
      where = i;
      break;
    }
  }
  EXPECT_LE(worst, tolerance) << "element " << where << ": " << got[where] << ", expected " << expected[where];
}

double depth_of(const ConvShape& s) {
  return static_cast<double>(s.backward ? s.y_channels : s.x_channels) * s.axis[0].kernel * s.axis[1].kernel *
         s.axis[2].kernel;
}

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
