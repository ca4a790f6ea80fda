// Concat, Split, Slice.
#include <algorithm>

#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// The axis has the default 1 before version 4 and none since.
void concat(ConvertCtx& c) {
  ONNXRAY_CHECK(c.count() > 0, "no inputs");
  ONNXRAY_CHECK(c.version < 4 || c.has_attr("axis"), "attribute 'axis' is missing");
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 1), c.rank(0), "Concat");
  if (c.count() == 1) return c.out(c.in(0));
  c.out(c.b.op("concat", c.inputs(), {{"axis", axis}}));
}

// Sizes: attribute (input 1 is also allowed in version 1), input 1 since 13, num_outputs since 18, else equal parts.
void split(ConvertCtx& c) {
  const Dims in = c.dims(0);
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 0), in.size(), "Split");
  const std::int64_t extent = in[at(axis)];
  const auto parts = static_cast<std::int64_t>(c.node.outputs.size());
  std::vector<std::int64_t> sizes;
  if ((c.version < 2 || c.version >= 13) && c.has(1)) {
    sizes = c.constant_ints(1);
  } else if (c.version < 13 && c.has_attr("split")) {
    sizes = c.attr_ints("split");
  } else {
    ONNXRAY_CHECK(parts > 0, "no outputs");
    ONNXRAY_CHECK(c.attr_int("num_outputs", parts) == parts, "'num_outputs' is ", c.attr_int("num_outputs", parts),
                  ", the node has ", parts, " outputs");
    ONNXRAY_CHECK(c.version >= 18 || extent % parts == 0, "extent ", extent, " does not split into ", parts,
                  " equal parts");
    const std::int64_t each = (extent + parts - 1) / parts;
    for (std::int64_t i = 0; i < parts; ++i) sizes.push_back(std::clamp<std::int64_t>(extent - i * each, 0, each));
  }
  ONNXRAY_CHECK(static_cast<std::int64_t>(sizes.size()) == parts, sizes.size(), " sizes for ", parts, " outputs");
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    ONNXRAY_CHECK(sizes[i] >= 0 && sizes[i] <= extent - begin, "sizes ", to_string(sizes),
                  " do not add up to the extent ", extent);
    c.out(i, c.b.slice(c.in(0), axis, begin, begin + sizes[i]));
    begin += sizes[i];
  }
  ONNXRAY_CHECK(begin == extent, "sizes ", to_string(sizes), " do not add up to the extent ", extent);
}

void slice(ConvertCtx& c) {
  const Dims in = c.dims(0);
  std::vector<std::int64_t> starts, ends, axes, steps;
  bool has_axes = false;
  if (c.version < 10) {
    starts = c.attr_ints("starts");
    ends = c.attr_ints("ends");
    has_axes = c.has_attr("axes");
    axes = c.attr_ints("axes");
  } else {
    starts = c.constant_ints(1);
    ends = c.constant_ints(2);
    has_axes = c.has(3);
    if (has_axes) axes = c.constant_ints(3);
    if (c.has(4)) steps = c.constant_ints(4);
  }
  if (!has_axes) {
    for (std::size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  ONNXRAY_CHECK(ends.size() == starts.size() && axes.size() == starts.size() && steps.size() == starts.size(),
                "starts, ends, axes and steps have ", starts.size(), ", ", ends.size(), ", ", axes.size(), " and ",
                steps.size(), " entries");
  (void)normalize_axes(axes, in.size(), "Slice");  // refuses an axis given twice
  std::vector<Cut> cuts;
  for (const std::int64_t d : in) cuts.push_back({0, d, 1});
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t a = at(normalize_axis(axes[i], in.size(), "Slice"));
    ONNXRAY_CHECK(steps[i] != 0, "the step of axis ", a, " is 0");
    cuts[a] = clamp_cut(in[a], starts[i], ends[i], steps[i]);
  }
  c.out(cut_axes(c.b, c.in(0), cuts));
}

}  // namespace

Cut clamp_cut(std::int64_t extent, std::int64_t start, std::int64_t end, std::int64_t step) {
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  std::int64_t size = 0;
  if (step > 0) {
    start = std::clamp<std::int64_t>(start, 0, extent);
    end = std::clamp<std::int64_t>(end, 0, extent);
    if (start < end) size = (end - start - 1) / step + 1;
  } else if (extent > 0) {
    start = std::clamp<std::int64_t>(start, 0, extent - 1);
    end = std::clamp<std::int64_t>(end, -1, extent - 1);
    if (start > end) size = -((start - end - 1) / step) + 1;
  }
  return size == 0 ? Cut{} : Cut{start, size, size == 1 ? 1 : step};
}

ValueId cut_axes(Builder& b, ValueId x, const std::vector<Cut>& cuts) {
  std::vector<std::int64_t> starts, sizes, steps;
  for (const Cut& cut : cuts) {
    starts.push_back(cut.start);
    sizes.push_back(cut.size);
    steps.push_back(cut.step);
  }
  const bool whole = sizes == b.dims(x) && std::all_of(cuts.begin(), cuts.end(),
                                                       [](const Cut& cut) { return cut.start == 0 && cut.step == 1; });
  if (whole) return x;
  return b.op("slice", {x}, {{"starts", starts}, {"sizes", sizes}, {"steps", steps}});
}

void add_split_slice_rows(OpTable& t) {
  t.add({.op_type = "Concat", .convert = concat});
  t.add({.op_type = "Split", .convert = split});
  t.add({.op_type = "Slice", .convert = slice});
}

}  // namespace onnxray::onnx_import
