// The simulator itself: correct kernels give the same bits under every schedule, planted bugs are found.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/sim/planted.cuh"
#include "tests/sim/schedules.h"

namespace {

using onnxray::cuda::Dim3;
using onnxray::cuda::launch;
using sim_test::all_options;
using sim_test::Buffer;
using sim_test::With;

std::vector<float> counting(std::size_t n) {
  std::vector<float> x(n);
  std::iota(x.begin(), x.end(), 1.0f);
  return x;
}

std::vector<float> run_reverse(void (*kernel)(const float*, float*)) {
  const Buffer<float> x(counting(256)), y(256);
  launch(kernel, Dim3{2}, Dim3{128}, 128 * sizeof(float), nullptr, x.get(), y.get());
  return y.values();
}

std::vector<float> run_rounds(void (*kernel)(const float*, float*, int)) {
  const Buffer<float> x(counting(64 * 4)), y(64);
  launch(kernel, Dim3{}, Dim3{64}, 64 * sizeof(float), nullptr, x.get(), y.get(), 4);
  return y.values();
}

std::vector<float> run_pipeline(void (*kernel)(const float*, float*, int)) {
  const Buffer<float> x(counting(64 * 4 * 5)), y(64);
  launch(kernel, Dim3{}, Dim3{64}, 3 * 64 * 4 * sizeof(float), nullptr, x.get(), y.get(), 5);
  return y.values();
}

// The message of the error that `call` throws.
template <class F>
std::string error_of(F call) {
  try {
    call();
  } catch (const onnxray::Error& e) {
    return e.what();
  }
  return "no error";
}

void expect_error(const std::string& text, const std::function<void()>& call) {
  const std::string got = error_of(call);
  EXPECT_NE(got.find(text), std::string::npos) << "got: " << got;
}

TEST(Simulator, CorrectKernelsAgreeUnderEverySchedule) {
  const float sum4 = 256 * 257 / 2, sum5 = 1280.0f * 1281 / 2;
  for (const auto& options : all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    const auto reversed = run_reverse(planted::reverse<true>);
    EXPECT_EQ(reversed[0], 128);
    EXPECT_EQ(reversed[255], 129);
    for (const float y : run_rounds(planted::rounds<true>)) EXPECT_EQ(y, sum4);
    for (const float y : run_pipeline(planted::pipeline<3, 0>)) EXPECT_EQ(y, sum5);
    const Buffer<float> y(32);
    launch(planted::within_warp<true>, Dim3{}, Dim3{32}, 128, nullptr, y.get());
    for (const float v : y.values()) EXPECT_EQ(v, 31 * 32 / 2);
  }
}

TEST(Simulator, MissingBarrierAfterWriteGivesNan) {
  for (const auto& options : all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    int wrong = 0;
    const auto y = run_reverse(planted::reverse<false>);
    for (std::size_t i = 0; i < y.size(); ++i) wrong += std::isnan(y[i]) ? 1 : 0;
    EXPECT_GT(wrong, 0);
  }
}

TEST(Simulator, MissingBarrierBeforeOverwriteGivesWrongSums) {
  int caught = 0;
  for (const auto& options : all_options()) {
    const With with(options);
    bool wrong = false;
    for (const float y : run_rounds(planted::rounds<false>)) wrong |= y != 256 * 257 / 2;
    caught += wrong ? 1 : 0;
  }
  EXPECT_GE(caught, 6) << "of 8 ways to run";
}

TEST(Simulator, WaitOffByOneIsSeenWithLateCopies) {
  for (const auto& options : all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    bool nan = false;
    for (const float y : run_pipeline(planted::pipeline<3, 1>)) nan |= std::isnan(y);
    // Early copies hide it; that is why both are run.
    EXPECT_EQ(nan, options.async_copy == onnxray::sim::AsyncCopy::kLate);
  }
}

TEST(Simulator, AccessesOutOfBounds) {
  const Buffer<float> x(64), y(64);
  for (const int index : {64, 100, -1}) {
    expect_error("shared memory of 256 bytes",
                 [&] { launch(planted::past_shared, Dim3{}, Dim3{32}, 256, nullptr, y.get(), index); });
    expect_error("device memory of 256 bytes",
                 [&] { launch(planted::past_global, Dim3{}, Dim3{1}, 0, nullptr, y.get(), index); });
  }
  expect_error("outside of device memory", [&] {
    launch(planted::copy_past_source, Dim3{}, Dim3{1}, 256, nullptr, static_cast<const float*>(x.get()), 64);
  });
  expect_error("outside of device memory", [&] {
    launch(planted::copy_past_source, Dim3{}, Dim3{1}, 256, nullptr, static_cast<const float*>(x.get()), -4);
  });
}

TEST(Simulator, SharedMemoryBeginsAsNan) {
  const Buffer<float> y(64);
  launch(planted::read_unwritten, Dim3{}, Dim3{64}, 256, nullptr, y.get());
  for (const float v : y.values()) EXPECT_TRUE(std::isnan(v));
}

TEST(Simulator, AsynchronousCopies) {
  const Buffer<float> x(counting(64));
  const float* from = x.get();
  expect_error("1 pending asynchronous copies",
               [&] { launch(planted::leave_with_copies, Dim3{}, Dim3{1}, 256, nullptr, from); });
  expect_error("misaligned source", [&] { launch(planted::misaligned_copy, Dim3{}, Dim3{1}, 256, nullptr, from); });
}

TEST(Simulator, Divergence) {
  for (const auto& options : all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    const Buffer<float> y(64);
    expect_error("__syncthreads", [&] { launch(planted::barrier_in_half, Dim3{}, Dim3{32}, 0, nullptr); });
    expect_error("while others wait at", [&] { launch(planted::two_barriers, Dim3{}, Dim3{64}, 0, nullptr); });
    expect_error("different collectives",
                 [&] { launch(planted::half_shuffles, Dim3{}, Dim3{32}, 0, nullptr, y.get()); });
    expect_error("no thread can go on",
                 [&] { launch(planted::shuffle_and_barrier, Dim3{}, Dim3{32}, 0, nullptr, y.get()); });
    expect_error("which is not in it", [&] { launch(planted::outside_mask, Dim3{}, Dim3{32}, 0, nullptr, y.get()); });
    // The simulator is usable after an error.
    for (const float v : run_rounds(planted::rounds<true>)) EXPECT_EQ(v, 256 * 257 / 2);
  }
}

TEST(Simulator, LaunchLimits) {
  const Buffer<float> y(64);
  expect_error("a block of 2048 threads",
               [&] { launch(planted::read_unwritten, Dim3{}, Dim3{2048}, 0, nullptr, y.get()); });
  expect_error("a grid of", [&] { launch(planted::read_unwritten, Dim3{1, 70000}, Dim3{32}, 0, nullptr, y.get()); });
  expect_error("bytes of shared memory",
               [&] { launch(planted::read_unwritten, Dim3{}, Dim3{32}, 300000, nullptr, y.get()); });
}

ONNXRAY_KERNEL(void) indices(unsigned* y) {
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
}

TEST(Simulator, IndicesAndAtomics) {
  for (const auto& options : all_options()) {
    const With with(options);
    const Buffer<unsigned> y(2 * 3 * 4 * 60);
    launch(indices, Dim3{2, 3, 4}, Dim3{3, 4, 5}, 0, nullptr, y.get());
    const auto values = y.values();
    for (unsigned i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 1000 * (i / 60) + i % 60);
    const Buffer<float> sum(std::vector<float>{0});
    launch(planted::between_blocks<true>, Dim3{500}, Dim3{32}, 0, nullptr, sum.get());
    EXPECT_EQ(sum.values()[0], 500);
  }
}

ONNXRAY_KERNEL(void) warp_functions(float* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned even = __ballot_sync(onnxray::cuda::kFullMask, lane % 2 == 0);
  float v = 0;
  v += even == 0x55555555u ? 1.0f : 0.0f;
  v += __shfl_sync(onnxray::cuda::kFullMask, lane, 5) == 5 ? 2.0f : 0.0f;
  v += __shfl_up_sync(onnxray::cuda::kFullMask, lane, 3) == (lane >= 3 ? lane - 3 : lane) ? 4.0f : 0.0f;
  v += __shfl_down_sync(onnxray::cuda::kFullMask, lane, 3, 8) == (lane % 8 < 5 ? lane + 3 : lane) ? 8.0f : 0.0f;
  v += __any_sync(onnxray::cuda::kFullMask, lane == 7) && !__all_sync(onnxray::cuda::kFullMask, lane == 7) ? 16.0f
                                                                                                           : 0.0f;
  // Halves of the warp, each on its own.
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  const double sum = lane < 16 ? __shfl_xor_sync(half, static_cast<double>(lane), 15) : 0.0;
  v += sum == (lane < 16 ? 15 - lane : 0) ? 32.0f : 0.0f;
  v +=
      __syncthreads_count(lane < 5) == 5 && __syncthreads_or(lane == 3) && !__syncthreads_and(lane == 3) ? 64.0f : 0.0f;
  y[lane] = v;
}

TEST(Simulator, WarpFunctions) {
  for (const auto& options : all_options()) {
    SCOPED_TRACE(sim_test::name(options));
    const With with(options);
    const Buffer<float> y(32);
    launch(warp_functions, Dim3{}, Dim3{32}, 0, nullptr, y.get());
    for (const float v : y.values()) EXPECT_EQ(v, 127);
  }
}

template <class Kind>
ONNXRAY_KERNEL(void)
one_tile(const std::uint32_t* a, const std::uint32_t* b, float* c) {
  // A row-major [16, 8 words], B as columns [8, 8 words], C row-major [16, 8].
  const unsigned g = threadIdx.x / 4, q = threadIdx.x % 4;
  std::uint32_t fa[1][4];
  ONNXRAY_SHARED(std::uint32_t, tile);
  for (unsigned i = threadIdx.x; i < 128; i += 32) tile[i / 8 * 12 + i % 8] = a[i];
  __syncthreads();
  // ldmatrix: matrices (rows 0-7, words 0-3), (8-15, 0-3), (0-7, 4-7), (8-15, 4-7) are a0 .. a3.
  const unsigned matrix = threadIdx.x / 8;
  onnxray::cuda::load_matrix_x4(fa[0], tile + (threadIdx.x % 8 + matrix % 2 * 8) * 12 + matrix / 2 * 4);
  const std::uint32_t fb[1][2] = {{b[g * 8 + q], b[g * 8 + q + 4]}};
  float acc[1][1][4] = {};
  onnxray::cuda::mma<Kind>(acc, fa, fb);
  c[g * 8 + 2 * q] = acc[0][0][0];
  c[g * 8 + 2 * q + 1] = acc[0][0][1];
  c[(g + 8) * 8 + 2 * q] = acc[0][0][2];
  c[(g + 8) * 8 + 2 * q + 1] = acc[0][0][3];
}

// Integers up to 16 are exact in every format: the products of fragments, laid out as the PTX manual says.
TEST(Simulator, TensorCoreTile) {
  float a[16][16], b[8][16];
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) a[i][k] = static_cast<float>((7 * i + 3 * k) % 17 - 8);
  }
  for (int j = 0; j < 8; ++j) {
    for (int k = 0; k < 16; ++k) b[j][k] = static_cast<float>((5 * j + 11 * k) % 13 - 6);
  }
  for (const bool half : {false, true}) {
    const int depth = half ? 16 : 8;
    const auto words = [&](const float(*rows)[16], int count) {
      std::vector<std::uint32_t> w;
      for (int i = 0; i < count; ++i) {
        for (int k = 0; k < 8; ++k) {
          w.push_back(half ? onnxray::cuda::pack_bf16(rows[i][2 * k], rows[i][2 * k + 1])
                           : __float_as_uint(rows[i][k]));
        }
      }
      return w;
    };
    const Buffer<std::uint32_t> da(words(a, 16)), db(words(b, 8));
    const Buffer<float> dc(128);
    launch(half ? one_tile<onnxray::cuda::Bf16> : one_tile<onnxray::cuda::Tf32>, Dim3{}, Dim3{32}, 16 * 12 * 4, nullptr,
           da.get(), db.get(), dc.get());
    const auto c = dc.values();
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        float expected = 0;
        for (int k = 0; k < depth; ++k) expected += a[i][k] * b[j][k];
        EXPECT_EQ(c[static_cast<std::size_t>(i * 8 + j)], expected) << i << " " << j << " bf16 " << half;
      }
    }
  }
}

ONNXRAY_KERNEL(void) strided_lines(float* y, int line) {
  ONNXRAY_SHARED(float, tile);
  std::uint32_t r[4];
  onnxray::cuda::load_matrix_x4(r, tile + static_cast<int>(threadIdx.x) * line);
  y[threadIdx.x] = __uint_as_float(r[0]);
}

TEST(Simulator, CountsBankConflicts) {
  const Buffer<float> y(32);
  for (const auto& [line, conflicts] : {std::pair{36, 0u}, std::pair{40, 4u}, std::pair{32, 28u}}) {
    onnxray::sim::reset_counters();
    launch(strided_lines, Dim3{}, Dim3{32}, 32 * 40 * sizeof(float), nullptr, y.get(), line);
    EXPECT_EQ(onnxray::sim::counters().bank_conflicts, conflicts) << line;
  }
}

TEST(Simulator, NumberFormats) {
  using onnxray::cuda::bf16_high;
  using onnxray::cuda::bf16_low;
  using onnxray::cuda::pack_bf16;
  using onnxray::cuda::round_tf32;
  EXPECT_EQ(round_tf32(1.0f + 0x1p-11f), 1.0f + 0x1p-10f);  // a tie goes away from zero
  EXPECT_EQ(round_tf32(1.0f + 0x1p-12f), 1.0f);
  EXPECT_EQ(round_tf32(-1.0f - 0x1p-11f), -1.0f - 0x1p-10f);
  EXPECT_TRUE(std::isinf(round_tf32(INFINITY)));
  EXPECT_TRUE(std::isnan(round_tf32(NAN)));
  EXPECT_EQ(bf16_low(pack_bf16(1.0f + 0x1p-8f, 2.0f)), 1.0f);  // a tie goes to even
  EXPECT_EQ(bf16_high(pack_bf16(1.0f, 1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
  EXPECT_TRUE(std::isnan(bf16_low(pack_bf16(NAN, 0))));
}

}  // namespace
