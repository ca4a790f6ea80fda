// An ONNX node as read from the file: attributes decoded, nothing interpreted.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "engine/model.h"
#include "engine/tensor.h"

namespace onnxray::onnx_import {

struct OnnxGraph;

using OnnxAttr = std::variant<std::int64_t, double, std::string, Tensor, std::vector<std::int64_t>, std::vector<double>,
                              std::vector<std::string>, std::shared_ptr<const OnnxGraph>>;

struct OnnxNode {
  std::string op_type, domain, name, overload;
  std::vector<std::string> inputs, outputs;  // an empty name is an absent input or output
  std::unordered_map<std::string, OnnxAttr> attrs;
  // "conv1 (Conv)", or "#12 (Conv)" for a node without a name.
  std::string label;
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxNode> nodes;  // in topological order
  std::unordered_map<std::string, Tensor> initializers;
  std::vector<ValueInfo> inputs;  // without those that an initializer gives
  std::vector<ValueInfo> outputs;
};

// A whole file: local functions inlined.
struct OnnxFile {
  OnnxGraph graph;
  std::int64_t ir_version = 0;
  std::unordered_map<std::string, std::int64_t> opsets;  // domain ("" for ai.onnx) -> version
  std::string producer;
  std::string digest;  // of the file's bytes
  std::unordered_map<std::string, std::string> metadata;
};

}  // namespace onnxray::onnx_import
