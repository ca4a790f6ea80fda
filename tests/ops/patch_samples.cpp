// Rectangles per row: paste_at and crop_at, element by element from their definitions.
#include "tests/ops/reference/walk.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

// Where one row's rectangle begins, per spatial axis.
Ints place(const Array& places, std::int64_t row) {
  Ints at;
  for (std::int64_t a = 0; a < places.dims[1]; ++a) {
    at.push_back(static_cast<std::int64_t>(get(places, {row, a})));
  }
  return at;
}

// Element i = (row, ..., space, ...) of the base with the row's patch pasted in, or `outside`.
double pasted(const Array& base, const Array* patch, const Array* places, Dims i, std::size_t axis, std::size_t spatial,
              double outside) {
  for (std::size_t a = axis; a < axis + spatial; ++a) {
    if (i[a] < 0 || i[a] >= base.dims[a]) return outside;
  }
  if (patch != nullptr) {
    const Ints at = place(*places, i[0]);
    Dims p = i;
    bool inside = true;
    for (std::size_t a = 0; a < spatial; ++a) {
      p[axis + a] -= at[a];
      inside = inside && p[axis + a] >= 0 && p[axis + a] < patch->dims[axis + a];
    }
    if (inside) return get(*patch, p);
  }
  i[0] = 0;
  return get(base, i);
}

std::vector<Array> paste_at(const std::vector<Array>& in, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("axis", 2));
  const auto spatial = static_cast<std::size_t>(in[2].dims[1]);
  Dims out = in[0].dims;
  out[0] = in[2].dims[0];
  return {make(out, [&](const Dims& i) { return pasted(in[0], &in[1], &in[2], i, axis, spatial, 0); })};
}

std::vector<Array> crop_at(const std::vector<Array>& in, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("axis", 2));
  const Ints sizes = attrs.ints("sizes");
  Dims out = in[0].dims;
  out[0] = in[1].dims[0];
  for (std::size_t a = 0; a < sizes.size(); ++a) out[axis + a] = sizes[a];
  const bool patched = in.size() > 2;
  return {make(out, [&](Dims i) {
    const Ints at = place(in[1], i[0]);
    for (std::size_t a = 0; a < at.size(); ++a) i[axis + a] += at[a];
    return pasted(in[0], patched ? &in[2] : nullptr, patched ? &in[3] : nullptr, i, axis, sizes.size(),
                  attrs.real("value", 0));
  })};
}

SampleInput places(std::int64_t rows, std::int64_t spatial, double lo, double hi) {
  return {.dtype = DType::i64, .dims = {rows, spatial}, .lo = lo, .hi = hi};
}

OpCase paste_at_case() {
  // Places from lo to hi on every axis.
  const auto of = [](Dims base, Dims patch, std::int64_t spatial, double lo, double hi, std::int64_t axis = 2,
                     DType t = DType::f64) {
    const std::int64_t rows = patch.empty() ? 0 : patch[0];
    return OpSample{{{.dtype = t, .dims = std::move(base), .lo = 0},
                     {.dtype = t, .dims = std::move(patch), .lo = 0},
                     places(rows, spatial, lo, hi)},
                    {{"axis", axis}}};
  };
  OpCase c{.op = "paste_at", .reference = paste_at};
  c.samples = {of({1, 3, 7, 9}, {5, 3, 2, 4}, 2, 0, 5),
               of({1, 2, 5}, {3, 2, 3}, 1, -2, 5),  // partly outside
               of({1, 7, 9, 3}, {4, 3, 2, 3}, 2, 0, 5, 1),
               of({1, 1, 3, 4, 5}, {2, 1, 2, 2, 2}, 3, -1, 4),
               of({1, 2, 1, 1}, {33, 2, 1, 1}, 2, 0, 1),
               of({1, 2, 3, 3}, {2, 2, 5, 5}, 2, -1, 0),  // larger than the base
               of({1, 2, 4, 4}, {0, 2, 2, 2}, 2, 0, 2),
               of({1, 2, 4, 4}, {3, 2, 0, 2}, 2, 0, 2),
               of({1, 2, 4, 4}, {3, 2, 2, 2}, 2, 0, 3, 2, DType::boolean),
               of({1, 2, 4, 4}, {3, 2, 2, 2}, 2, 0, 3, 2, DType::i64)};
  c.errors = {of({2, 3, 7, 9}, {5, 3, 2, 4}, 2, 0, 5), of({1, 3, 7, 9}, {5, 2, 2, 4}, 2, 0, 5),
              of({1, 3, 7}, {5, 3, 2}, 2, 0, 5), of({1, 3, 7}, {5, 3, 2, 1}, 1, 0, 5),
              of({1, 3, 7}, {5, 3, 2}, 1, 0, 5, 0)};
  return c;
}

OpCase crop_at_case() {
  const auto of = [](Dims base, std::int64_t rows, Ints sizes, double lo, double hi, double value = 0,
                     std::int64_t axis = 2, DType t = DType::f64) {
    const auto spatial = static_cast<std::int64_t>(sizes.size());
    return OpSample{{{.dtype = t, .dims = std::move(base), .lo = 0}, places(rows, spatial, lo, hi)},
                    {{"axis", axis}, {"sizes", std::move(sizes)}, {"value", value}}};
  };
  const auto with_patch = [](OpSample s, const Ints& extents, double lo, double hi) {
    Dims patch = s.inputs[0].dims;
    patch[0] = s.inputs[1].dims[0];
    const auto axis = static_cast<std::size_t>(s.attrs.integer("axis", 2));
    for (std::size_t a = 0; a < extents.size(); ++a) patch[axis + a] = extents[a];
    s.inputs.push_back({.dtype = s.inputs[0].dtype, .dims = patch, .lo = -3});
    s.inputs.push_back(places(patch[0], s.inputs[1].dims[1], lo, hi));
    return s;
  };
  OpCase c{.op = "crop_at", .reference = crop_at};
  c.samples = {of({1, 3, 7, 9}, 5, {3, 4}, 0, 4),
               of({1, 3, 7, 9}, 5, {4, 3}, -3, 8, 0.5),  // over every border
               of({1, 2, 5}, 3, {9}, -3, 2, -7),
               with_patch(of({1, 3, 7, 9}, 6, {5, 6}, -2, 4), {3, 2}, 0, 6),
               with_patch(of({1, 7, 9, 3}, 6, {5, 6}, -2, 4, 0.25, 1), {3, 2}, -1, 6),
               with_patch(of({1, 2, 5, 6, 4}, 3, {3, 3, 3}, -1, 3, -1), {2, 2, 2}, 0, 4),
               with_patch(of({1, 33, 1, 1}, 4, {1, 1}, 0, 1), {1, 1}, 0, 1),
               with_patch(of({1, 2, 6}, 5, {4}, 10, 12, 3), {2}, 0, 4),  // nothing of the base
               of({1, 2, 4}, 0, {2}, 0, 2),
               of({1, 2, 4}, 3, {0}, 0, 2),
               of({1, 0, 4}, 3, {2}, 0, 2),
               of({1, 2, 4, 4}, 3, {3, 3}, -1, 2, 1, 2, DType::boolean),
               of({1, 2, 4, 4}, 3, {3, 3}, -1, 2, 9, 2, DType::i64)};
  c.errors = {of({2, 3, 7}, 5, {3}, 0, 4), of({1, 3, 7}, 5, {3, 3}, 0, 4), of({1, 3, 7}, 5, {-1}, 0, 4),
              with_patch(of({1, 3, 7}, 5, {3}, 0, 4), {2}, 0, 4), with_patch(of({1, 3, 7}, 5, {3}, 0, 4), {2}, 0, 4)};
  c.errors[3].inputs[2].dims[1] = 2;
  c.errors[4].inputs.pop_back();
  return c;
}

}  // namespace

void add_patch_cases(std::vector<OpCase>& cases) {
  cases.push_back(paste_at_case());
  cases.push_back(crop_at_case());
}

}  // namespace onnxray::testing
