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

// An attribute whose value we cannot hold: "a sparse tensor", "a tensor of type STRING".
struct UnsupportedAttr {
  std::string what;
};

using OnnxAttr = std::variant<std::int64_t, double, std::string, Tensor, std::vector<std::int64_t>, std::vector<double>,
                              std::vector<std::string>, std::shared_ptr<const OnnxGraph>, UnsupportedAttr>;

struct OnnxNode {
  std::string op_type, domain, name, overload;  // domain "ai.onnx" is written ""
  // Of the domain: what the model imports, or for a node of a local function what the function imports. 0: unknown.
  std::int64_t version = 0;
  std::vector<std::string> inputs, outputs;  // an empty name is an absent input or output
  std::unordered_map<std::string, OnnxAttr> attrs;
  // "conv1 (Conv)", or "#12 (Conv)" for a node without a name.
  std::string label;
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxNode> nodes;  // in topological order
  std::unordered_map<std::string, Tensor> initializers;
  std::unordered_map<std::string, std::string> unsupported;  // initializers that cannot be held -> why
  std::vector<ValueInfo> inputs;                             // without those that an initializer gives
  std::vector<ValueInfo> outputs;
  std::vector<std::string> captures;  // of a body: the outer values it reads
};

// A whole file: local functions inlined.
struct OnnxFile {
  OnnxGraph graph;
  std::int64_t ir_version = 0;
  std::unordered_map<std::string, std::int64_t> opsets;  // domain ("" for ai.onnx) -> version
  std::string producer;
  std::string digest;  // SHA-256 of the file's bytes, in hexadecimal; external data is not part of it
  std::unordered_map<std::string, std::string> metadata;
};

}  // namespace onnxray::onnx_import
