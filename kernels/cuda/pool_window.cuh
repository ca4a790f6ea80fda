// Max pooling by the usual windows over channels-last images: K x K taps at stride S, unrolled, so that all loads of a
// thread are on their way together.
#pragma once
#include "kernels/cuda/pool_walk.cuh"

namespace onnxray::cuda {

// Backward, a thread owns S x S neighbouring positions of x, the step of one window, and reads each argmax and
// cotangent around them once.
struct WindowTiles {
  Divider across, down;
  std::int64_t count = 0;  // threads' worth
};
[[nodiscard]] inline WindowTiles window_tiles(const Pool& p) {
  const auto along = [&](int a) { return ceil_div(p.x.space[a] + p.begin[a], p.stride[a]); };
  const std::int64_t images = p.count / (p.channels * p.x.positions);
  WindowTiles t{Divider(along(2)), Divider(along(1)), 0};
  t.count = images * along(1) * along(2) * (p.channels / p.width);
  return t;
}

// Whether the pooling is by K x K windows at stride S in a plane.
[[nodiscard]] inline bool is_window(const Pool& p, std::int32_t kernel, std::int32_t stride) {
  bool is = p.has_window && p.channels_last && p.x.space[0] == 1 && p.kernel[0] == 1 && p.begin[0] == 0;
  for (int a = 1; a < 3; ++a) is = is && p.kernel[a] == kernel && p.stride[a] == stride && p.dilation[a] == 1;
  return is;
}

template <class T, int W, int K, int S, class Arg>
ONNXRAY_KERNEL(void)
max_pool_window_kernel(Pool p, T lowest, const T* x, T* y, Arg* arg) {
  for (std::int64_t i = first_item(); i < p.count / W; i += item_step()) {
    std::int32_t n, c, o, at[3];
    p.split(i, n, c, o);
    p.y.coordinates(o, at);
    const std::int32_t h0 = at[1] * S - p.begin[1], w0 = at[2] * S - p.begin[2], first = p.x.flat(0, h0, w0);
    const T* from = x + p.x.plane(n, c);
    Pack<T, W> v[K][K];
    bool inside[K][K];
#pragma unroll
    for (int j = 0; j < K; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        inside[j][k] = h0 + j >= 0 && h0 + j < p.x.space[1] && w0 + k >= 0 && w0 + k < p.x.space[2];
        if (inside[j][k]) v[j][k] = load_pack<T, W>(from + (first + j * p.x.space[2] + k) * p.x.unit);
      }
    }
    Winner<T, W> winner(lowest);
#pragma unroll
    for (int j = 0; j < K; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        if (inside[j][k]) winner.offer(v[j][k], kTaps<Arg> ? j * K + k : first + j * p.x.space[2] + k);
      }
    }
    if (y != nullptr) store_pack<T, W>(y + i * W, winner.best);
    if (arg != nullptr) store_arg<W>(arg + i * W, winner.at);
  }
}

template <class T, int W, int K, int S, class Arg>
ONNXRAY_KERNEL(void)
max_pool_grad_window_kernel(Pool p, WindowTiles tiles, FaultSlot fault, const T* dy, const Arg* arg, T* dx) {
  constexpr int kWindows = (K + S - 1) / S;  // along an axis, that reach into a tile
  for (std::int64_t i = first_item(); i < tiles.count; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const auto c = static_cast<std::int32_t>(p.groups.take(rest)) * W;
    const auto across = static_cast<std::int32_t>(tiles.across.take(rest));
    const auto down = static_cast<std::int32_t>(tiles.down.take(rest));
    const auto n = static_cast<std::int32_t>(rest);
    const std::int64_t base = p.y.plane(n, c);
    const std::int32_t h0 = down * S - p.begin[1], w0 = across * S - p.begin[2], first = p.x.flat(0, h0, w0);
    T sum[S][S][W] = {};
#pragma unroll
    for (int j = 0; j < kWindows; ++j) {
      const std::int32_t oh = down - (kWindows - 1) + j;
#pragma unroll
      for (int k = 0; k < kWindows; ++k) {
        const std::int32_t ow = across - (kWindows - 1) + k;
        if (oh < 0 || oh >= p.y.space[1] || ow < 0 || ow >= p.y.space[2]) continue;
        const std::int32_t o = p.y.flat(0, oh, ow) * p.y.unit;
        std::int64_t won[W];
        load_arg<W>(arg + base + o, won);
        const auto v = load_pack<T, W>(dy + base + o);
        if constexpr (kTaps<Arg>) {
          // The tap of this window that lies on position (r, q) of the tile.
          const int down0 = (kWindows - 1 - j) * S, across0 = (kWindows - 1 - k) * S;
          for (int e = 0; e < W; ++e) {
            if (won[e] >= K * K && won[e] != kNoTap) report(fault, won[e]);
#pragma unroll
            for (int r = 0; r < S; ++r) {
#pragma unroll
              for (int q = 0; q < S; ++q) {
                const int th = r + down0, tw = q + across0;
                if (th < K && tw < K && won[e] == th * K + tw) sum[r][q][e] += v.v[e];
              }
            }
          }
          continue;
        }
        std::int64_t most = won[0];
        for (int e = 1; e < W; ++e) most = won[e] > most ? won[e] : most;
        if (most >= p.x.positions) report(fault, most);
        for (int e = 0; e < W; ++e) {
          const std::int32_t at =
              won[e] >= 0 && won[e] < p.x.positions ? static_cast<std::int32_t>(won[e]) - first : -1;
#pragma unroll
          for (int r = 0; r < S; ++r) {
#pragma unroll
            for (int q = 0; q < S; ++q) {
              if (at == r * p.x.space[2] + q) sum[r][q][e] += v.v[e];
            }
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < S; ++r) {
#pragma unroll
      for (int q = 0; q < S; ++q) {
        const std::int32_t h = h0 + r, w = w0 + q;
        if (h < 0 || h >= p.x.space[1] || w < 0 || w >= p.x.space[2]) continue;
        store_pack<T, W>(dx + p.x.plane(n, c) + p.x.flat(0, h, w) * p.x.unit, sum[r][q]);
      }
    }
  }
}

}  // namespace onnxray::cuda
