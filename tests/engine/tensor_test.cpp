#include "engine/tensor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace onnxray {
namespace {

TEST(Half, EveryPatternRoundTrips) {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto h = static_cast<std::uint16_t>(i);
    const float f = half_to_float(h);
    const float b = bfloat16_to_float(h);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(f)))) << i;
    } else {
      EXPECT_EQ(float_to_half(f), h) << i;
      // The definition: sign, 5 exponent bits with bias 15, 10 mantissa bits.
      const int exponent = (h >> 10) & 31;
      const double mantissa = h & 1023;
      double want = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      if (exponent == 31) want = std::numeric_limits<double>::infinity();
      EXPECT_EQ(f, (h & 0x8000) != 0 ? -want : want) << i;
    }
    if (std::isnan(b)) {
      EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(b)))) << i;
    } else {
      EXPECT_EQ(float_to_bfloat16(b), h) << i;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  // Between two neighbouring finite halves: the nearer one, the even one from the middle.
  for (std::uint16_t h = 0; h < 0x7bff; ++h) {
    const float lo = half_to_float(h), hi = half_to_float(static_cast<std::uint16_t>(h + 1));
    const float middle = (lo + hi) / 2;  // exact in float
    const std::uint16_t even = (h & 1) == 0 ? h : static_cast<std::uint16_t>(h + 1);
    ASSERT_EQ(float_to_half(middle), even) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0F)), h);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9F)), h + 1);
    ASSERT_EQ(float_to_half(-middle), even | 0x8000);
  }
  EXPECT_EQ(float_to_half(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0F), 0x7c00);  // rounds to infinity
  EXPECT_EQ(float_to_half(1e30F), 0x7c00);
  EXPECT_EQ(float_to_half(1e-30F), 0);
}

TEST(Tensor, CastsSaturate) {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor t = Tensor::from<double>({9}, {1.9, -1.9, 300, -300, 1e30, -1e30, inf, -inf, std::nan("")});
  const auto ints = [&](DType d) { return t.to(d).to_ints(); };
  using Ints = std::vector<std::int64_t>;
  EXPECT_EQ(ints(DType::i8), (Ints{1, -1, 127, -128, 127, -128, 127, -128, 0}));
  EXPECT_EQ(ints(DType::u8), (Ints{1, 0, 255, 0, 255, 0, 255, 0, 0}));
  const std::int64_t max32 = std::numeric_limits<std::int32_t>::max(), min32 = std::numeric_limits<std::int32_t>::min();
  EXPECT_EQ(ints(DType::i32), (Ints{1, -1, 300, -300, max32, min32, max32, min32, 0}));
  const std::int64_t max64 = std::numeric_limits<std::int64_t>::max(), min64 = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(ints(DType::i64), (Ints{1, -1, 300, -300, max64, min64, max64, min64, 0}));
  EXPECT_EQ(ints(DType::boolean), (Ints{1, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(Tensor, EveryDtypeHoldsSmallNumbers) {
  const Tensor t = Tensor::from<double>({3}, {0, 1, 100});
  for (const DType d : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16, DType::i8,
                        DType::u64, DType::u32, DType::u16, DType::u8}) {
    const Tensor u = t.to(d);
    EXPECT_EQ(u.dtype(), d);
    EXPECT_EQ(u.bytes(), 3 * size_of(d));
    EXPECT_EQ(u.to_doubles(), t.to_doubles()) << name_of(d);
    EXPECT_EQ(u.to_ints(), t.to_ints()) << name_of(d);
  }
}

TEST(Tensor, RowsStackAndReshapeShareOrCopyAsTheySay) {
  const Tensor t = Tensor::from<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor middle = t.rows(1, 2);
  EXPECT_EQ(middle.raw(), static_cast<const float*>(t.raw()) + 2);
  EXPECT_EQ(middle.to_doubles(), (std::vector<double>{3, 4}));
  const std::vector<Tensor> parts{t.rows(2, 3), t.rows(0, 2)};
  EXPECT_EQ(stack_rows(parts).to_doubles(), (std::vector<double>{5, 6, 1, 2, 3, 4}));
  EXPECT_EQ(t.reshaped({6}).raw(), t.raw());
  EXPECT_THROW((void)t.reshaped({5}), Error);
  EXPECT_THROW((void)t.rows(2, 4), Error);
  EXPECT_THROW((void)t.rows(-1, 1), Error);
  EXPECT_THROW((void)t.data<double>(), Error);
  const std::vector<Tensor> odd{t, Tensor::from<float>({1, 3}, {1, 2, 3})};
  EXPECT_THROW((void)stack_rows(odd), Error);
}

TEST(Tensor, EmptyAndScalar) {
  EXPECT_EQ(Tensor::zeros(DType::f32, {0, 4}).size(), 0);
  EXPECT_TRUE(Tensor::zeros(DType::f32, {0}).defined());
  EXPECT_EQ(Tensor::scalar(2.5).to_doubles(), std::vector<double>{2.5});
  EXPECT_FALSE(Tensor().defined());
  EXPECT_THROW(Tensor(DType::f32, {-1}), Error);
  EXPECT_THROW(Tensor(DType::f32, {1LL << 40, 1LL << 40}), Error);
}

TEST(Shape, CountsAndBroadcasts) {
  EXPECT_EQ(count_of(Dims{}), 1);
  EXPECT_THROW((void)count_of(Dims{1LL << 62, 0}), Error);  // its strides would overflow
  EXPECT_THROW((void)count_of(Dims{1LL << 62, 4}), Error);
  EXPECT_EQ(broadcast(Dims{3, 1}, Dims{2}), (Dims{3, 2}));
  EXPECT_EQ(broadcast(Dims{0, 1}, Dims{5}), (Dims{0, 5}));
  EXPECT_THROW((void)broadcast(Dims{3}, Dims{2}), Error);
  EXPECT_EQ(normalize_axes(Dims{-1, 0}, 3, "test"), (Dims{0, 2}));
  EXPECT_THROW((void)normalize_axes(Dims{-1, 2}, 3, "test"), Error);
  EXPECT_THROW((void)normalize_axis(3, 3, "test"), Error);
}

}  // namespace
}  // namespace onnxray
