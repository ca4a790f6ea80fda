// The floor: random numbers and parallel loops.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <mutex>
#include <set>
#include <stdexcept>

#include "engine/base/parallel.h"
#include "engine/base/philox.h"

namespace onnxray {
namespace {

// Known answers of philox4x32-10 that its authors publish with Random123.
TEST(Philox, KnownAnswers) {
  using Block = Philox::Block;
  EXPECT_EQ(Philox{0}(0, 0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(Philox{ones}(ones, ones), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox{0x299f31d0a4093822}(0x0370734413198a2e, 0x85a308d3243f6a88),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, MomentsAndRanges) {
  const Philox p{7};
  const int n = 100000;
  double mean = 0, square = 0, normal = 0, normal_square = 0;
  for (int i = 0; i < n; ++i) {
    const Philox::Block b = p(3, static_cast<std::uint64_t>(i));
    const double u = Philox::uniform(b, i % 2), z = Philox::normal(b);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ASSERT_TRUE(std::isfinite(z));
    mean += u / n;
    square += u * u / n;
    normal += z / n;
    normal_square += z * z / n;
  }
  EXPECT_NEAR(mean, 0.5, 0.005);
  EXPECT_NEAR(square, 1.0 / 3, 0.005);
  EXPECT_NEAR(normal, 0, 0.02);
  EXPECT_NEAR(normal_square, 1, 0.02);
  // The largest and smallest words stay in range.
  EXPECT_LT(Philox::uniform({~0U, ~0U, ~0U, ~0U}, 1), 1);
  EXPECT_TRUE(std::isfinite(Philox::normal({~0U, ~0U, 0, 0})));
}

class Threads : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_max_threads(GetParam()); }
  void TearDown() override { set_max_threads(0); }
};

TEST_P(Threads, ParallelForCoversEachIndexOnceInFixedPieces) {
  for (const std::int64_t n : {0, 1, 7, 100, 1001}) {
    for (const std::int64_t grain : {1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
      std::mutex mutex;
      std::set<std::pair<std::int64_t, std::int64_t>> pieces;
      parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        const std::lock_guard<std::mutex> lock(mutex);
        pieces.emplace(begin, end);
      });
      for (const auto& s : seen) ASSERT_EQ(s.load(), 1);
      std::set<std::pair<std::int64_t, std::int64_t>> expected;
      for (std::int64_t i = 0; i < n; i += grain) expected.emplace(i, std::min(n, i + grain));
      EXPECT_EQ(pieces, expected);
    }
  }
}

TEST_P(Threads, ParallelForRethrowsOneException) {
  std::atomic<int> done{0};
  const auto body = [&](std::int64_t begin, std::int64_t) {
    if (begin % 3 == 1) throw std::runtime_error("piece " + std::to_string(begin));
    ++done;
  };
  EXPECT_THROW(parallel_for(30, 1, body), std::runtime_error);
  EXPECT_LE(done.load(), 20);
  done = 0;
  parallel_for(30, 1, [&](std::int64_t, std::int64_t) { ++done; });  // still usable
  EXPECT_EQ(done.load(), 30);
}

TEST_P(Threads, NestedLoopsRun) {
  std::atomic<int> done{0};
  parallel_for(4, 1, [&](std::int64_t, std::int64_t) {
    parallel_for(5, 2, [&](std::int64_t begin, std::int64_t end) { done += static_cast<int>(end - begin); });
  });
  EXPECT_EQ(done.load(), 20);
}

TEST_P(Threads, ReportsItsLimit) { EXPECT_EQ(max_threads(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Base, Threads, ::testing::Values(1, 2, 5));

}  // namespace
}  // namespace onnxray
