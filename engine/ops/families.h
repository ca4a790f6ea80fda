// One registration function per op family; register.cpp calls them all. Explicit, so that no linker drops one.
#pragma once
#include "engine/op.h"

namespace onnxray {

void register_elementwise_ops(OpRegistry& r);  // unary, binary, comparison, logic, where, cast
void register_activation_ops(OpRegistry& r);   // relu family, gelu, silu, ... (composites among them)
void register_matmul_ops(OpRegistry& r);
void register_attention_ops(OpRegistry& r);
void register_conv_ops(OpRegistry& r);
void register_pool_ops(OpRegistry& r);
void register_norm_ops(OpRegistry& r);      // batch, layer and RMS normalisation, softmax
void register_reduce_ops(OpRegistry& r);    // reductions, arg reductions, cumulative sums
void register_layout_ops(OpRegistry& r);    // reshape, transpose, expand, concat, slice, pad
void register_index_ops(OpRegistry& r);     // gather, scatter, top-k, one-hot, nonzero, resample
void register_sequence_ops(OpRegistry& r);  // split
void register_random_ops(OpRegistry& r);    // random_uniform, random_normal
void register_row_ops(OpRegistry& r);       // rows of a batch: gather_rows, scatter_rows, fold_rows, repeat_rows
void register_patch_ops(OpRegistry& r);     // rectangles per row: crop_at, paste_at

}  // namespace onnxray
