// paste_at and crop_at (engine/ops/patch.cpp). A thread owns an element of the result and takes it from the patch of
// its row, from the base, or from neither.
#pragma once
#include "engine/ops/conv_window.h"
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// Values as [rows, outer, space, inner], space right-aligned to three axes; outer and inner are everybody's.
struct Patch {
  std::int64_t count = 0;  // elements of the result
  Divider inner, space[3], outer;
  std::int64_t base[3] = {1, 1, 1}, patch[3] = {1, 1, 1};
  int spatial = 0;  // entries of a place, which are those of the last axes
};

// Where row `row`'s rectangle begins along `axis`; without places: 0.
ONNXRAY_DEVICE std::int64_t place_along(const Patch& p, const std::int64_t* places, std::int64_t row, int axis) {
  const int own = axis - 3 + p.spatial;
  return places == nullptr || own < 0 ? 0 : places[row * p.spatial + own];
}

// The result is the window at `at` of the base with the row's patch pasted in at `patch_at`. at and patch may be null.
template <class U>
ONNXRAY_KERNEL(void)
patch_kernel(Patch p, U fill, const U* base, const std::int64_t* at, const U* patch, const std::int64_t* patch_at,
             U* y) {
  for (std::int64_t i = first_item(); i < p.count; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::int64_t e = p.inner.take(rest);
    std::int64_t s[3];
    for (int a = 2; a >= 0; --a) s[a] = p.space[a].take(rest);
    const std::int64_t o = p.outer.take(rest), row = rest;
    bool in_base = true, in_patch = patch != nullptr;
    std::int64_t from_base = o, from_patch = row * std::int64_t{p.outer.divisor} + o;
    for (int a = 0; a < 3; ++a) {
      const std::int64_t b = s[a] + place_along(p, at, row, a), q = b - place_along(p, patch_at, row, a);
      in_base = in_base && b >= 0 && b < p.base[a];
      in_patch = in_patch && q >= 0 && q < p.patch[a];
      from_base = from_base * p.base[a] + b;
      from_patch = from_patch * p.patch[a] + q;
    }
    if (!in_base) y[i] = fill;
    else if (in_patch) y[i] = patch[from_patch * p.inner.divisor + e];
    else y[i] = base[from_base * p.inner.divisor + e];
  }
}

// Inputs of the places of the result's window, of the patch and of its places; 0: none.
[[nodiscard]] inline Step patched(const PrepareCtx& c, std::size_t spatial, std::size_t at, std::size_t patch,
                                  std::size_t patch_at) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 2));
  const Dims& out = c.out_dims();
  Patch p;
  p.count = count_of(out);
  if (p.count == 0) return no_work();
  if (p.count >= kMaxElements) return {};
  const auto space_of = [&](const Dims& d) { return align3(std::span(d).subspan(axis, spatial), 1); };
  const Extents base = space_of(c.dims(0)), window = space_of(out), pasted = space_of(c.dims(patch));
  for (std::size_t a = 0; a < 3; ++a) {
    p.space[a] = Divider(window[a]);
    p.base[a] = base[a];
    p.patch[a] = pasted[a];
  }
  p.outer = Divider(product(out, 1, axis));
  p.inner = Divider(product(out, axis + spatial, out.size()));
  p.spatial = static_cast<int>(spatial);
  const Tensor value = Tensor::full(c.dtype(0), {1}, c.attrs.real("value", 0));
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() -> Step {
    U fill{};
    std::memcpy(&fill, value.raw(), sizeof(U));
    return {[=](const RunArgs& a) {
      const auto values = [&](std::size_t i) { return i == 0 ? nullptr : static_cast<const U*>(a.in[i]); };
      const auto places = [&](std::size_t i) { return i == 0 ? nullptr : static_cast<const std::int64_t*>(a.in[i]); };
      launch(patch_kernel<U>, grid_of(p.count), Dim3{kThreads}, 0, a.stream, p, fill, static_cast<const U*>(a.in[0]),
             places(at), values(patch), places(patch_at), static_cast<U*>(a.out[0]));
    }};
  });
}

inline Step paste_at(const PrepareCtx& c) { return patched(c, static_cast<std::size_t>(c.dims(2)[1]), 0, 1, 2); }

inline Step crop_at(const PrepareCtx& c) {
  const auto spatial = static_cast<std::size_t>(c.dims(1)[1]);
  return c.has(2) ? patched(c, spatial, 1, 2, 3) : patched(c, spatial, 1, 0, 0);
}

void register_patch(Backend& b) {
  b.add("paste_at", paste_at);
  b.add("crop_at", crop_at);
}

}  // namespace onnxray::cuda
