// Random draws of methods: Philox counters (engine/base/philox.h), so that no draw depends on the batch or the chunk.
// What is drawn says which of two keys it has:
//   RandomKey     (seed, example, sample, stream, element): what belongs to an example, such as noise on its values.
//                 Elements are drawn in any order, in a plan by the ops random_uniform and random_normal
//                 (engine/ops/random.cpp) or here.
//   RandomStream  (seed, purpose, sample): what all examples share, such as coalitions and masks: an example has the
//                 same ones alone and in a batch, and rows are equal across examples. Drawn one after the other, since
//                 how many numbers a shuffle or a rejection takes is not known beforehand.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "algorithms/row_program.h"
#include "engine/base/philox.h"

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

class RandomStream {
 public:
  // purpose tells the streams of one method apart, below 2^16; sample below 2^48.
  RandomStream(std::uint64_t seed, std::uint64_t purpose, std::int64_t sample)
      : philox_{seed}, hi_((purpose << 48) | static_cast<std::uint64_t>(sample)) {}

  // Uniform in [0, 1).
  [[nodiscard]] double uniform() {
    if (half_ == 0) block_ = philox_(hi_, lo_++);
    const double u = Philox::uniform(block_, half_);
    half_ ^= 1;
    return u;
  }
  // Uniform in 0..n-1.
  [[nodiscard]] std::int64_t below(std::int64_t n) {
    const auto k = static_cast<std::int64_t>(uniform() * static_cast<double>(n));
    return k < n ? k : n - 1;
  }
  // Fisher and Yates.
  template <class T>
  void shuffle(std::span<T> v) {
    for (std::size_t i = v.size(); i > 1; --i)
      std::swap(v[i - 1], v[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
  }

 private:
  Philox philox_;
  std::uint64_t hi_, lo_ = 0;
  Philox::Block block_{};
  int half_ = 0;
};

}  // namespace onnxray
