#include "kernels/cpu/index.h"

#include <cstring>

#include "kernels/cpu/layout_copy.h"
#include "kernels/index_views.h"

namespace onnxray::cpu {
namespace {

// Indices in [0, n), written to scratch so that every outer row reads checked ones.
const std::int64_t* checked(const RunArgs& a, std::int64_t count, std::int64_t n) {
  const auto* index = static_cast<const std::int64_t*>(a.in[1]);
  auto* out = reinterpret_cast<std::int64_t*>(a.scratch);
  for (std::int64_t i = 0; i < count; ++i) out[i] = wrapped_index(index[i], n);
  return out;
}

std::size_t index_bytes(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(std::int64_t); }

Step gather(const PrepareCtx& c) {
  const GatherView v = gather_view(c.dims(0), c.dims(1), c.attrs.integer("axis", 0));
  const std::size_t size = size_of(c.dtype(0));
  const std::size_t bytes = static_cast<std::size_t>(v.block) * size;
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  const auto run = [=](const RunArgs& a) {
    const std::int64_t* index = checked(a, v.count, v.extent);
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / v.block);
    if (v.block == 1) {
      visit_bytes(size, [&]<class U>() {
        const U* x = static_cast<const U*>(a.in[0]);
        U* y = static_cast<U*>(a.out[0]);
        parallel_for(v.outer, std::max<std::int64_t>(1, kGrain / v.count), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t o = begin; o < end; ++o) {
            for (std::int64_t j = 0; j < v.count; ++j) y[o * v.count + j] = x[o * v.extent + index[j]];
          }
        });
      });
      return;
    }
    const auto* x = static_cast<const std::byte*>(a.in[0]);
    auto* y = static_cast<std::byte*>(a.out[0]);
    parallel_for(v.outer * v.count, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t from = k / v.count * v.extent + index[k % v.count];
        std::memcpy(y + static_cast<std::size_t>(k) * bytes, x + static_cast<std::size_t>(from) * bytes, bytes);
      }
    });
  };
  return {run, index_bytes(v.count)};
}

template <class T>
Step index_add(const PrepareCtx& c) {
  const GatherView v = gather_view(c.out_dims(), c.dims(1), c.attrs.integer("axis", 0));
  const std::int64_t n = count_of(c.out_dims());
  const bool none = count_of(c.dims(0)) == 0;
  const auto run = [=](const RunArgs& a) {
    const T* dy = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    std::memset(y, 0, static_cast<std::size_t>(n) * sizeof(T));
    if (none) return;
    const std::int64_t* index = checked(a, v.count, v.extent);
    // Pieces are columns of [outer, block]: each output element is summed in the order of the indices.
    const std::int64_t width = std::min<std::int64_t>(v.block, 1024);
    const std::int64_t strips = (v.block + width - 1) / width;
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (v.count * width));
    parallel_for(v.outer * strips, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t s = begin; s < end; ++s) {
        const std::int64_t o = s / strips, b0 = s % strips * width, b1 = std::min(v.block, b0 + width);
        for (std::int64_t j = 0; j < v.count; ++j) {
          const T* from = dy + (o * v.count + j) * v.block;
          T* to = y + (o * v.extent + index[j]) * v.block;
          for (std::int64_t i = b0; i < b1; ++i) to[i] = static_cast<T>(to[i] + from[i]);
        }
      }
    });
  };
  return {run, none ? 0 : index_bytes(v.count)};
}

}  // namespace

void register_index(Backend& b) {
  b.add("gather", gather);
  b.add("index_add",
        [](const PrepareCtx& c) { return visit_compute(c.dtype(0), [&]<class T>() { return index_add<T>(c); }); });
  register_index_elements(b);
  register_index_select(b);
  register_resample(b);
}

}  // namespace onnxray::cpu
