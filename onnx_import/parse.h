// ModelProto -> OnnxFile.
#pragma once
#include <filesystem>

#include "onnx_import/node.h"

namespace onnxray::wire {
class ModelProto;
}

namespace onnxray::onnx_import {

// Takes large tensors out of `model`.
[[nodiscard]] OnnxFile parse_model(wire::ModelProto& model, const std::filesystem::path& folder);

// Puts nodes into topological order, keeping the file's order where it can. A cycle throws, naming its nodes.
void sort_nodes(OnnxGraph& graph);

}  // namespace onnxray::onnx_import
