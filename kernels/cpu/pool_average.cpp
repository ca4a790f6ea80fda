// The mean of each window and its gradient.
#include "kernels/cpu/pool_walk.h"

namespace onnxray::cpu {
namespace {

template <class T>
Step avg_pool(const PrepareCtx& c) {
  const Pool p = pool_of(c, c.dims(0), c.out_dims());
  const std::int64_t unit = p.x.stride[2], cx = p.x.channel_stride, cy = p.y.channel_stride;
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    for_pieces(p, volume(p.y.space),
               [&](std::int64_t n, std::int64_t c0, std::int64_t c1, std::int64_t p0, std::int64_t p1) {
                 for (std::int64_t o = p0; o < p1; ++o) {
                   const Box box = box_at(p, o);
                   const T* from = x + n * p.x.batch_stride;
                   T* to = y + n * p.y.batch_stride + o * p.y.stride[2];
                   for (std::int64_t ch = c0; ch < c1; ++ch) to[ch * cy] = 0;
                   if (box.count == 0) continue;
                   if (cx == 1 && cy == 1) {
                     for_taps(p, box, [&](std::int64_t at) {
                       const T* row = from + at * unit;
                       for (std::int64_t ch = c0; ch < c1; ++ch) to[ch] += row[ch];
                     });
                   } else {
                     for (std::int64_t ch = c0; ch < c1; ++ch) {
                       T s = 0;
                       for_taps(p, box, [&](std::int64_t at) { s += from[at * unit + ch * cx]; });
                       to[ch * cy] = s;
                     }
                   }
                   const T count = static_cast<T>(box.count);
                   for (std::int64_t ch = c0; ch < c1; ++ch) to[ch * cy] /= count;
                 }
               });
  }};
}

template <class T>
Step avg_pool_grad(const PrepareCtx& c) {
  const Pool p = pool_of(c, c.out_dims(), c.dims(0));
  const std::int64_t in = volume(p.x.space), out = volume(p.y.space);
  return {[=](const RunArgs& a) {
    const T* dy = static_cast<const T*>(a.in[0]);
    T* dx = static_cast<T*>(a.out[0]);
    const std::int64_t run = p.channels_last ? 64 : 1;
    const std::int64_t runs = (p.channels + run - 1) / run;
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, run * (in + out)));
    const std::int64_t cx = p.x.channel_stride, cy = p.y.channel_stride;
    parallel_for(p.batch * runs, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t n = i / runs, c0 = i % runs * run, c1 = std::min(p.channels, c0 + run);
        T* to = dx + n * p.x.batch_stride;
        const T* from = dy + n * p.y.batch_stride;
        for (std::int64_t s = 0; s < in; ++s) {
          for (std::int64_t ch = c0; ch < c1; ++ch) to[s * p.x.stride[2] + ch * cx] = 0;
        }
        for (std::int64_t o = 0; o < out; ++o) {
          const Box box = box_at(p, o);
          if (box.count == 0) continue;
          const T count = static_cast<T>(box.count);
          for_taps(p, box, [&](std::int64_t at) {
            for (std::int64_t ch = c0; ch < c1; ++ch) {
              to[at * p.x.stride[2] + ch * cx] += from[o * p.y.stride[2] + ch * cy] / count;
            }
          });
        }
      }
    });
  }};
}

}  // namespace

void register_average_pool(Backend& b) {
  b.add("avg_pool",
        [](const PrepareCtx& c) { return visit_float(c.dtype(0), [&]<class T>() { return avg_pool<T>(c); }); });
  b.add("avg_pool_grad",
        [](const PrepareCtx& c) { return visit_float(c.dtype(0), [&]<class T>() { return avg_pool_grad<T>(c); }); });
}

}  // namespace onnxray::cpu