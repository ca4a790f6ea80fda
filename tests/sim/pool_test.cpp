// Max pooling and its gradient on channels-last images, where usual windows have kernels of their own: winners among
// ties, NaN and -infinity by the definition, cotangents added in ascending order of windows, to the bit.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "engine/builder.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"
#include "kernels/sim/backend.h"

namespace onnxray::testing {
namespace {

struct Case {
  std::int64_t n, height, width, channels, kernel, stride;
  std::vector<std::int64_t> pads;
  bool ceil = false;
};

const Backend& simulator() {
  static const Backend backend = sim::make_backend(cpu_backend());
  return backend;
}

Attrs attrs_of(const Case& c) {
  Attrs a{{"kernel", std::vector<std::int64_t>{c.kernel, c.kernel}},
          {"strides", std::vector<std::int64_t>{c.stride, c.stride}},
          {"pads", c.pads},
          {"dilations", std::vector<std::int64_t>{1, 1}},
          {"channels_last", std::int64_t{1}}};
  if (c.ceil) a.set("ceil_mode", std::int64_t{1});
  return a;
}

template <class T>
void check(const Case& c) {
  Graph g;
  Builder b(g);
  const DType dtype = dtype_of<T>;
  const Dims dims{c.n, c.height, c.width, c.channels};
  const ValueId x = g.add_input("x", dtype, dims);
  const std::vector<ValueId> pooled = b.add_node(op("max_pool"), {x}, attrs_of(c), "pool");
  const Dims out = b.dims(pooled[0]);
  const ValueId dy = g.add_input("dy", dtype, out);
  Attrs back = attrs_of(c);
  back.set("input_spatial", std::vector<std::int64_t>{c.height, c.width});
  // And once more with the argmax as taps.
  Attrs tapped = attrs_of(c);
  tapped.set("argmax_taps", std::int64_t{1});
  const std::vector<ValueId> by_tap = b.add_node(op("max_pool"), {x}, tapped, "pool by tap");
  g.set_outputs({pooled[0], pooled[1], b.op("max_pool_grad", {dy, pooled[1]}, back), by_tap[0], by_tap[1],
                 b.op("max_pool_grad", {dy, by_tap[1]}, back)});

  // Few values, so that many are equal.
  std::mt19937 rng(3);
  const T odd[] = {std::numeric_limits<T>::quiet_NaN(), -std::numeric_limits<T>::infinity()};
  std::vector<T> data(static_cast<std::size_t>(count_of(dims)));
  for (T& v : data) v = rng() % 8 == 0 ? odd[rng() % 2] : static_cast<T>(rng() % 4);
  std::normal_distribution<T> normal;
  std::vector<T> cotangent(static_cast<std::size_t>(count_of(out)));
  for (T& v : cotangent) v = normal(rng);
  PlanRun run(Plan::compile(g, simulator(), nullptr));
  run.bind(0, Tensor::from<T>(dims, data));
  run.bind(1, Tensor::from<T>(out, cotangent));
  run.execute();
  const Tensor y = run.output(0), arg = run.output(1), dx = run.output(2), taps = run.output(4);
  EXPECT_TRUE(run.output(3).same_bits(y));
  EXPECT_TRUE(run.output(5).same_bits(dx));

  std::vector<T> want(data.size(), T(0));
  std::size_t o = 0;
  for (std::int64_t n = 0; n < out[0]; ++n)
    for (std::int64_t h = 0; h < out[1]; ++h)
      for (std::int64_t w = 0; w < out[2]; ++w)
        for (std::int64_t ch = 0; ch < out[3]; ++ch, ++o) {
          std::int64_t at = -1, tap = 255;
          T best = -std::numeric_limits<T>::infinity();
          const auto index = [&](std::int64_t s) {
            return static_cast<std::size_t>((n * c.height * c.width + s) * c.channels + ch);
          };
          for (std::int64_t t = 0; t < c.kernel * c.kernel; ++t) {
            const std::int64_t i = h * c.stride - c.pads[0] + t / c.kernel, j = w * c.stride - c.pads[1] + t % c.kernel;
            if (i < 0 || i >= c.height || j < 0 || j >= c.width) continue;
            const T v = data[index(i * c.width + j)];
            if (at < 0 || v > best || (std::isnan(v) && !std::isnan(best))) best = v, at = i * c.width + j, tap = t;
          }
          ASSERT_EQ(arg.data<std::int64_t>()[o], at) << o;
          ASSERT_EQ(taps.data<std::uint8_t>()[o], tap) << o;
          const T got = y.data<T>()[o];
          ASSERT_TRUE(got == best || (std::isnan(got) && std::isnan(best))) << o;
          if (at >= 0) want[index(at)] += cotangent[o];
        }
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(dx.data<T>()[i], want[i]) << i;
}

TEST(PoolingOnSimulator, WinnersAndTheirCotangents) {
  for (const Case& c : {Case{2, 9, 7, 8, 3, 2, {1, 1, 1, 1}}, Case{1, 8, 6, 64, 3, 2, {0, 0, 0, 0}},
                        Case{2, 6, 9, 4, 3, 2, {0, 1, 2, 0}, true}, Case{3, 8, 5, 4, 2, 2, {0, 0, 0, 0}},
                        Case{1, 7, 7, 8, 2, 2, {1, 0, 0, 1}, true}, Case{2, 5, 6, 12, 3, 1, {1, 1, 1, 1}},
                        Case{2, 6, 5, 4, 5, 3, {2, 1, 0, 2}}, Case{2, 6, 5, 3, 3, 2, {1, 1, 1, 1}}}) {
    SCOPED_TRACE(detail::concat(c.height, "x", c.width, "x", c.channels, " kernel ", c.kernel, " stride ", c.stride));
    check<float>(c);
    check<double>(c);
  }
}

TEST(PoolingOnSimulator, AnArgmaxOutOfRangeIsReported) {
  for (const auto& [channels, type, value] : {std::tuple<std::int64_t, DType, double>{3, DType::i64, 16},
                                              {4, DType::i64, 16},
                                              {3, DType::u8, 4},
                                              {4, DType::u8, 4}}) {
    Graph g;
    Builder b(g);
    const Case c{1, 4, 4, channels, 2, 2, {0, 0, 0, 0}};
    const ValueId dy = g.add_input("dy", DType::f32, {1, 2, 2, channels});
    const ValueId arg = g.add_input("arg", type, {1, 2, 2, channels});
    Attrs back = attrs_of(c);
    back.set("input_spatial", std::vector<std::int64_t>{4, 4});
    g.set_outputs({b.op("max_pool_grad", {dy, arg}, back)});
    PlanRun run(Plan::compile(g, simulator(), nullptr));
    run.bind(0, Tensor::full(DType::f32, {1, 2, 2, channels}, 1));
    run.bind(1, Tensor::full(type, {1, 2, 2, channels}, value));
    run.execute();
    EXPECT_THROW((void)run.output(0), Error);
  }
}

}  // namespace
}  // namespace onnxray::testing
