// Masks of one bit per element, for what a backward pass asks of a ReLU's output. The mask of x [..., 32 n] is an int32
// [..., n]: bit k of word w is set where element 32 w + k along the last axis is > 0, so not where it is NaN.
// A float conv, conv_input_grad, matmul, relu or map node with the attribute mask_output=1 gives the mask of its output
// 0 as output 1. relu_grad takes one as input 1, conv and conv_input_grad as `mask_input`, map wherever relu_grad is
// the only step to read it: with an int32 there they compute what they would with x.
#pragma once
#include "engine/op.h"

namespace onnxray {

inline constexpr std::int64_t kMaskBits = 32;  // per word

[[nodiscard]] inline bool can_pack_mask(const Dims& d) { return !d.empty() && d.back() % kMaskBits == 0; }
// Of the mask of an array with dims d.
[[nodiscard]] inline Dims packed_mask_dims(Dims d) {
  d.back() /= kMaskBits;
  return d;
}
[[nodiscard]] inline bool gives_mask_output(const Attrs& attrs) { return attrs.integer("mask_output", 0) != 0; }

// Throws unless input i is the mask of a float array with dims `of`.
void check_packed_mask(const InferCtx& c, std::size_t i, const Dims& of);
// The second output, where asked for.
void infer_mask_output(InferCtx& c);
// Behind an op's own rows rule: a mask carries rows as its array does, along any axis but the last.
void rows_of_masks(RowsCtx& c);

}  // namespace onnxray
