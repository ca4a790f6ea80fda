// paste_at and crop_at: line by line along the last spatial axis, in runs that are contiguous in either layout.
#include <cstring>

#include "engine/ops/conv_window.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/layout_copy.h"

namespace onnxray::cpu {
namespace {

// [1 or rows, outer, space, inner], space right-aligned to three axes.
struct Layout {
  std::int64_t outer = 1, inner = 1;
  Extents space{1, 1, 1};

  Layout(const Dims& dims, std::size_t axis, std::size_t spatial)
      : outer(product(dims, 1, axis)),
        inner(product(dims, axis + spatial, dims.size())),
        space(align3(std::span(dims).subspan(axis, spatial), 1)) {}
};

struct Problem {
  std::int64_t rows = 0;
  std::size_t spatial = 0;
  Layout base, out, patch;
  // Input indices; 0: none.
  std::size_t at_input = 0, patch_input = 0, patch_at_input = 0;
};

// `fill` is one element.
template <class U>
Step run_lines(const Problem& p, U fill) {
  return {[=](const RunArgs& a) {
    const U* base = static_cast<const U*>(a.in[0]);
    const U* patch = p.patch_input != 0 ? static_cast<const U*>(a.in[p.patch_input]) : nullptr;
    const auto places = [&](std::size_t input, std::int64_t r) {
      Extents at{0, 0, 0};
      if (input == 0) return at;
      const auto* v = static_cast<const std::int64_t*>(a.in[input]) + r * static_cast<std::int64_t>(p.spatial);
      for (std::size_t i = 0; i < p.spatial; ++i) at[3 - p.spatial + i] = v[i];
      return at;
    };
    U* out = static_cast<U*>(a.out[0]);
    const std::int64_t inner = p.out.inner, width = p.out.space[2];
    const std::int64_t per_row = p.out.outer * p.out.space[0] * p.out.space[1];
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width * inner));
    parallel_for(p.rows * per_row, grain, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t row = -1;
      Extents at{}, patch_at{};
      for (std::int64_t k = begin; k < end; ++k) {
        if (k / per_row != row) {
          row = k / per_row;
          at = places(p.at_input, row);
          patch_at = places(p.patch_at_input, row);
        }
        U* to = out + k * width * inner;
        const std::int64_t y = k % p.out.space[1] + at[1];
        const std::int64_t z = k / p.out.space[1] % p.out.space[0] + at[0];
        const std::int64_t o = k % per_row / (p.out.space[0] * p.out.space[1]);
        const auto copy = [&](const U* from, std::int64_t first, std::int64_t last) {
          if (last > first)
            std::memcpy(to + first * inner, from, static_cast<std::size_t>((last - first) * inner) * sizeof(U));
        };
        if (z < 0 || z >= p.base.space[0] || y < 0 || y >= p.base.space[1]) {
          std::fill(to, to + width * inner, fill);
          continue;
        }
        // Positions [x0, x1) of this line exist in the base, [p0, p1) of them in the patch.
        const std::int64_t x0 = std::clamp<std::int64_t>(-at[2], 0, width);
        const std::int64_t x1 = std::clamp<std::int64_t>(p.base.space[2] - at[2], x0, width);
        std::int64_t p0 = x1, p1 = x1;
        const std::int64_t pz = z - patch_at[0], py = y - patch_at[1], px = patch_at[2] - at[2];
        if (patch != nullptr && pz >= 0 && pz < p.patch.space[0] && py >= 0 && py < p.patch.space[1]) {
          p0 = std::clamp(px, x0, x1);
          p1 = std::clamp(px + p.patch.space[2], p0, x1);
        }
        std::fill(to, to + x0 * inner, fill);
        std::fill(to + x1 * inner, to + width * inner, fill);
        const std::int64_t line = ((o * p.base.space[0] + z) * p.base.space[1] + y) * p.base.space[2] + at[2];
        copy(base + (line + x0) * inner, x0, p0);
        copy(base + (line + p1) * inner, p1, x1);
        if (p1 > p0) {
          const std::int64_t at_line = ((row * p.patch.outer + o) * p.patch.space[0] + pz) * p.patch.space[1] + py;
          copy(patch + (at_line * p.patch.space[2] + p0 - px) * inner, p0, p1);
        }
      }
    });
  }};
}

Step lines(const PrepareCtx& c, const Problem& p) {
  const Tensor fill = Tensor::full(c.dtype(0), {1}, c.attrs.real("value", 0));
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() {
    U element;
    std::memcpy(&element, fill.raw(), sizeof(U));
    return run_lines<U>(p, element);
  });
}

Step paste_at(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 2));
  const auto spatial = static_cast<std::size_t>(c.dims(2)[1]);
  return lines(c, {c.out_dims()[0], spatial, Layout(c.dims(0), axis, spatial), Layout(c.out_dims(), axis, spatial),
                   Layout(c.dims(1), axis, spatial), 0, 1, 2});
}

Step crop_at(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 2));
  const auto spatial = static_cast<std::size_t>(c.dims(1)[1]);
  const bool patched = c.has(2);
  return lines(c, {c.out_dims()[0], spatial, Layout(c.dims(0), axis, spatial), Layout(c.out_dims(), axis, spatial),
                   Layout(c.dims(patched ? 2 : 0), axis, spatial), 1, patched ? std::size_t{2} : std::size_t{0},
                   patched ? std::size_t{3} : std::size_t{0}});
}

}  // namespace

void register_patch(Backend& b) {
  b.add("paste_at", paste_at);
  b.add("crop_at", crop_at);
}

}  // namespace onnxray::cpu
