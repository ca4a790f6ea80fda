// Random draws of methods. A draw is a function of (seed, example, sample, stream, element) alone, as the ops
// random_uniform and random_normal define it (engine/ops/random.cpp): it depends neither on the batch nor on the chunk.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "algorithms/row_program.h"

namespace onnxray {

// Streams tell the draws of one (example, sample) apart.
namespace random_stream {
inline constexpr std::int64_t kNoise = 0;          // + index of the varied value: noise on it
inline constexpr std::int64_t kTunnel = 0x4000;    // + index of the input: the noise tunnel's
inline constexpr std::int64_t kAlpha = 0x8000;     // the point between baseline and input
inline constexpr std::int64_t kBaseline = 0x8001;  // which baseline
}  // namespace random_stream

struct RandomKey {
  std::uint64_t seed = 0;
  std::int64_t example = 0;  // ComputeOptions::first_example + the example's row
  std::int64_t sample = 0;
};

// The op random_uniform's element (float64), in [0, 1).
[[nodiscard]] double random_uniform(const RandomKey& key, std::int64_t stream, std::int64_t element = 0);
// floor(count * random_uniform): a number in [0, count).
[[nodiscard]] std::int64_t random_index(const RandomKey& key, std::int64_t stream, std::int64_t count);
// Another seed, for the `index`-th of several independent runs of a stochastic method.
[[nodiscard]] std::uint64_t derived_seed(std::uint64_t seed, std::int64_t index);

// int64 [keys, 3], what the ops read.
[[nodiscard]] Tensor random_keys(std::span<const RandomKey> keys);
// "random_normal" or "random_uniform" outside a plan: float64 [keys, dims...].
[[nodiscard]] Tensor random_tensor(const Model& model, std::string_view op, std::span<const RandomKey> keys,
                                   std::int64_t stream, const Dims& dims);

// In a row maker: the op on the rows' keys, which the method binds as the RowInput "random key".
[[nodiscard]] RowInput random_key_input();
[[nodiscard]] ValueId random_rows(RowCtx& c, std::string_view op, std::int64_t stream, const Dims& row_dims);

}  // namespace onnxray
