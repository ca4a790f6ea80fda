#include "engine/base/philox.h"
#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {
namespace {

struct RowKey {
  Philox philox;
  std::uint64_t hi, lo;
};

RowKey key_of(const std::int64_t* key, std::int64_t stream) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 32;
  ONNXRAY_CHECK(key[1] >= 0 && key[1] < kLimit && key[2] >= 0 && key[2] < kLimit, "random key (example ", key[1],
                ", sample ", key[2], ") is outside [0, 2^32)");
  return {Philox{static_cast<std::uint64_t>(key[0])},
          (static_cast<std::uint64_t>(key[1]) << 32) | static_cast<std::uint64_t>(key[2]),
          static_cast<std::uint64_t>(stream) << 48};
}

float uniform_as(const Philox::Block& b, int half, float) {
  return static_cast<float>(b[static_cast<std::size_t>(2 * half)] >> 8) * 0x1.0p-24f;
}
double uniform_as(const Philox::Block& b, int half, double) { return Philox::uniform(b, half); }

// pair(block) gives elements 2p and 2p + 1.
template <class T, class Pair>
Step random(const PrepareCtx& c, Pair pair) {
  const std::int64_t rows = c.dims(0)[0], stream = c.attrs.integer("stream", 0);
  const std::int64_t size = rows == 0 ? 0 : count_of(c.out_dims()) / rows, pairs = (size + 1) / 2;
  return {[=](const RunArgs& a) {
    const auto* keys = static_cast<const std::int64_t*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    for (std::int64_t r = 0; r < rows; ++r) (void)key_of(keys + 3 * r, stream);
    parallel_for(rows * pairs, kGrain / 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t r = k / pairs, p = k % pairs;
        const RowKey key = key_of(keys + 3 * r, stream);
        const std::array<T, 2> two = pair(key.philox(key.hi, key.lo | static_cast<std::uint64_t>(p)));
        T* to = y + r * size + 2 * p;
        to[0] = two[0];
        if (2 * p + 1 < size) to[1] = two[1];
      }
    });
  }};
}

}  // namespace

void register_random(Backend& b) {
  b.add("random_uniform", [](const PrepareCtx& c) {
    return visit_float(c.out_dtype(), [&]<class T>() {
      return random<T>(c, [](const Philox::Block& block) {
        return std::array<T, 2>{uniform_as(block, 0, T{}), uniform_as(block, 1, T{})};
      });
    });
  });
  b.add("random_normal", [](const PrepareCtx& c) {
    return visit_float(c.out_dtype(), [&]<class T>() {
      return random<T>(c, [](const Philox::Block& block) {
        const auto n = Philox::normals(block);
        return std::array<T, 2>{static_cast<T>(n[0]), static_cast<T>(n[1])};
      });
    });
  });
}

}  // namespace onnxray::cpu
