// The importer's parser: wire messages -> OnnxGraph. Private to onnx_import.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onnx_import/external_data.h"
#include "onnx_import/node.h"
#include "onnx_import/onnx.pb.h"

namespace onnxray::onnx_import {

// Names as written in one graph or function body -> names as emitted. Bodies see the names of what encloses them.
struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string, std::string> names;
};

// What holds for everything inside one function call; the main graph has an empty one.
struct Frame {
  const wire::FunctionProto* function = nullptr;
  std::string prefix;                               // of local values and nodes: "linear_1/"
  std::unordered_map<std::string, OnnxAttr> attrs;  // the function's attributes as bound by the call
  std::unordered_map<std::string, std::int64_t> opsets;
};

class Parser {
 public:
  Parser(wire::ModelProto& model, const std::filesystem::path& folder);
  OnnxFile run();

 private:
  using Attrs = std::unordered_map<std::string, OnnxAttr>;

  OnnxGraph graph(wire::GraphProto& g, const Scope* outer, const Frame& frame);
  void declare(Scope& scope, const Frame& frame, const std::string& name, const std::string& what);
  void initializers(wire::GraphProto& g, Scope& scope, const Frame& frame, OnnxGraph& out);
  void emit(wire::NodeProto& n, int index, const Scope& scope, const Frame& frame, std::vector<OnnxNode>& out);
  // inline_functions.cpp
  void call(wire::FunctionProto& f, OnnxNode&& node, const Frame& caller, std::vector<OnnxNode>& out);
  wire::FunctionProto* function(const OnnxNode& node);
  void index_functions();
  // Counts what inlining adds; past the budget it throws.
  void charge(std::uint64_t bytes);
  void charge(const OnnxNode& node);
  // name + tail, changed until no value has it.
  std::string fresh(const std::string& name, const char* tail = "");

  Attrs attributes(wire::NodeProto& n, const Scope& scope, const Frame& frame);
  std::optional<OnnxAttr> attribute(wire::AttributeProto& a, const Scope& scope, const Frame& frame);
  OnnxAttr tensor(wire::TensorProto& t);
  std::int64_t version(const std::string& domain, const Frame& frame) const;

  wire::ModelProto& model_;
  ExternalFiles files_;
  std::unordered_map<std::string, std::int64_t> opsets_;
  std::unordered_map<std::string, wire::FunctionProto*> functions_;  // by domain, name, overload
  std::unordered_set<std::string> taken_;  // every name of a value, kept when there are functions
  std::unordered_map<const wire::TensorProto*, Tensor> decoded_;  // a function body's tensors, shared by its calls
  std::uint64_t suffix_ = 0, inlined_bytes_ = 0, inline_budget_ = 0;
  int depth_ = 0;
  std::vector<const wire::FunctionProto*> active_;  // the calls being inlined, outermost first
};

// A bounded nesting of bodies and calls; protobuf itself stops at 100 messages.
inline constexpr int kMaxDepth = 64;

struct DepthGuard {
  explicit DepthGuard(int& depth) : depth(depth) {
    ONNXRAY_CHECK(depth < kMaxDepth, "bodies and functions are nested more than ", kMaxDepth, " deep");
    ++depth;
  }
  ~DepthGuard() { --depth; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  int& depth;
};

// Runs f; an Error gets "place: " before its text.
template <class F>
decltype(auto) at_place(const std::string& place, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(e.kind(), place + ": " + e.what());
  }
}

// Names come from the file; in a message they must stay on its line and not fill a screen.
[[nodiscard]] std::string printable(std::string text);

[[nodiscard]] inline std::string canonical_domain(const std::string& domain) {
  return domain == "ai.onnx" ? std::string() : domain;
}

[[nodiscard]] std::unordered_map<std::string, std::int64_t> opset_imports(
    const google::protobuf::RepeatedPtrField<wire::OperatorSetIdProto>& imports);

// The name that `name` stands for; throws when nothing declares it.
[[nodiscard]] const std::string& resolve(const Scope& scope, const std::string& name, const std::string& who);

}  // namespace onnxray::onnx_import
