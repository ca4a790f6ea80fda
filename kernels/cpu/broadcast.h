// Broadcasting for elementwise kernels. Axes that all operands treat alike are merged first, so that the common cases
// (equal shapes, scalars, channels of NCHW or NHWC data, row vectors) become one or two plain loops.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/backend.h"
#include "engine/base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vectorise.h"

namespace onnxray::cpu {

// Elements that a block of temporaries holds: a few of them fit the first-level cache.
inline constexpr std::int64_t kBlock = 1024;

// The output's index space with axes merged; stride[k][d] is operand k's, 0 where it is broadcast.
struct MergedAxes {
  Dims dims;
  std::vector<Dims> strides;
};
[[nodiscard]] MergedAxes merge_axes(const Dims& out, const std::vector<Dims>& operands);

// One operand as the flat output sees it.
class Operand {
 public:
  enum class Kind { kFlat, kScalar, kGeneral };
  Operand() = default;
  Operand(const Dims& dims, const Dims& out);
  [[nodiscard]] Kind kind() const { return kind_; }

  // Elements [begin, begin + n) of the broadcast operand, contiguous: in place, or copied into buffer (n elements).
  template <class T>
  [[nodiscard]] const T* fetch(const void* base, std::int64_t begin, std::int64_t n, T* buffer) const {
    const T* x = static_cast<const T*>(base);
    if (kind_ == Kind::kFlat) return x + begin;
    if (kind_ == Kind::kScalar) {
      std::fill(buffer, buffer + n, x[0]);
    } else {
      gather(x, begin, n, buffer);
    }
    return buffer;
  }

 private:
  template <class T>
  void gather(const T* x, std::int64_t begin, std::int64_t n, T* buffer) const;

  Kind kind_ = Kind::kFlat;
  Dims dims_, strides_;      // merged; the innermost stride is 0 or 1
  std::int64_t period_ = 0;  // > 0: the elements repeat with this period (the outer axis alone is broadcast)
};

template <class T>
void Operand::gather(const T* x, std::int64_t begin, std::int64_t n, T* buffer) const {
  const std::size_t inner = dims_.size() - 1;
  const std::int64_t extent = dims_[inner];
  const bool copies = strides_[inner] != 0;
  std::int64_t rest = begin / extent, i = begin % extent, done = 0;
  while (done < n) {
    std::int64_t offset = 0, r = rest;
    for (std::size_t d = inner; d-- > 0;) {
      offset += r % dims_[d] * strides_[d];
      r /= dims_[d];
    }
    const std::int64_t run = std::min(extent - i, n - done);
    if (copies) {
      const T* from = x + offset + i;
      for (std::int64_t k = 0; k < run; ++k) buffer[done + k] = from[k];
    } else {
      const T value = x[offset];
      for (std::int64_t k = 0; k < run; ++k) buffer[done + k] = value;
    }
    done += run;
    i = 0;
    ++rest;
    if (period_ > 0 && done >= period_) {
      for (std::int64_t have = done - done % period_; have < n;) {
        const std::int64_t more = std::min(have, n - have);
        std::memcpy(buffer + have, buffer, static_cast<std::size_t>(more) * sizeof(T));
        have += more;
      }
      return;
    }
  }
}

// Calls block(begin, n) over [0, count) in pieces of at most kBlock, on several threads.
template <class Block>
void for_blocks(std::int64_t count, const Block& block) {
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += kBlock) block(i, std::min(kBlock, end - i));
  });
}

// z = f(x, y) for any element types, broadcasting.
template <class F, class X, class Y, class Z>
Step binary_step(const PrepareCtx& c, F f) {
  const std::int64_t count = count_of(c.out_dims());
  const Operand ox(c.dims(0), c.out_dims()), oy(c.dims(1), c.out_dims());
  return {[=](const RunArgs& a) {
    Z* z = static_cast<Z*>(a.out[0]);
    for_blocks(count, [&](std::int64_t begin, std::int64_t n) {
      X bx[kBlock];
      Y by[kBlock];
      const X* x = ox.fetch(a.in[0], begin, n, bx);
      const Y* y = oy.fetch(a.in[1], begin, n, by);
      for (std::int64_t i = 0; i < n; ++i) z[begin + i] = f(x[i], y[i]);
    });
  }};
}

// w = f(x, y, z), broadcasting.
template <class F, class X, class Y, class W>
Step ternary_step(const PrepareCtx& c, F f) {
  const std::int64_t count = count_of(c.out_dims());
  const Operand ox(c.dims(0), c.out_dims()), oy(c.dims(1), c.out_dims()), oz(c.dims(2), c.out_dims());
  return {[=](const RunArgs& a) {
    W* w = static_cast<W*>(a.out[0]);
    for_blocks(count, [&](std::int64_t begin, std::int64_t n) {
      X bx[kBlock];
      Y by[kBlock], bz[kBlock];
      const X* x = ox.fetch(a.in[0], begin, n, bx);
      const Y* y = oy.fetch(a.in[1], begin, n, by);
      const Y* z = oz.fetch(a.in[2], begin, n, bz);
      W* to = w + begin;
      ONNXRAY_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) to[i] = f(x[i], y[i], z[i]);
    });
  }};
}

// y = f(x).
template <class F, class X, class Y>
Step unary_step(const PrepareCtx& c, F f) {
  const std::int64_t count = count_of(c.out_dims());
  return {[=](const RunArgs& a) {
    const X* x = static_cast<const X*>(a.in[0]);
    Y* y = static_cast<Y*>(a.out[0]);
    parallel_for(count, kGrain, [=](std::int64_t begin, std::int64_t end) {
      ONNXRAY_INDEPENDENT
      for (std::int64_t i = begin; i < end; ++i) y[i] = f(x[i]);
    });
  }};
}

}  // namespace onnxray::cpu
