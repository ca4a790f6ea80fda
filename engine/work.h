// How much arithmetic a node is: what `info` sums up and passes weigh.
#pragma once
#include "engine/graph.h"

namespace onnxray {

// Multiply-adds of convolutions and matrix products; 0 for everything else.
[[nodiscard]] std::int64_t multiply_adds(const Graph& g, const Node& node);

}  // namespace onnxray
