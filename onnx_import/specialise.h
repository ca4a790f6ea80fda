// Specialise: an ONNX graph + concrete input shapes -> an engine graph. Every shape is concrete, constants are folded
// as nodes are added, and what shapes depend on is known by then. This is the symbolic step of the pipeline: Shape,
// Gather and Concat chains vanish here, whatever the model's named dimensions are.
#pragma once
#include <string>
#include <unordered_map>

#include "engine/builder.h"
#include "onnx_import/node.h"

namespace onnxray::onnx_import {

struct SpecialiseRequest {
  std::unordered_map<std::string, Dims> input_dims;  // every graph input
  // Row maps of the inputs; for graphs that will be batched.
  std::unordered_map<std::string, RowMap> input_rows;
  // Actual contents: needed only where a shape depends on data (Reshape to a computed target, NonZero). A graph that
  // consulted them holds for these contents alone.
  std::unordered_map<std::string, Tensor> input_data;
};

struct Specialised {
  Graph graph;  // outputs are the model's; every ONNX value keeps its name
  bool depends_on_data = false;
  std::string first_data_dependence;  // the node that asked first
};

// Throws kUnsupported listing every unsupported node (domain, op, opset, count, a name), kBadInput for what is wrong.
[[nodiscard]] Specialised specialise(const OnnxFile& file, const SpecialiseRequest& request, const Evaluator& evaluate);

// "Foo (domain x, opset 3): 2 nodes, first 'foo_1'" for each operator without a converter; empty when all are known.
[[nodiscard]] std::vector<std::string> unsupported_operators(const OnnxFile& file);

}  // namespace onnxray::onnx_import
