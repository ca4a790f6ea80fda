// How a node computes a rectangle of its output from rectangles of its inputs. A windowed value differs from row to row
// only inside a rectangle along its spatial axes. An OpDef's window rule answers for its node; passes/incremental.cpp
// does the rest. Elementwise ops need no rule.
#pragma once
#include <vector>

#include "engine/builder.h"

namespace onnxray {

// Along one spatial axis: output positions [o, o + n) read the input's [o * stride - begin, (o + n - 1) * stride -
// begin
// + reach).
struct Reach {
  std::int64_t stride = 1, begin = 0, reach = 1;
};

struct WindowCtx {
  const Graph& graph;
  const Node& node;
  // Per input: its spatial axes, ascending; empty for one that is the same in all rows.
  std::vector<std::vector<std::int64_t>> axes;
  Attrs attrs;  // the node's; to be changed in place for the rectangle: no padding along the spatial axes

  // Set by the rule:
  std::vector<std::int64_t> out_axes;  // of output 0
  std::vector<Reach> reach;            // one per spatial axis
  double fill = 0;                     // what the op sees beyond the input's border
  // Per input that is the same in all rows: the axes along which the rectangle is cut out of it, or empty: taken whole.
  std::vector<std::vector<std::int64_t>> cut;

  [[nodiscard]] const Dims& dims(std::size_t i) const { return graph.value(node.inputs.at(i)).dims; }
  [[nodiscard]] const Dims& out_dims(std::size_t i = 0) const { return graph.value(node.outputs.at(i)).dims; }
  [[nodiscard]] std::size_t spatial() const;  // number of spatial axes
};

// Rules for OpDef::window.
bool window_elementwise(WindowCtx& c);  // any number of broadcasting inputs
bool window_conv(WindowCtx& c);
bool window_max_pool(WindowCtx& c);
bool window_avg_pool(WindowCtx& c);  // where every window divides by the same number
bool window_pad(WindowCtx& c);       // along spatial axes
bool window_concat(WindowCtx& c);    // along another axis
bool window_transpose(WindowCtx& c);

}  // namespace onnxray
