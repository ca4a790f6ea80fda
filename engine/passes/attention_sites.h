// Where a graph computes softmax(scale q k^T + mask) v, gradient included, and nothing else reads what is between.
// Internal to fuse_attention.
#pragma once
#include <vector>

#include "engine/backend.h"
#include "engine/graph.h"

namespace onnxray {

// a b, either of them transposed.
struct MatrixProduct {
  ValueId a = kNoValue, b = kNoValue;
  bool trans_a = false, trans_b = false;
  bool operator==(const MatrixProduct&) const = default;
};

// The gradient for one cotangent of the result; kNoValue where nobody asks for it.
struct AttentionBackward {
  ValueId dy = kNoValue;
  ValueId row_index = kNoValue;  // the forward row of each of dy's rows, where they differ
  ValueId dq = kNoValue, dk = kNoValue, dv = kNoValue;
  NodeId first = 0;  // the first of the nodes it replaces
};

struct AttentionSite {
  NodeId result = 0;  // the product of probabilities and v
  MatrixProduct outer, scores;
  ValueId probabilities = kNoValue, v = kNoValue;
  std::vector<ValueId> masks;  // added to the scores
  // The scores' dims where masks are added to them with a batch axis split in more (Swin's windows of one picture);
  // then how many axes each of the others' batch axes is there. Empty: the same dims.
  Dims split;
  std::vector<std::size_t> axes;
  std::vector<char> mask_split;  // which masks are added there
  double scale = 1;
  bool masked = false;
  std::vector<NodeId> inner;  // nodes that vanish, the result's aside
  std::vector<AttentionBackward> backward;
};

// Sites that the backend wants as one node, in the order of their results.
[[nodiscard]] std::vector<AttentionSite> find_attention(const Graph& g, const Backend& backend);

}  // namespace onnxray
