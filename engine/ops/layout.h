// What the files of the layout and index families share.
#pragma once
#include "engine/op.h"

namespace onnxray {

// For ops whose inputs all have the row axis at one position: that axis when the inputs that carry rows agree on it
// (row-constant ones of the same extent are repeated for every row), none when no input carries rows, else mixed.
[[nodiscard]] RowMap rows_same_axis(RowsCtx& c);

void register_cut_ops(OpRegistry& r);       // slice, unslice, pad
void register_elements_ops(OpRegistry& r);  // gather_elements, scatter_elements, gather_nd, scatter_nd
void register_select_ops(OpRegistry& r);    // top_k
void register_resample_ops(OpRegistry& r);

}  // namespace onnxray
