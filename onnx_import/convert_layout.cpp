// Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Tile, DepthToSpace, SpaceToDepth.
#include "onnx_import/convert_layout.h"

#include <algorithm>
#include <numeric>

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// Attribute `shape` before opset 5, input 1 since. 0 copies the input's extent unless allowzero (14).
void reshape(ConvertCtx& c) {
  const std::vector<std::int64_t> target = c.version < 5 ? c.attr_ints("shape") : c.constant_ints(1);
  const bool allow_zero = c.version >= 14 && c.attr_int("allowzero", 0) != 0;
  const Dims& in = c.dims(0);
  Dims shape = target;
  std::vector<std::int64_t> keeps(target.size(), -1);
  std::int64_t unknown = -1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      ONNXRAY_CHECK(unknown < 0, "the shape ", to_string(target), " holds -1 twice");
      unknown = static_cast<std::int64_t>(i);
      shape[i] = 1;
    } else if (shape[i] == 0 && !allow_zero) {
      ONNXRAY_CHECK(i < in.size(), "the shape ", to_string(target), " copies extent ", i, " of shape ", to_string(in));
      shape[i] = in[i];
      keeps[i] = static_cast<std::int64_t>(i);
    }
    ONNXRAY_CHECK(shape[i] >= 0, "the shape ", to_string(target), " holds a negative extent");
  }
  if (unknown >= 0) {
    const std::int64_t known = count_of(shape), all = count_of(in);
    ONNXRAY_CHECK(known > 0 && all % known == 0, "shape ", to_string(in), " cannot become ", to_string(target));
    shape[at(unknown)] = all / known;
  }
  c.out(reshape_keeping(c.b, c.in(0), std::move(shape), std::move(keeps)));
}

void flatten(ConvertCtx& c) {
  const Dims& in = c.dims(0);
  std::int64_t axis = c.attr_int("axis", 1);
  const auto rank = static_cast<std::int64_t>(in.size());
  ONNXRAY_CHECK(axis >= -rank && axis <= rank, "axis ", axis, " is out of range for rank ", rank);
  if (axis < 0) axis += rank;
  c.out(c.b.reshape(c.in(0), {product(in, 0, at(axis)), product(in, at(axis), in.size())}));
}

void transpose(ConvertCtx& c) {
  const std::size_t rank = c.rank(0);
  std::vector<std::int64_t> perm = c.attr_ints("perm");
  if (!c.has_attr("perm")) {
    perm.resize(rank);
    std::iota(perm.rbegin(), perm.rend(), 0);
  }
  ONNXRAY_CHECK(perm.size() == rank, "perm ", to_string(perm), " for shape ", to_string(c.dims(0)));
  c.out(c.b.transpose(c.in(0), perm));
}

// Axes: attribute before 13, input since; without them every extent of 1 goes.
void squeeze(ConvertCtx& c) {
  const Dims& in = c.dims(0);
  const auto axes = c.axes(13, 1, in.size());
  Dims shape;
  std::vector<std::int64_t> keeps;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const auto axis = static_cast<std::int64_t>(i);
    if (axes ? std::find(axes->begin(), axes->end(), axis) != axes->end() : in[i] == 1) {
      ONNXRAY_CHECK(in[i] == 1, "axis ", i, " of shape ", to_string(in), " cannot be squeezed");
      continue;
    }
    shape.push_back(in[i]);
    keeps.push_back(axis);
  }
  c.out(reshape_keeping(c.b, c.in(0), std::move(shape), std::move(keeps)));
}

void unsqueeze(ConvertCtx& c) {
  const Dims& in = c.dims(0);
  const std::vector<std::int64_t> raw = c.version < 13 ? c.attr_ints("axes") : c.constant_ints(1);
  const std::vector<std::int64_t> axes = normalize_axes(raw, in.size() + raw.size(), "Unsqueeze");
  Dims shape = in;
  std::vector<std::int64_t> keeps(in.size());
  std::iota(keeps.begin(), keeps.end(), 0);
  for (const std::int64_t a : axes) {
    shape.insert(shape.begin() + a, 1);
    keeps.insert(keeps.begin() + a, -1);
  }
  c.out(reshape_keeping(c.b, c.in(0), std::move(shape), std::move(keeps)));
}

void expand(ConvertCtx& c) {
  const std::vector<std::int64_t> target = c.constant_ints(1);
  for (const std::int64_t d : target) ONNXRAY_CHECK(d >= 0, "the shape ", to_string(target), " is negative");
  c.out(c.b.expand(c.in(0), broadcast(c.dims(0), target)));
}

ValueId tile(ConvertCtx& c, ValueId x, const std::vector<std::int64_t>& repeats) {
  const Dims in = c.b.dims(x);
  ONNXRAY_CHECK(repeats.size() == in.size(), "repeats ", to_string(repeats), " for shape ", to_string(in));
  // [a, b] -> [1, a, 1, b] -> [r, a, s, b] -> [r a, s b]; axes that are not repeated keep no extra axis.
  Dims split, grown, out;
  std::vector<std::int64_t> from, back;
  for (std::size_t i = 0; i < in.size(); ++i) {
    ONNXRAY_CHECK(repeats[i] >= 0, "repeats ", to_string(repeats), " hold a negative number");
    if (repeats[i] != 1) {
      split.push_back(1);
      grown.push_back(repeats[i]);
      from.push_back(-1);
    }
    back.push_back(repeats[i] == 1 ? static_cast<std::int64_t>(split.size()) : -1);
    from.push_back(static_cast<std::int64_t>(i));
    split.push_back(in[i]);
    grown.push_back(in[i]);
    (void)count_of(Dims{repeats[i], in[i]});
    out.push_back(repeats[i] * in[i]);
  }
  if (out == in) return x;
  return reshape_keeping(c.b, c.b.expand(reshape_keeping(c.b, x, split, from), grown), out, back);
}

// Version 1 repeats one axis: inputs (x, tiles, axis).
void tile_1(ConvertCtx& c) {
  const std::vector<std::int64_t> tiles = c.constant_ints(1), axis = c.constant_ints(2);
  ONNXRAY_CHECK(tiles.size() == 1 && axis.size() == 1, "'tiles' and 'axis' must hold one number each");
  std::vector<std::int64_t> repeats(c.rank(0), 1);
  repeats[at(normalize_axis(axis[0], c.rank(0), "Tile"))] = tiles[0];
  c.out(tile(c, c.in(0), repeats));
}

std::int64_t checked_block(ConvertCtx& c) {
  const std::int64_t s = c.attr_int("blocksize", 0);
  ONNXRAY_CHECK(c.rank(0) == 4, "expected a shape [N, C, H, W], got ", to_string(c.dims(0)));
  ONNXRAY_CHECK(s > 0 && s < (1 << 20), "attribute 'blocksize' is ", s);
  return s;
}

// DCR: channel = (block row, block column, c); CRD: (c, block row, block column).
void depth_to_space(ConvertCtx& c) {
  const std::int64_t s = checked_block(c);
  const Dims d = c.dims(0);
  const std::string mode = c.attr_string("mode", "DCR");
  ONNXRAY_CHECK(mode == "DCR" || mode == "CRD", "unknown mode '", mode, "'");
  ONNXRAY_CHECK(d[1] % (s * s) == 0, "blocksize ", s, " does not divide ", d[1], " channels");
  for (const std::size_t i : {2, 3}) (void)count_of(Dims{d[i], s});  // throws where the product overflows
  const std::int64_t depth = d[1] / (s * s);
  const bool dcr = mode == "DCR";
  const ValueId split =
      c.b.reshape(c.in(0), dcr ? Dims{d[0], s, s, depth, d[2], d[3]} : Dims{d[0], depth, s, s, d[2], d[3]});
  const ValueId moved = c.b.transpose(
      split, dcr ? std::vector<std::int64_t>{0, 3, 4, 1, 5, 2} : std::vector<std::int64_t>{0, 1, 4, 2, 5, 3});
  c.out(c.b.reshape(moved, {d[0], depth, d[2] * s, d[3] * s}));
}

void space_to_depth(ConvertCtx& c) {
  const std::int64_t s = checked_block(c);
  const Dims d = c.dims(0);
  ONNXRAY_CHECK(d[2] % s == 0 && d[3] % s == 0, "blocksize ", s, " does not divide ", to_string(d));
  (void)count_of(Dims{d[1], s, s});  // throws where the product overflows
  const std::int64_t h = d[2] / s, w = d[3] / s;
  const ValueId split = c.b.reshape(c.in(0), {d[0], d[1], h, s, w, s});
  c.out(c.b.reshape(c.b.transpose(split, {0, 3, 5, 1, 2, 4}), {d[0], d[1] * s * s, h, w}));
}

}  // namespace

ValueId reshape_keeping(Builder& b, ValueId v, Dims shape, std::vector<std::int64_t> keeps) {
  if (shape == b.dims(v)) return v;
  Attrs attrs{{"shape", std::move(shape)}};
  if (std::any_of(keeps.begin(), keeps.end(), [](std::int64_t k) { return k >= 0; })) {
    attrs.set("keeps", std::move(keeps));
  }
  return b.op("reshape", {v}, std::move(attrs));
}

ValueId int64_input(ConvertCtx& c, std::size_t i) {
  const ValueId v = c.in(i);
  ONNXRAY_CHECK(is_integer(c.b.dtype(v)), "input ", i, " is ", name_of(c.b.dtype(v)), ", expected integers");
  if (c.b.graph.is_constant(v)) {
    const Tensor& t = c.b.graph.value(v).constant;
    return t.dtype() == DType::i64 ? v : c.b.constant(t.to(DType::i64));
  }
  return c.b.cast(v, DType::i64);
}

void add_layout_rows(OpTable& t) {
  t.add({.op_type = "Reshape", .convert = reshape});
  t.add({.op_type = "Flatten", .convert = flatten});
  t.add({.op_type = "Transpose", .convert = transpose});
  t.add({.op_type = "Squeeze", .convert = squeeze});
  t.add({.op_type = "Unsqueeze", .convert = unsqueeze});
  t.add({.op_type = "Expand", .since = 8, .convert = expand});
  t.add({.op_type = "Tile", .convert = tile_1});
  t.add({.op_type = "Tile", .since = 6, .convert = [](ConvertCtx& c) { c.out(tile(c, c.in(0), c.constant_ints(1))); }});
  t.add({.op_type = "DepthToSpace", .convert = depth_to_space});
  t.add({.op_type = "SpaceToDepth", .convert = space_to_depth});
  add_split_slice_rows(t);
  add_pad_rows(t);
  add_resize_rows(t);
}

}  // namespace onnxray::onnx_import
