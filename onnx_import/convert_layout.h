// What the converters of the layout and index families share.
#pragma once
#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

// The reshape of v to `shape`; keeps[i] is the input axis that output axis i is, or -1.
[[nodiscard]] ValueId reshape_keeping(Builder& b, ValueId v, Dims shape, std::vector<std::int64_t> keeps);

// Input i, indices of any integer type, as int64.
[[nodiscard]] ValueId int64_input(ConvertCtx& c, std::size_t i);

// One axis of ONNX's Slice: where the elements start and how many there are. Bounds are clamped as ONNX says.
struct Cut {
  std::int64_t start = 0, size = 0, step = 1;
};
[[nodiscard]] Cut clamp_cut(std::int64_t extent, std::int64_t start, std::int64_t end, std::int64_t step);

// x[cuts], one Cut per axis; x itself when nothing is cut.
[[nodiscard]] ValueId cut_axes(Builder& b, ValueId x, const std::vector<Cut>& cuts);

// x with axis `axis` indexed by the constant `index` (1-D, in range).
[[nodiscard]] ValueId take(Builder& b, ValueId x, std::int64_t axis, const std::vector<std::int64_t>& index);

// Throws for an axis too long to make an index or weight table of.
void check_table(std::int64_t extent);

void add_split_slice_rows(OpTable& t);  // Concat, Split, Slice
void add_pad_rows(OpTable& t);          // Pad, CenterCropPad
void add_resize_rows(OpTable& t);       // Resize, Upsample
void add_elements_rows(OpTable& t);     // GatherElements, GatherND, Scatter*
void add_select_rows(OpTable& t);       // TopK, OneHot, NonZero, Trilu, Compress, ReverseSequence

}  // namespace onnxray::onnx_import
