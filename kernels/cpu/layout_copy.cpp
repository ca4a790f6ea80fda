#include "kernels/cpu/layout_copy.h"

#include <algorithm>

#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {
namespace {

// Walks an index over `dims` (all axes but the last `inner` ones) with two running offsets.
class Walk {
 public:
  Walk(const Dims& dims, const Dims& xs, const Dims& ys, std::size_t axes, std::int64_t position)
      : dims_(dims), xs_(xs), ys_(ys), index_(axes, 0) {
    for (std::size_t d = axes; d-- > 0;) {
      index_[d] = position % dims[d];
      position /= dims[d];
      x += index_[d] * xs[d];
      y += index_[d] * ys[d];
    }
  }
  void next() {
    for (std::size_t d = index_.size(); d-- > 0;) {
      x += xs_[d];
      y += ys_[d];
      if (++index_[d] < dims_[d]) return;
      x -= dims_[d] * xs_[d];
      y -= dims_[d] * ys_[d];
      index_[d] = 0;
    }
  }
  std::int64_t x = 0, y = 0;

 private:
  const Dims &dims_, &xs_, &ys_;
  Dims index_;
};

constexpr std::int64_t kTile = 32;

// y[j * sy + i] = x[i * sx + j] for i below ni and j below nj.
template <class U>
void transpose_block(const U* x, std::int64_t sx, U* y, std::int64_t sy, std::int64_t ni, std::int64_t nj) {
  for (std::int64_t j = 0; j < nj; ++j) {
    for (std::int64_t i = 0; i < ni; ++i) y[j * sy + i] = x[i * sx + j];
  }
}

// Four-byte elements go through registers, 4 x 4 at a time.
template <>
void transpose_block(const std::uint32_t* x, std::int64_t sx, std::uint32_t* y, std::int64_t sy, std::int64_t ni,
                     std::int64_t nj) {
  using Four [[gnu::vector_size(16)]] = std::uint32_t;
  const std::int64_t i4 = ni & ~std::int64_t{3}, j4 = nj & ~std::int64_t{3};
  for (std::int64_t j = 0; j < j4; j += 4) {
    for (std::int64_t i = 0; i < i4; i += 4) {
      Four r[4];
      for (int k = 0; k < 4; ++k) std::memcpy(&r[k], x + (i + k) * sx + j, sizeof(Four));
      const Four a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5),
                 b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
      const Four c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5),
                 d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
      const Four t[4] = {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
                         __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
      for (int k = 0; k < 4; ++k) std::memcpy(y + (j + k) * sy + i, &t[k], sizeof(Four));
    }
    for (std::int64_t k = j; k < j + 4; ++k) {
      for (std::int64_t i = i4; i < ni; ++i) y[k * sy + i] = x[i * sx + k];
    }
  }
  for (std::int64_t j = j4; j < nj; ++j) {
    for (std::int64_t i = 0; i < ni; ++i) y[j * sy + i] = x[i * sx + j];
  }
}

}  // namespace

StridedCopy::StridedCopy(const Dims& dims, const Dims& x_strides, const Dims& y_strides, DType dtype,
                         std::int64_t x_start, std::int64_t y_start)
    : bytes_(size_of(dtype)), x_start_(x_start), y_start_(y_start), count_(count_of(dims)) {
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    if (!dims_.empty() && xs_.back() == dims[i] * x_strides[i] && ys_.back() == dims[i] * y_strides[i]) {
      dims_.back() *= dims[i];
      xs_.back() = x_strides[i];
      ys_.back() = y_strides[i];
    } else {
      dims_.push_back(dims[i]);
      xs_.push_back(x_strides[i]);
      ys_.push_back(y_strides[i]);
    }
  }
  if (dims_.empty()) {
    dims_ = xs_ = ys_ = {1};
  }
  // Where the last axis strides through x while another is contiguous there, small squares keep both in the cache.
  const std::size_t last = dims_.size() - 1;
  if (xs_[last] != 1 && xs_[last] != 0 && ys_[last] == 1 && count_ > 0) {
    for (std::size_t d = 0; d < last; ++d) {
      if (xs_[d] != 1) continue;
      for (Dims* v : {&dims_, &xs_, &ys_})
        std::rotate(v->begin() + static_cast<std::ptrdiff_t>(d), v->begin() + static_cast<std::ptrdiff_t>(d) + 1,
                    v->end() - 1);
      tiled_ = true;
      break;
    }
  }
}

void StridedCopy::operator()(const void* x, void* y) const {
  if (count_ == 0) return;
  visit_bytes(bytes_, [&]<class U>() {
    const U* from = static_cast<const U*>(x) + x_start_;
    U* to = static_cast<U*>(y) + y_start_;
    if (tiled_) {
      tiles(from, to);
    } else {
      rows(from, to);
    }
  });
}

template <class U>
void StridedCopy::rows(const U* x, U* y) const {
  const std::size_t last = dims_.size() - 1;
  const std::int64_t n = dims_[last], sx = xs_[last], sy = ys_[last];
  if (last == 0 && sx == 1 && sy == 1) {
    parallel_for(n, kGrain * 4, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(y + begin, x + begin, static_cast<std::size_t>(end - begin) * sizeof(U));
    });
    return;
  }
  parallel_for(count_ / n, std::max<std::int64_t>(1, kGrain / n), [&](std::int64_t begin, std::int64_t end) {
    Walk w(dims_, xs_, ys_, last, begin);
    for (std::int64_t r = begin; r < end; ++r, w.next()) {
      const U* from = x + w.x;
      U* to = y + w.y;
      if (sx == 1 && sy == 1) {
        if (n <= 8) {  // shorter than a call to memcpy takes
          for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
        } else {
          std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(U));
        }
      } else if (sx == 0 && sy == 1) {
        std::fill_n(to, n, *from);
      } else {
        for (std::int64_t i = 0; i < n; ++i) to[i * sy] = from[i * sx];
      }
    }
  });
}

// The last two axes are (j, i): x has stride 1 along j, y along i.
template <class U>
void StridedCopy::tiles(const U* x, U* y) const {
  const std::size_t last = dims_.size() - 1;
  const std::int64_t ni = dims_[last], nj = dims_[last - 1], sx = xs_[last], sy = ys_[last - 1];
  const std::int64_t strips = (nj + kTile - 1) / kTile;
  const std::int64_t planes = count_ / (ni * nj);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (ni * std::min(nj, kTile)));
  parallel_for(planes * strips, grain, [&](std::int64_t begin, std::int64_t end) {
    Walk w(dims_, xs_, ys_, last - 1, begin / strips);
    for (std::int64_t s = begin; s < end; ++s) {
      const std::int64_t j0 = (s % strips) * kTile, j1 = std::min(nj, j0 + kTile);
      for (std::int64_t i0 = 0; i0 < ni; i0 += kTile) {
        const std::int64_t i1 = std::min(ni, i0 + kTile);
        transpose_block(x + w.x + j0 + i0 * sx, sx, y + w.y + j0 * sy + i0, sy, i1 - i0, j1 - j0);
      }
      if (s % strips == strips - 1) w.next();
    }
  });
}

}  // namespace onnxray::cpu
