// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
// A number depends only on (key, counter): the same on every device and for every chunking.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace onnxray {

struct Philox {
  std::uint64_t seed = 0;

  using Block = std::array<std::uint32_t, 4>;
  // Four random words for the counter (hi, lo).
  [[nodiscard]] Block operator()(std::uint64_t hi, std::uint64_t lo) const {
    Block c{static_cast<std::uint32_t>(lo), static_cast<std::uint32_t>(lo >> 32), static_cast<std::uint32_t>(hi),
            static_cast<std::uint32_t>(hi >> 32)};
    auto k0 = static_cast<std::uint32_t>(seed);
    auto k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }
  // Uniform in [0, 1) with 53 bits, from words 2*half and 2*half+1 of the block.
  [[nodiscard]] static double uniform(const Block& b, int half) {
    const std::uint64_t bits = (std::uint64_t{b[2 * half]} << 32) | b[2 * half + 1];
    return static_cast<double>(bits >> 11) * 0x1.0p-53;
  }
  // Two independent standard normal numbers (Box-Muller) from a whole block.
  [[nodiscard]] static std::array<double, 2> normals(const Block& b) {
    const double u = 1.0 - uniform(b, 0);  // (0, 1]
    const double radius = std::sqrt(-2.0 * std::log(u)), angle = 6.283185307179586476925286766559 * uniform(b, 1);
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }
  // The first of them.
  [[nodiscard]] static double normal(const Block& b) { return normals(b)[0]; }
};

}  // namespace onnxray
