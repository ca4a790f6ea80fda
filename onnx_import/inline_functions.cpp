// Local functions (ModelProto.functions) are inlined at every call: values and nodes of the body get the call's name as
// a prefix, attribute references get the call's values or the function's defaults.
#include <algorithm>

#include "onnx_import/parser.h"

namespace onnxray::onnx_import {
namespace {

constexpr std::size_t kLongestPrefix = 200;

std::string key_of(const std::string& domain, const std::string& name, const std::string& overload) {
  std::string key = canonical_domain(domain);
  key += '\0';
  key += name;
  key += '\0';
  key += overload;
  return key;
}

std::string label_of(const wire::FunctionProto& f) {
  return f.domain() + "." + f.name() + (f.overload().empty() ? "" : ":" + f.overload());
}

void collect_names(const wire::NodeProto& n, std::unordered_set<std::string>& names);

void collect_names(const wire::GraphProto& g, std::unordered_set<std::string>& names) {
  for (const wire::TensorProto& t : g.initializer()) names.insert(t.name());
  for (const wire::ValueInfoProto& v : g.input()) names.insert(v.name());
  for (const wire::NodeProto& n : g.node()) collect_names(n, names);
}

void collect_names(const wire::NodeProto& n, std::unordered_set<std::string>& names) {
  names.insert(n.output().begin(), n.output().end());
  for (const wire::AttributeProto& a : n.attribute()) {
    if (a.has_g()) collect_names(a.g(), names);
  }
}

std::size_t bytes_of(const OnnxAttr& attr) {
  return std::visit(
      [](const auto& v) -> std::size_t {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return v.size();
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          std::size_t sum = 0;
          for (const std::string& s : v) sum += sizeof(s) + s.size();
          return sum;
        } else if constexpr (std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<std::int64_t>>) {
          return v.size() * 8;
        } else {
          return sizeof(T);
        }
      },
      attr);
}

OnnxNode identity(const std::string& from, const std::string& to) {
  OnnxNode node;
  node.op_type = "Identity";
  node.version = 1;
  node.inputs = {from};
  node.outputs = {to};
  node.label = to + " (Identity)";
  return node;
}

}  // namespace

void Parser::index_functions() {
  for (wire::FunctionProto& f : *model_.mutable_functions()) {
    ONNXRAY_CHECK(functions_.emplace(key_of(f.domain(), f.name(), f.overload()), &f).second, "function ", label_of(f),
                  " is defined twice");
    for (const auto& [domain, version] : opset_imports(f.opset_import())) opsets_.try_emplace(domain, version);
  }
  if (functions_.empty()) return;
  collect_names(model_.graph(), taken_);
  // A few calls of calls can blow a small file up exponentially.
  inline_budget_ = (std::uint64_t{64} << 20) + 16 * static_cast<std::uint64_t>(model_.ByteSizeLong());
}

wire::FunctionProto* Parser::function(const OnnxNode& node) {
  if (functions_.empty()) return nullptr;
  const auto it = functions_.find(key_of(node.domain, node.op_type, node.overload));
  return it == functions_.end() ? nullptr : it->second;
}

void Parser::charge(std::uint64_t bytes) {
  inlined_bytes_ += bytes;
  ONNXRAY_CHECK(inlined_bytes_ <= inline_budget_, "inlining the local functions makes the model too large (more than ",
                inline_budget_ >> 20, " MB of nodes)");
}

void Parser::charge(const OnnxNode& node) {
  std::uint64_t bytes = sizeof(OnnxNode) + 2 * node.name.size();
  for (const std::string& s : node.inputs) bytes += sizeof(s) + s.size();
  for (const std::string& s : node.outputs) bytes += 2 * (sizeof(s) + s.size());
  for (const auto& [name, attr] : node.attrs) bytes += sizeof(OnnxAttr) + name.size() + bytes_of(attr);
  charge(bytes);
}

std::string Parser::fresh(const std::string& name, const char* tail) {
  std::string candidate = name + tail;
  while (!taken_.insert(candidate).second) candidate = name + "#" + std::to_string(++suffix_) + tail;
  return candidate;
}

void Parser::call(wire::FunctionProto& f, OnnxNode&& node, const Frame& caller, std::vector<OnnxNode>& out) {
  const DepthGuard guard(depth_);
  const std::string who = "node " + node.label + ", a call of function " + label_of(f);
  ONNXRAY_CHECK(std::find(active_.begin(), active_.end(), &f) == active_.end(), who, ": the function calls itself");
  const auto given = static_cast<int>(node.inputs.size()), wanted = static_cast<int>(node.outputs.size());
  ONNXRAY_CHECK(given <= f.input_size(), who, ": ", given, " inputs, but the function has ", f.input_size());
  ONNXRAY_CHECK(wanted <= f.output_size(), who, ": ", wanted, " outputs, but the function has ", f.output_size());

  Frame frame{.function = &f, .attrs = {}, .opsets = opset_imports(f.opset_import())};
  const std::string base = node.name.empty() ? caller.prefix + node.op_type : node.name;
  frame.prefix = fresh(base.size() > kLongestPrefix ? "call#" + std::to_string(++suffix_) : base, "/");
  // What a call costs before its nodes are counted.
  charge(static_cast<std::uint64_t>(f.input_size() + f.opset_import_size() + f.attribute_proto_size()) *
         sizeof(OnnxAttr));

  Scope scope;
  active_.push_back(&f);
  frame.attrs = std::move(node.attrs);
  for (wire::AttributeProto& a : *f.mutable_attribute_proto()) {
    if (frame.attrs.contains(a.name())) continue;
    std::optional<OnnxAttr> value =
        at_place(who + ": default of attribute '" + a.name() + "'", [&] { return attribute(a, scope, frame); });
    if (value) frame.attrs.emplace(a.name(), *std::move(value));
  }
  for (int i = 0; i < f.input_size(); ++i) {
    const std::string actual = i < given ? node.inputs[static_cast<std::size_t>(i)] : std::string();
    ONNXRAY_CHECK(scope.names.emplace(f.input(i), actual).second, who, ": input '", f.input(i), "' is declared twice");
  }
  // A body value that is an output of the function is the caller's value; the others get names of their own.
  std::unordered_map<std::string, std::string> results;
  for (int i = 0; i < wanted; ++i) results.emplace(f.output(i), node.outputs[static_cast<std::size_t>(i)]);
  for (const wire::NodeProto& n : f.node()) {
    for (const std::string& name : n.output()) {
      if (name.empty()) continue;
      const auto [it, added] = scope.names.try_emplace(name);
      ONNXRAY_CHECK(added, who, ": the function has two values called '", name, "'");
      const auto result = results.find(name);
      it->second = result != results.end() && !result->second.empty() ? result->second : fresh(frame.prefix + name);
    }
  }
  for (int i = 0; i < f.node_size(); ++i) emit(*f.mutable_node(i), i, scope, frame, out);
  for (int i = 0; i < wanted; ++i) {
    const std::string& actual = node.outputs[static_cast<std::size_t>(i)];
    if (actual.empty()) continue;
    const auto produced = scope.names.find(f.output(i));
    ONNXRAY_CHECK(produced != scope.names.end() && !produced->second.empty(), who, ": nothing produces output '",
                  f.output(i), "'");
    // An input that is handed through, or one value under two outputs.
    if (produced->second != actual) out.push_back(identity(produced->second, actual));
  }
  active_.pop_back();
}

}  // namespace onnxray::onnx_import
