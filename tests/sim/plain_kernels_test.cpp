// Plain kernels whose threads meet in shared memory, called as they are: values against float64, the same bits under
// every schedule. scripts/kernel_races.sh watches them here.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/layout.cuh"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/reduce.cuh"
#include "tests/sim/schedules.h"

namespace {

using namespace onnxray::cuda;
using sim_test::Buffer;
using sim_test::With;

struct Shape {
  std::int64_t outer, n, inner;
};
constexpr Shape kShapes[] = {{3, 5, 1}, {7, 100, 1}, {2, 1500, 1}, {2, 70, 9}, {300, 3, 1}};

Lines lines_of_shape(const Shape& s) { return {s.outer * s.inner, s.n, s.inner}; }

std::vector<float> random_values(const Shape& s) {
  std::mt19937 rng(11);
  std::normal_distribution<float> normal;
  std::vector<float> v(static_cast<std::size_t>(s.outer * s.n * s.inner));
  for (float& x : v) x = normal(rng);
  return v;
}

// Two blocks, however many lines there are, so that teams take several.
std::vector<float> softmax(const Shape& s, const std::vector<float>& x) {
  const Buffer<float> from(x), to(x.size());
  launch(softmax_kernel<float, false>, Dim3{2}, Dim3{kThreads}, kThreads * sizeof(float), nullptr, lines_of_shape(s),
         lanes_for(s.n), false, -INFINITY, from.get(), to.get());
  return to.values();
}

std::vector<float> layer_norm(const Shape& s, const std::vector<float>& x) {
  const Buffer<float> from(x), to(x.size());
  const auto none = static_cast<float*>(nullptr);
  launch(norm_kernel<float, true>, Dim3{2}, Dim3{kThreads}, kThreads * sizeof(float), nullptr, lines_of_shape(s),
         lanes_for(s.n), 1e-5f, from.get(), none, none, to.get(), none, none);
  return to.values();
}

// dx of a softmax whose result is y.
std::vector<float> softmax_grad(const Shape& s, const std::vector<float>& dy, const std::vector<float>& y) {
  const Buffer<float> a(dy), b(y), to(dy.size());
  launch(softmax_grad_kernel<float>, Dim3{2}, Dim3{kThreads}, kThreads * sizeof(float), nullptr, lines_of_shape(s),
         lanes_for(s.n), a.get(), b.get(), to.get());
  return to.values();
}

std::vector<float> layer_norm_grad(const Shape& s, const std::vector<float>& x) {
  const std::vector<float> means(static_cast<std::size_t>(s.outer), 0.25f);
  const Buffer<float> from(x), mean(means), rstd(means), to(x.size());
  launch(norm_grad_kernel<float>, Dim3{2}, Dim3{kThreads}, kThreads * sizeof(float), nullptr, lines_of_shape(s),
         lanes_for(s.n), from.get(), from.get(), static_cast<const float*>(nullptr), mean.get(), rstd.get(), to.get());
  return to.values();
}

std::vector<float> sums(const Shape& s, const std::vector<float>& x) {
  const auto r = reduction_of({s.outer, s.n, s.inner}, {1});
  const Buffer<float> from(x), to(static_cast<std::size_t>(r->outputs));
  launch(reduce_kernel<SumOf, float, AsIs>, Dim3{2}, Dim3{kThreads}, kThreads * sizeof(float), nullptr, *r, 0.0f,
         AsIs{}, from.get(), to.get());
  return to.values();
}

TEST(Fold, Sums) {
  for (const Shape& s : kShapes) {
    const auto x = random_values(s), y = sums(s, x);
    const Lines lines = lines_of_shape(s);
    for (std::int64_t l = 0; l < lines.count; ++l) {
      double sum = 0, size = 0;
      for (std::int64_t i = 0; i < s.n; ++i) {
        const double v = x[static_cast<std::size_t>(lines.at(l, i))];
        sum += v;
        size += std::abs(v);
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(l)], sum, 1e-6 * size);
    }
  }
}

TEST(Fold, Softmax) {
  for (const Shape& s : kShapes) {
    const auto x = random_values(s), y = softmax(s, x);
    const Lines lines = lines_of_shape(s);
    for (std::int64_t l = 0; l < lines.count; ++l) {
      double sum = 0;
      for (std::int64_t i = 0; i < s.n; ++i)
        sum += std::exp(static_cast<double>(x[static_cast<std::size_t>(lines.at(l, i))]));
      for (std::int64_t i = 0; i < s.n; ++i) {
        const auto at = static_cast<std::size_t>(lines.at(l, i));
        const double expected = std::exp(static_cast<double>(x[at])) / sum;
        ASSERT_NEAR(y[at], expected, 2e-6 * expected);
      }
    }
  }
}

TEST(Fold, LayerNorm) {
  for (const Shape& s : kShapes) {
    if (s.inner != 1) continue;
    const auto x = random_values(s), y = layer_norm(s, x);
    for (std::int64_t l = 0; l < s.outer; ++l) {
      const float* line = x.data() + l * s.n;
      double mean = 0, variance = 0;
      for (std::int64_t i = 0; i < s.n; ++i) mean += line[i] / static_cast<double>(s.n);
      for (std::int64_t i = 0; i < s.n; ++i) variance += (line[i] - mean) * (line[i] - mean) / static_cast<double>(s.n);
      for (std::int64_t i = 0; i < s.n; ++i) {
        ASSERT_NEAR(y[static_cast<std::size_t>(l * s.n + i)], (line[i] - mean) / std::sqrt(variance + 1e-5), 5e-6);
      }
    }
  }
}

TEST(Fold, SameBitsUnderEverySchedule) {
  for (const Shape& s : kShapes) {
    const auto x = random_values(s);
    std::vector<float> first;
    for (const auto& options : sim_test::all_options()) {
      SCOPED_TRACE(sim_test::name(options));
      const With with(options);
      std::vector<float> all = softmax(s, x);
      const auto append = [&](const std::vector<float>& more) { all.insert(all.end(), more.begin(), more.end()); };
      append(softmax_grad(s, x, all));
      append(sums(s, x));
      if (s.inner == 1) {
        append(layer_norm(s, x));
        append(layer_norm_grad(s, x));
      }
      if (first.empty()) first = all;
      ASSERT_TRUE(sim_test::same_bits(all, first));
    }
  }
}

// [planes, rows, columns] to [columns, planes, rows], through tiles with ragged edges.
TEST(Transpose, SameBitsUnderEverySchedule) {
  const std::int64_t planes = 2, rows = 37, columns = 70;
  std::vector<float> x(static_cast<std::size_t>(planes * rows * columns));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const auto copy = strided_copy({columns, planes, rows}, {1, rows * columns, columns}, {planes * rows, rows, 1});
  ASSERT_TRUE(copy && copy->tiled);
  for (const auto& options : sim_test::all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    const Buffer<float> from(x), to(x.size());
    run_strided_copy(*copy, sizeof(float), from.get(), to.get(), nullptr);
    const auto y = to.values();
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t p = 0; p < planes * rows; ++p) {
        ASSERT_EQ(y[static_cast<std::size_t>(c * planes * rows + p)], x[static_cast<std::size_t>(p * columns + c)]);
      }
    }
  }
}

TEST(GeneralProduct, SameBitsUnderEverySchedule) {
  GemmShape s;
  s.m = 40;
  s.n = 35;
  s.k = 33;
  const auto a = random_values({40, 33, 1}), b = random_values({33, 35, 1});
  std::vector<float> first;
  for (const auto& options : sim_test::all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    const Buffer<float> left(a), right(b), y(40 * 35);
    run_gemm_general<float>(s, left.get(), right.get(), y.get(), {}, nullptr);
    if (first.empty()) first = y.values();
    ASSERT_TRUE(sim_test::same_bits(y.values(), first));
  }
}

}  // namespace
