// Pooling's walk over window positions, in either layout: planes (NCHW) and channel runs (NHWC).
#pragma once
#include <algorithm>

#include "kernels/cpu/conv_problem.h"

namespace onnxray::cpu {

struct Pool {
  ConvSide x, y;
  Window window;
  bool channels_last = false, include_pad = false;
  std::int64_t batch = 0, channels = 0, divisor = 0;
};

inline Pool pool_of(const PrepareCtx& c, const Dims& x, const Dims& y) {
  Pool p;
  p.channels_last = is_channels_last(c.attrs);
  p.x = conv_side(x, 1, p.channels_last);
  p.y = conv_side(y, 1, p.channels_last);
  p.batch = x[0];
  p.channels = p.x.channels;
  if (c.attrs.has("kernel")) p.window = read_window(c.attrs, c.attrs.ints("kernel"));
  p.include_pad = c.attrs.integer("count_include_pad", 0) != 0;
  p.divisor = c.attrs.integer("divisor", 0);
  return p;
}

// The taps of one window that lie inside the input, as start and step per axis, and the plain mean's divisor.
struct Box {
  TapRange r[3];
  std::int64_t start[3];
  std::int64_t count = 1;
};

inline Box box_at(const Pool& p, std::int64_t position) {
  Box b;
  for (std::size_t a = 3; a-- > 0;) {
    const Window& w = p.window;
    b.start[a] = position % p.y.space[a] * w.stride[a] - w.begin[a];
    position /= p.y.space[a];
    b.r[a] = taps_inside(b.start[a], w.kernel[a], w.dilation[a], 0, p.x.space[a]);
    const TapRange padded = taps_inside(b.start[a], w.kernel[a], w.dilation[a], -w.begin[a], p.x.space[a] + w.end[a]);
    b.count *= p.include_pad ? padded.last - padded.first : b.r[a].last - b.r[a].first;
  }
  if (p.divisor > 0) b.count = p.divisor;
  return b;
}

// body(flat index in the spatial plane) for every tap inside.
template <class F>
void for_taps(const Pool& p, const Box& b, const F& body) {
  const Window& w = p.window;
  for (std::int64_t d = b.r[0].first; d < b.r[0].last; ++d) {
    for (std::int64_t h = b.r[1].first; h < b.r[1].last; ++h) {
      const std::int64_t row =
          ((b.start[0] + d * w.dilation[0]) * p.x.space[1] + b.start[1] + h * w.dilation[1]) * p.x.space[2];
      for (std::int64_t v = b.r[2].first; v < b.r[2].last; ++v) body(row + b.start[2] + v * w.dilation[2]);
    }
  }
}

inline std::int64_t volume(const Extents& e) { return e[0] * e[1] * e[2]; }

// Work is cut into (image, channel) planes, or (image, position) channel runs when channels come last.
// body(image, c0, c1, p0, p1): channels and output positions of the piece.
template <class F>
void for_pieces(const Pool& p, std::int64_t positions, const F& body) {
  if (p.channels_last) {
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, p.channels));
    const std::int64_t pieces = (positions + grain - 1) / grain;
    parallel_for(p.batch * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t p0 = i % pieces * grain;
        body(i / pieces, std::int64_t{0}, p.channels, p0, std::min(positions, p0 + grain));
      }
    });
    return;
  }
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, positions));
  parallel_for(p.batch * p.channels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      body(i / p.channels, i % p.channels, i % p.channels + 1, std::int64_t{0}, positions);
    }
  });
}

}  // namespace onnxray::cpu
