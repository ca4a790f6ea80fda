#include "onnx_import/parse.h"

#include <algorithm>

#include "onnx_import/parser.h"
#include "onnx_import/tensor_proto.h"

namespace onnxray::onnx_import {
namespace {

// AttributeProto.type.
enum AttrCode {
  kUndefined = 0,
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kGraph = 5,
  kFloats = 6,
  kInts = 7,
  kStrings = 8,
  kTensors = 9,
  kGraphs = 10,
  kSparseTensor = 11,
  kSparseTensors = 12,
  kTypeProto = 13,
  kTypeProtos = 14,
};

// Before IR 2 the type was not written: the field that is set tells.
int attr_code(const wire::AttributeProto& a) {
  if (a.type() != kUndefined) return a.type();
  if (a.has_f()) return kFloat;
  if (a.has_i()) return kInt;
  if (a.has_s()) return kString;
  if (a.has_t()) return kTensor;
  if (a.has_g()) return kGraph;
  if (a.floats_size() > 0) return kFloats;
  if (a.ints_size() > 0) return kInts;
  if (a.strings_size() > 0) return kStrings;
  fail("has no value");
}

ValueInfo declared(const wire::ValueInfoProto& v, std::string name) {
  ValueInfo out;
  out.name = std::move(name);
  const wire::TypeProto& type = v.type();
  switch (type.value_case()) {
    case wire::TypeProto::kTensorType: break;
    case wire::TypeProto::kSequenceType: out.unsupported = "a sequence"; return out;
    case wire::TypeProto::kMapType: out.unsupported = "a map"; return out;
    case wire::TypeProto::kSparseTensorType: out.unsupported = "a sparse tensor"; return out;
    case wire::TypeProto::kOptionalType: out.unsupported = "an optional"; return out;
    case wire::TypeProto::VALUE_NOT_SET: return out;  // outputs may leave it out
  }
  const int code = type.tensor_type().elem_type();
  if (const auto dtype = dtype_of_code(code)) out.dtype = *dtype;
  else out.unsupported = "a tensor of type " + name_of_code(code);
  out.has_shape = type.tensor_type().has_shape();
  for (const wire::TensorShapeProto::Dimension& d : type.tensor_type().shape().dim()) {
    DeclaredDim dim;
    if (d.has_dim_value() && d.dim_value() >= 0) dim.value = d.dim_value();
    else if (d.has_dim_param()) dim.symbol = d.dim_param();
    out.dims.push_back(std::move(dim));
  }
  return out;
}

// The outer values that a body reads: what its nodes, their bodies and its outputs name and it does not declare.
std::vector<std::string> captures_of(const OnnxGraph& g) {
  std::unordered_set<std::string_view> seen;
  for (const ValueInfo& v : g.inputs) seen.insert(v.name);
  for (const auto& [name, t] : g.initializers) seen.insert(name);
  for (const auto& [name, why] : g.unsupported) seen.insert(name);
  for (const OnnxNode& node : g.nodes) seen.insert(node.outputs.begin(), node.outputs.end());
  std::vector<std::string> out;
  const auto read = [&](const std::string& name) {
    if (!name.empty() && seen.insert(name).second) out.push_back(name);
  };
  for (const OnnxNode& node : g.nodes) {
    std::for_each(node.inputs.begin(), node.inputs.end(), read);
    for (const auto& [key, attr] : node.attrs) {
      const auto* body = std::get_if<std::shared_ptr<const OnnxGraph>>(&attr);
      if (body != nullptr) std::for_each((*body)->captures.begin(), (*body)->captures.end(), read);
    }
  }
  for (const ValueInfo& v : g.outputs) read(v.name);
  return out;
}

}  // namespace

std::unordered_map<std::string, std::int64_t> opset_imports(
    const google::protobuf::RepeatedPtrField<wire::OperatorSetIdProto>& imports) {
  std::unordered_map<std::string, std::int64_t> out;
  for (const wire::OperatorSetIdProto& import : imports) {
    std::int64_t& version = out[canonical_domain(import.domain())];
    version = std::max({version, import.version(), std::int64_t{1}});
  }
  return out;
}

std::string printable(std::string text) {
  constexpr std::size_t kLongest = 600;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

const std::string& resolve(const Scope& scope, const std::string& name, const std::string& who) {
  static const std::string absent;
  if (name.empty()) return absent;
  for (const Scope* s = &scope; s != nullptr; s = s->outer) {
    if (const auto it = s->names.find(name); it != s->names.end()) return it->second;
  }
  fail(who, " reads '", name, "', which nothing produces");
}

Parser::Parser(wire::ModelProto& model, const std::filesystem::path& folder)
    : model_(model), files_(folder), opsets_(opset_imports(model.opset_import())) {
  opsets_.try_emplace("", 1);
}

OnnxFile Parser::run() {
  index_functions();
  OnnxFile file;
  file.graph = graph(*model_.mutable_graph(), nullptr, Frame{});
  ONNXRAY_CHECK(!file.graph.outputs.empty(), "the graph has no output");
  file.ir_version = model_.ir_version();
  file.opsets = opsets_;
  file.producer = model_.producer_name();
  if (!model_.producer_version().empty()) file.producer += " " + model_.producer_version();
  for (const wire::StringStringEntryProto& entry : model_.metadata_props()) file.metadata[entry.key()] = entry.value();
  return file;
}

OnnxGraph Parser::graph(wire::GraphProto& g, const Scope* outer, const Frame& frame) {
  const DepthGuard guard(depth_);
  OnnxGraph out;
  out.name = g.name();
  Scope scope{.outer = outer};
  initializers(g, scope, frame, out);
  for (int i = 0; i < g.input_size(); ++i) {
    const std::string& name = g.input(i).name();
    ONNXRAY_CHECK(!name.empty(), "graph input ", i, " has no name");
    // Before IR 4 every initializer is an input too; later such an input has a default. Either way it is a constant.
    const auto given = scope.names.find(name);
    if (given != scope.names.end() &&
        (out.initializers.contains(given->second) || out.unsupported.contains(given->second))) {
      continue;
    }
    declare(scope, frame, name, "graph input '" + name + "'");
    ONNXRAY_CHECK(outer != nullptr || g.input(i).type().value_case() != wire::TypeProto::VALUE_NOT_SET, "graph input '",
                  name, "' has no type");
    out.inputs.push_back(declared(g.input(i), scope.names.at(name)));
  }
  for (const wire::NodeProto& n : g.node()) {
    for (const std::string& name : n.output()) {
      if (!name.empty())
        declare(scope, frame, name, "output '" + name + "' of node " + n.name() + " (" + n.op_type() + ")");
    }
  }
  for (int i = 0; i < g.node_size(); ++i) emit(*g.mutable_node(i), i, scope, frame, out.nodes);
  for (int i = 0; i < g.output_size(); ++i) {
    const std::string& name = g.output(i).name();
    ONNXRAY_CHECK(!name.empty(), "graph output ", i, " has no name");
    out.outputs.push_back(declared(g.output(i), resolve(scope, name, "the list of graph outputs")));
  }
  if (outer != nullptr) out.captures = captures_of(out);
  sort_nodes(out);
  return out;
}

void Parser::declare(Scope& scope, const Frame& frame, const std::string& name, const std::string& what) {
  const auto [it, added] = scope.names.try_emplace(name);
  ONNXRAY_CHECK(added, what, ": the graph already has a value of that name");
  it->second = frame.function == nullptr ? name : fresh(frame.prefix + name);
  if (frame.function != nullptr) charge(sizeof(Tensor) + sizeof(ValueInfo) + 4 * it->second.size());
}

void Parser::initializers(wire::GraphProto& g, Scope& scope, const Frame& frame, OnnxGraph& out) {
  for (int i = 0; i < g.initializer_size(); ++i) {
    wire::TensorProto& t = *g.mutable_initializer(i);
    ONNXRAY_CHECK(!t.name().empty(), "initializer ", i, " has no name");
    const std::string place = "initializer '" + t.name() + "'";
    declare(scope, frame, t.name(), place);
    const std::string& name = scope.names.at(t.name());
    const OnnxAttr value = at_place(place, [&] { return tensor(t); });
    if (const auto* why = std::get_if<UnsupportedAttr>(&value)) out.unsupported[name] = why->what;
    else out.initializers[name] = std::get<Tensor>(value);
  }
  for (const wire::SparseTensorProto& t : g.sparse_initializer()) {
    const std::string& name = t.values().name();
    ONNXRAY_CHECK(!name.empty(), "a sparse initializer has no name");
    declare(scope, frame, name, "sparse initializer '" + name + "'");
    out.unsupported[scope.names.at(name)] = "a sparse tensor";
  }
}

void Parser::emit(wire::NodeProto& n, int index, const Scope& scope, const Frame& frame, std::vector<OnnxNode>& out) {
  OnnxNode node;
  node.op_type = n.op_type();
  node.domain = canonical_domain(n.domain());
  node.overload = n.overload();
  if (!n.name().empty()) node.name = frame.prefix + n.name();
  node.label = printable((n.name().empty() ? frame.prefix + "#" + std::to_string(index) : node.name) + " (" +
                         node.op_type + ")");
  ONNXRAY_CHECK(!node.op_type.empty(), "node ", node.label, " has no operator");
  for (const std::string& name : n.input()) node.inputs.push_back(resolve(scope, name, "node " + node.label));
  for (const std::string& name : n.output()) {
    node.outputs.push_back(name.empty() ? std::string() : scope.names.at(name));
  }
  node.attrs = at_place("node " + node.label, [&] { return attributes(n, scope, frame); });
  if (frame.function != nullptr) charge(node);
  if (wire::FunctionProto* f = function(node)) {
    call(*f, std::move(node), frame, out);
    return;
  }
  node.version = version(node.domain, frame);
  out.push_back(std::move(node));
}

std::int64_t Parser::version(const std::string& domain, const Frame& frame) const {
  if (const auto it = frame.opsets.find(domain); it != frame.opsets.end()) return it->second;
  const auto it = opsets_.find(domain);
  return it == opsets_.end() ? 1 : it->second;
}

Parser::Attrs Parser::attributes(wire::NodeProto& n, const Scope& scope, const Frame& frame) {
  Attrs out;
  for (wire::AttributeProto& a : *n.mutable_attribute()) {
    ONNXRAY_CHECK(!a.name().empty(), "an attribute has no name");
    std::optional<OnnxAttr> value =
        at_place("attribute '" + a.name() + "'", [&] { return attribute(a, scope, frame); });
    if (!value) continue;
    ONNXRAY_CHECK(out.emplace(a.name(), *std::move(value)).second, "attribute '", a.name(), "' is given twice");
  }
  return out;
}

std::optional<OnnxAttr> Parser::attribute(wire::AttributeProto& a, const Scope& scope, const Frame& frame) {
  if (!a.ref_attr_name().empty()) {
    ONNXRAY_CHECK(frame.function != nullptr, "refers to a function's attribute '", a.ref_attr_name(),
                  "', but stands outside of functions");
    const auto it = frame.attrs.find(a.ref_attr_name());
    return it == frame.attrs.end() ? std::nullopt : std::optional<OnnxAttr>(it->second);
  }
  switch (attr_code(a)) {
    case kFloat: return static_cast<double>(a.f());
    case kInt: return a.i();
    case kString: return a.s();
    case kTensor: return tensor(*a.mutable_t());
    case kGraph: return std::make_shared<const OnnxGraph>(graph(*a.mutable_g(), &scope, frame));
    case kFloats: return std::vector<double>(a.floats().begin(), a.floats().end());
    case kInts: return std::vector<std::int64_t>(a.ints().begin(), a.ints().end());
    case kStrings: return std::vector<std::string>(a.strings().begin(), a.strings().end());
    case kTensors: return UnsupportedAttr{"a list of tensors"};
    case kGraphs: return UnsupportedAttr{"a list of graphs"};
    case kSparseTensor: return UnsupportedAttr{"a sparse tensor"};
    case kSparseTensors: return UnsupportedAttr{"a list of sparse tensors"};
    case kTypeProto: return UnsupportedAttr{"a type"};
    case kTypeProtos: return UnsupportedAttr{"a list of types"};
    default: fail("has the unknown attribute type ", a.type());
  }
}

OnnxAttr Parser::tensor(wire::TensorProto& t) {
  if (const auto it = decoded_.find(&t); it != decoded_.end()) return it->second;
  const std::string why = unsupported_tensor(t);
  if (!why.empty()) return UnsupportedAttr{why};
  Tensor value = take_tensor(t, files_);
  // A function's body is parsed at every call, but its tensors can be taken once only.
  if (!active_.empty()) decoded_[&t] = value;
  return value;
}

OnnxFile parse_model(wire::ModelProto& model, const std::filesystem::path& folder) {
  try {
    return Parser(model, folder).run();
  } catch (const Error& e) {
    throw Error(e.kind(), printable(e.what()));
  }
}

}  // namespace onnxray::onnx_import
