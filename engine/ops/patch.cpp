// Rectangles of spatial values whose place differs from row to row: what incremental evaluation moves data with
// (passes/incremental.h). Spatial axes are the S axes from attribute `axis` on; places `at` are int64 [R, S], one per
// row, in elements of the whole value and free to lie outside of it. Forward only.
//   paste_at(base, patch, at)              base [1, ...], patch [R, ...]: base in every row, patch r pasted in at at[r]
//   crop_at(base, at[, patch, patch_at])   the rectangle of extents `sizes` at at[r] of base (or of what paste_at would
//                                          make of base, patch and patch_at); `value` where base has no element
// What of a patch lies outside of base is dropped.
#include "engine/builder.h"
#include "engine/ops/families.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

// The spatial axes [first, first + S) of the base, S from the places in input i.
struct Spatial {
  std::size_t first = 0, count = 0;
};

Spatial spatial_of(const InferCtx& c, std::size_t i) {
  ONNXRAY_CHECK(c.dtype(i) == DType::i64 && c.rank(i) == 2, "places must be int64 [rows, spatial axes], got ",
                name_of(c.dtype(i)), to_string(c.dims(i)));
  const std::int64_t axis = c.attrs.integer("axis", 2), count = c.dims(i)[1];
  ONNXRAY_CHECK(count >= 1 && count <= 3, "places on ", count, " axes, expected 1 to 3");
  ONNXRAY_CHECK(axis >= 1 && axis + count <= static_cast<std::int64_t>(c.rank(0)), "spatial axes ", axis, " to ",
                axis + count - 1, " of shape ", to_string(c.dims(0)));
  ONNXRAY_CHECK(c.dims(0)[0] == 1, "the base has shape ", to_string(c.dims(0)), ", expected one row");
  return {static_cast<std::size_t>(axis), static_cast<std::size_t>(count)};
}

void check_patch(const InferCtx& c, std::size_t patch, std::size_t places, const Spatial& s) {
  c.expect_same_dtype(0, patch);
  Dims expected = c.dims(0);
  ONNXRAY_CHECK(c.rank(patch) == expected.size(), "the patch has shape ", to_string(c.dims(patch)), ", the base ",
                to_string(expected));
  for (std::size_t a = s.first; a < s.first + s.count; ++a) expected[a] = c.dims(patch)[a];
  expected[0] = c.dims(places)[0];
  ONNXRAY_CHECK(c.dims(patch) == expected, "the patch has shape ", to_string(c.dims(patch)), ", expected ",
                to_string(expected));
}

void infer_paste_at(InferCtx& c) {
  c.expect_inputs(3, 3);
  const Spatial s = spatial_of(c, 2);
  check_patch(c, 1, 2, s);
  Dims out = c.dims(0);
  out[0] = c.dims(2)[0];
  c.output(c.dtype(0), std::move(out));
}

void infer_crop_at(InferCtx& c) {
  c.expect_inputs(2, 4);
  const Spatial s = spatial_of(c, 1);
  ONNXRAY_CHECK(c.has(2) == c.has(3), "crop_at: a patch comes with its places");
  if (c.has(2)) {
    ONNXRAY_CHECK(c.dtype(3) == DType::i64 && c.dims(3) == c.dims(1), "the patch's places are ", name_of(c.dtype(3)),
                  to_string(c.dims(3)), ", expected int64", to_string(c.dims(1)));
    check_patch(c, 2, 3, s);
  }
  const std::vector<std::int64_t> sizes = c.attrs.ints("sizes");
  ONNXRAY_CHECK(sizes.size() == s.count, "crop_at: sizes ", to_string(sizes), " for ", s.count, " spatial axes");
  (void)count_of(sizes);
  (void)c.attrs.real("value", 0);
  Dims out = c.dims(0);
  for (std::size_t i = 0; i < s.count; ++i) out[s.first + i] = sizes[i];
  out[0] = c.dims(1)[0];
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

// Rows on axis 0 of everything but the base, which all rows share.
void rows_patch(RowsCtx& c) {
  if (!c.inputs[0].rows.is_none()) return;
  RowMap rows = RowMap::none();
  for (const RowsCtx::Input& in : c.inputs) {
    if (in.dims == nullptr || in.rows.is_none()) continue;
    if (!in.rows.is_rows() || in.rows.axis != 0 || (!rows.is_none() && in.rows != rows)) return;
    rows = in.rows;
  }
  for (std::size_t i = 1; i < c.inputs.size(); ++i) {
    if (c.inputs[i].dims != nullptr && c.inputs[i].rows.is_none()) c.expand[i] = rows;
  }
  c.outputs[0] = rows;
}

// Places keep their order: only the axes move.
bool channels_last_patch(ChannelsLastCtx& c) {
  const std::size_t rank = c.dims(0).size();
  const bool crop = c.node.op->name == "crop_at";
  const Dims& places = c.dims(crop ? 1 : 2);
  if (c.attrs.integer("axis", 2) != 2 || places[1] != static_cast<std::int64_t>(rank) - 2) return false;
  c.takes[0] = 1;
  if (!crop) c.takes[1] = 1;
  if (crop && c.takes.size() > 2) c.takes[2] = 1;
  c.gives[0] = 1;
  c.attrs.set("axis", std::int64_t{1});
  return true;
}

}  // namespace

void register_patch_ops(OpRegistry& r) {
  r.add({.name = "paste_at",
         .infer = infer_paste_at,
         .rows = rows_patch,
         .channels_last = channels_last_patch,
         .traits = {.moves = true}});
  r.add({.name = "crop_at",
         .infer = infer_crop_at,
         .rows = rows_patch,
         .channels_last = channels_last_patch,
         .traits = {.moves = true}});
}

}  // namespace onnxray
