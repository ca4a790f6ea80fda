// How a node takes NHWC data: its inputs' and outputs' axes in the order [N, spatial..., C] instead of
// [N, C, spatial...]. An OpDef's channels_last rule answers for its node; passes/channels_last.cpp does the rest.
// Elementwise ops need no rule.
#pragma once
#include <vector>

#include "engine/builder.h"

namespace onnxray {

struct ChannelsLastCtx {
  const Graph& graph;  // in NCHW order
  const Node& node;
  Attrs attrs;  // the node's; to be changed in place
  // To be set by the rule, one per input and output: whether it is to be taken or is given in NHWC order. Both start
  // as false.
  std::vector<char> takes, gives;

  [[nodiscard]] const Dims& dims(std::size_t i) const { return graph.value(node.inputs.at(i)).dims; }
  [[nodiscard]] const Dims& out_dims(std::size_t i = 0) const { return graph.value(node.outputs.at(i)).dims; }
};

// Where axis `axis` of [N, C, spatial...] lies in [N, spatial..., C].
[[nodiscard]] inline std::int64_t axis_in_nhwc(std::int64_t axis, std::size_t rank) {
  if (axis == 0) return 0;
  return axis == 1 ? static_cast<std::int64_t>(rank) - 1 : axis - 1;
}
// One entry per axis, reordered.
[[nodiscard]] std::vector<std::int64_t> entries_in_nhwc(const std::vector<std::int64_t>& v);

// Rules for OpDef::channels_last.
bool channels_last_window(ChannelsLastCtx& c);  // convolutions and pooling: the attribute channels_last
bool channels_last_axis(ChannelsLastCtx& c);    // attribute axis: concat, softmax, resample, gather with a 1-D index
bool channels_last_reduce(ChannelsLastCtx& c);  // attributes axes and keepdims
bool channels_last_lists(ChannelsLastCtx& c);   // attributes with one entry per axis: slice, unslice, pad, expand
bool channels_last_transpose(ChannelsLastCtx& c);

}  // namespace onnxray
