// Textbook convolution and pooling in float64: one loop per index, straight from the definitions.
#pragma once
#include <functional>
#include <limits>
#include <vector>

#include "tests/ops/sample.h"

namespace onnxray::testing {

// A sliding window over three axes (missing leading ones have extent 1), and the two layouts.
struct Slide {
  std::int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, begin[3] = {0, 0, 0},
               end[3] = {0, 0, 0};
  bool last = false;
  std::size_t rank = 0;

  Slide(const Attrs& a, const std::vector<std::int64_t>& k) : last(a.integer("channels_last", 0) != 0), rank(k.size()) {
    const auto s = a.ints("strides", std::vector<std::int64_t>(rank, 1));
    const auto d = a.ints("dilations", std::vector<std::int64_t>(rank, 1));
    const auto p = a.ints("pads", std::vector<std::int64_t>(2 * rank, 0));
    for (std::size_t i = 0; i < rank; ++i) {
      const std::size_t o = i + 3 - rank;
      kernel[o] = k[i];
      stride[o] = s[i];
      dilation[o] = d[i];
      begin[o] = p[i];
      end[o] = p[i + rank];
    }
  }
};

// An array seen as [N, C, D, H, W].
struct Image {
  std::int64_t n = 0, c = 0, e[3] = {1, 1, 1};
  bool last = false;

  Image(const Dims& d, bool channels_last) : last(channels_last) {
    n = d[0];
    c = last ? d.back() : d[1];
    const std::size_t rank = d.size() - 2;
    for (std::size_t i = 0; i < rank; ++i) e[i + 3 - rank] = d[i + (last ? 1 : 2)];
  }
  [[nodiscard]] std::size_t at(std::int64_t in, std::int64_t ic, std::int64_t z, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(last ? (((in * e[0] + z) * e[1] + y) * e[2] + x) * c + ic
                                         : (((in * c + ic) * e[0] + z) * e[1] + y) * e[2] + x);
  }
  [[nodiscard]] bool inside(const std::int64_t p[3]) const {
    for (int i = 0; i < 3; ++i) {
      if (p[i] < 0 || p[i] >= e[i]) return false;
    }
    return true;
  }
};

// Calls body(o, t, p) for every output position o, tap t and the input position p it reads (maybe outside).
template <class F>
void slide(const Slide& s, const Image& out, const F& body) {
  for (std::int64_t a = 0; a < out.e[0]; ++a)
    for (std::int64_t b = 0; b < out.e[1]; ++b)
      for (std::int64_t c = 0; c < out.e[2]; ++c)
        for (std::int64_t i = 0; i < s.kernel[0]; ++i)
          for (std::int64_t j = 0; j < s.kernel[1]; ++j)
            for (std::int64_t k = 0; k < s.kernel[2]; ++k) {
              const std::int64_t o[3] = {a, b, c}, t[3] = {i, j, k};
              std::int64_t p[3];
              for (int d = 0; d < 3; ++d) p[d] = o[d] * s.stride[d] - s.begin[d] + t[d] * s.dilation[d];
              body(o, t, p);
            }
}

// body(y index, w index, x index) for every product of the convolution y = w * x.
template <class F>
void convolve(const Attrs& attrs, const Dims& x_dims, const Dims& w_dims, const Dims& y_dims, const F& body) {
  const Slide s(attrs, {w_dims.begin() + 2, w_dims.end()});
  const Image x(x_dims, s.last), y(y_dims, s.last);
  const std::int64_t group = attrs.integer("group", 1), cg = x.c / group, kg = y.c / group;
  for (std::int64_t n = 0; n < y.n; ++n)
    for (std::int64_t k = 0; k < y.c; ++k)
      for (std::int64_t c = 0; c < cg; ++c)
        slide(s, y, [&](const std::int64_t o[3], const std::int64_t t[3], const std::int64_t p[3]) {
          if (!x.inside(p)) return;
          const std::int64_t w = (((k * cg + c) * s.kernel[0] + t[0]) * s.kernel[1] + t[1]) * s.kernel[2] + t[2];
          body(y.at(n, k, o[0], o[1], o[2]), static_cast<std::size_t>(w), x.at(n, k / kg * cg + c, p[0], p[1], p[2]));
        });
}

}  // namespace onnxray::testing
