// RandomStream: the random numbers of one sample of a method, Philox counters keyed by (seed, purpose, sample). The
// same for every chunking and, because examples are not part of the key, for an example alone or in a batch.
#pragma once
#include <cstdint>
#include <span>
#include <utility>

#include "engine/base/philox.h"

namespace onnxray {

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
