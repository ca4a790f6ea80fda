// Convolutions of odd extents, their definition in float64, and a run of a plan: what the tests of the kernels share.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cuda/conv.h"
#include "tests/sim/schedules.h"

namespace sim_test {

using namespace onnxray::cuda;

template <class T>
std::vector<T> random_values(std::size_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<T> v(count);
  for (T& x : v) x = static_cast<T>(normal(rng));
  return v;
}

inline std::size_t elements(const ConvShape& s, bool of_x) {
  auto n = static_cast<std::size_t>(s.batch * s.groups * (of_x ? s.x_channels : s.y_channels));
  for (const ConvAxis& a : s.axis) n *= static_cast<std::size_t>(of_x ? a.x : a.y);
  return n;
}
inline std::size_t weights(const ConvShape& s) {
  return static_cast<std::size_t>(s.groups * s.x_channels * s.y_channels * s.axis[0].kernel * s.axis[1].kernel *
                                  s.axis[2].kernel);
}

// Element of x or y.
inline std::size_t at(const ConvShape& s, bool of_x, int n, int channel, const int (&p)[3]) {
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

inline ConvAxis axis(int x, int kernel, int stride = 1, int begin = 0, int end = 0, int dilation = 1) {
  return {kernel, stride, dilation, begin, x, (x + begin + end - (kernel - 1) * dilation - 1) / stride + 1};
}
inline ConvShape shape(std::int64_t batch, int groups, int c, int k, ConvAxis h, ConvAxis w, ConvAxis d = {}) {
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

inline const std::vector<Case>& cases() {
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

inline Problem problem(ConvShape s, bool backward) {
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

inline std::vector<float> run(const ConvPlan& plan, const Problem& p, bool with_epilogue) {
  const Buffer<float> in(p.in), w(p.w), bias(p.bias), mask(p.mask), out(p.sum);
  const Buffer<float> packed(plan.weight_bytes / sizeof(float)), workspace(plan.workspace_bytes / sizeof(float));
  pack_conv_weights(plan, w.get(), packed.get(), nullptr);
  Epilogue<float> e;
  if (with_epilogue) e = {bias.get(), out.get(), mask.get(), true};  // the sum lies where the result goes
  run_conv(plan, in.get(), plan.weight_bytes > 0 ? packed.get() : w.get(), out.get(), e, workspace.get(), nullptr);
  return out.values();
}

// Relative to the sum of magnitudes: rounding of the operands, and of sums of `depth` numbers.
inline double tolerance(Precision precision, double depth) {
  const double sums = 6e-8 * (2 + std::sqrt(depth));
  switch (precision) {
    case Precision::kExact: return sums + 3e-7;
    case Precision::kTf32: return sums + 1.0 / 1024;
    case Precision::kBf16: return sums + 1.0 / 128;
  }
  return 0;
}

inline void expect_close(const std::vector<float>& got, const std::vector<double>& expected,
                         const std::vector<double>& scale, double tolerance) {
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

inline double depth_of(const ConvShape& s) {
  return static_cast<double>(s.backward ? s.y_channels : s.x_channels) * s.axis[0].kernel * s.axis[1].kernel *
         s.axis[2].kernel;
}

}  // namespace sim_test
