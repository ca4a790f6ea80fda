// Philox numbers (engine/ops/random.cpp), the host's to the bit where they are uniform.
#pragma once
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// Philox4x32-10 at the counter (hi, lo), as engine/base/philox.h, whose std::array kernels cannot use.
ONNXRAY_HD void philox(std::uint64_t seed, std::uint64_t hi, std::uint64_t lo, std::uint32_t (&c)[4]) {
  c[0] = static_cast<std::uint32_t>(lo);
  c[1] = static_cast<std::uint32_t>(lo >> 32);
  c[2] = static_cast<std::uint32_t>(hi);
  c[3] = static_cast<std::uint32_t>(hi >> 32);
  auto k0 = static_cast<std::uint32_t>(seed);
  auto k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    const std::uint32_t c1 = c[1], c3 = c[3];
    c[0] = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c[1] = static_cast<std::uint32_t>(p1);
    c[2] = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c[3] = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}
// In [0, 1) with 53 bits.
ONNXRAY_HD double uniform53(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>(((std::uint64_t{high} << 32) | low) >> 11) * 0x1.0p-53;
}

struct Uniform {
  ONNXRAY_HD static void pair(const std::uint32_t (&c)[4], float (&two)[2]) {
    two[0] = static_cast<float>(c[0] >> 8) * 0x1.0p-24f;
    two[1] = static_cast<float>(c[2] >> 8) * 0x1.0p-24f;
  }
  ONNXRAY_HD static void pair(const std::uint32_t (&c)[4], double (&two)[2]) {
    two[0] = uniform53(c[0], c[1]);
    two[1] = uniform53(c[2], c[3]);
  }
};
// Box-Muller, in float64.
struct Normal {
  template <class T>
  ONNXRAY_HD static void pair(const std::uint32_t (&c)[4], T (&two)[2]) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform53(c[0], c[1])));
    const double angle = 6.283185307179586476925286766559 * uniform53(c[2], c[3]);
    two[0] = static_cast<T>(radius * std::cos(angle));
    two[1] = static_cast<T>(radius * std::sin(angle));
  }
};

// A thread makes elements 2p and 2p + 1 of a row from one block.
template <class Kind, class T>
ONNXRAY_KERNEL(void)
random_kernel(std::int64_t rows, std::int64_t size, std::int64_t pairs, std::uint64_t stream, FaultSlot fault,
              const std::int64_t* keys, T* y) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 32;
  for (std::int64_t i = first_item(); i < rows * pairs; i += item_step()) {
    const std::int64_t r = i / pairs, p = i % pairs;
    const std::int64_t example = checked_index(keys[3 * r + 1], kLimit, fault);
    const std::int64_t sample = checked_index(keys[3 * r + 2], kLimit, fault);
    std::uint32_t block[4];
    T two[2];
    philox(static_cast<std::uint64_t>(keys[3 * r]),
           (static_cast<std::uint64_t>(example) << 32) | static_cast<std::uint64_t>(sample),
           stream << 48 | static_cast<std::uint64_t>(p), block);
    Kind::pair(block, two);
    T* to = y + r * size + 2 * p;
    to[0] = two[0];
    if (2 * p + 1 < size) to[1] = two[1];
  }
}

template <class Kind>
Step random(const PrepareCtx& c) {
  const std::int64_t rows = c.dims(0)[0], total = count_of(c.out_dims());
  if (total == 0) return no_work();
  const std::int64_t size = total / rows, pairs = (size + 1) / 2;
  const auto stream = static_cast<std::uint64_t>(c.attrs.integer("stream", 0));
  return visit_float(c.out_dtype(), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(random_kernel<Kind, T>, grid_of(rows * pairs), Dim3{kThreads}, 0, a.stream, rows, size, pairs, stream,
             fault_of(a), static_cast<const std::int64_t*>(a.in[0]), static_cast<T*>(a.out[0]));
    }};
  });
}

void register_random(Backend& b) {
  b.add("random_uniform", random<Uniform>);
  b.add("random_normal", random<Normal>);
}

}  // namespace onnxray::cuda
