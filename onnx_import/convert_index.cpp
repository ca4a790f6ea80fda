// Gather.
#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

void gather(ConvertCtx& c) {
  const ValueId x = c.in(0), index = int64_input(c, 1);
  const Dims in = c.dims(0);
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 0), in.size(), "Gather");
  const bool constant = c.b.graph.is_constant(index);
  if (constant) {
    for (const std::int64_t i : c.b.graph.value(index).constant.to_ints()) {
      ONNXRAY_CHECK(i >= -in[at(axis)] && i < in[at(axis)], "index ", i, " on axis ", axis, " of shape ",
                    to_string(in));
    }
  }
  // The only element of an axis: a view, which (unlike a selection) carries rows on any axis.
  if (constant && in[at(axis)] == 1 && count_of(c.b.dims(index)) == 1) {
    Dims shape(in.begin(), in.begin() + axis);
    std::vector<std::int64_t> keeps;
    for (std::int64_t i = 0; i < axis; ++i) keeps.push_back(i);
    for (std::size_t i = 0; i < c.b.rank(index); ++i) {
      shape.push_back(1);
      keeps.push_back(axis);
    }
    for (std::size_t i = at(axis) + 1; i < in.size(); ++i) {
      shape.push_back(in[i]);
      keeps.push_back(static_cast<std::int64_t>(i));
    }
    return c.out(reshape_keeping(c.b, x, std::move(shape), std::move(keeps)));
  }
  c.out(c.b.op("gather", {x, index}, {{"axis", axis}}));
}

}  // namespace

ValueId take(Builder& b, ValueId x, std::int64_t axis, const std::vector<std::int64_t>& index) {
  bool whole = static_cast<std::int64_t>(index.size()) == b.dims(x)[at(axis)];
  for (std::size_t i = 0; whole && i < index.size(); ++i) whole = index[i] == static_cast<std::int64_t>(i);
  if (whole) return x;
  return b.op("gather", {x, b.constant(Tensor::ints(index))}, {{"axis", axis}});
}

void add_index_rows(OpTable& t) {
  t.add({.op_type = "Gather", .convert = gather});
  add_elements_rows(t);
  add_select_rows(t);
}

}  // namespace onnxray::onnx_import
