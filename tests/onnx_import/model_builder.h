// Builds small .onnx models for tests.
//   ModelBuilder m;
//   m.input("x", {2, 3}).output("y");
//   attr(m.node("LeakyRelu", {"x"}, {"y"}), "alpha", 0.1f);
//   OnnxFile file = m.load();
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "onnx_import/load.h"
#include "onnx_import/onnx.pb.h"
#include "onnx_import/tensor_proto.h"

namespace onnxray::testing {

using Names = std::vector<std::string>;

// A dimension: a number, a symbol, or "" for unknown.
struct BuilderDim {
  BuilderDim(int value) : value(value) {}
  BuilderDim(std::int64_t value) : value(value) {}
  BuilderDim(const char* symbol) : symbol(symbol) {}
  std::int64_t value = -1;
  std::string symbol;
};

inline wire::AttributeProto& attr_of(wire::NodeProto& n, const std::string& name, int type) {
  wire::AttributeProto& a = *n.add_attribute();
  a.set_name(name);
  a.set_type(type);
  return a;
}
inline void attr(wire::NodeProto& n, const std::string& name, float v) { attr_of(n, name, 1).set_f(v); }
inline void attr(wire::NodeProto& n, const std::string& name, int v) { attr_of(n, name, 2).set_i(v); }
inline void attr(wire::NodeProto& n, const std::string& name, const char* v) { attr_of(n, name, 3).set_s(v); }
inline void attr(wire::NodeProto& n, const std::string& name, const Tensor& v) {
  *attr_of(n, name, 4).mutable_t() = onnx_import::to_proto(v, "");
}
inline void attr(wire::NodeProto& n, const std::string& name, const wire::GraphProto& v) {
  *attr_of(n, name, 5).mutable_g() = v;
}
inline void attr(wire::NodeProto& n, const std::string& name, const std::vector<float>& v) {
  attr_of(n, name, 6).mutable_floats()->Assign(v.begin(), v.end());
}
inline void attr(wire::NodeProto& n, const std::string& name, const std::vector<std::int64_t>& v) {
  attr_of(n, name, 7).mutable_ints()->Assign(v.begin(), v.end());
}
inline void attr(wire::NodeProto& n, const std::string& name, const Names& v) {
  attr_of(n, name, 8).mutable_strings()->Assign(v.begin(), v.end());
}
inline void attr_ref(wire::NodeProto& n, const std::string& name, const std::string& function_attr, int type) {
  attr_of(n, name, type).set_ref_attr_name(function_attr);
}

// Adds a node to a GraphProto or a FunctionProto.
template <class Owner>
wire::NodeProto& add_node(Owner& owner, const std::string& op, const Names& inputs, const Names& outputs,
                          const std::string& name = "") {
  wire::NodeProto& n = *owner.add_node();
  n.set_op_type(op);
  n.mutable_input()->Assign(inputs.begin(), inputs.end());
  n.mutable_output()->Assign(outputs.begin(), outputs.end());
  if (!name.empty()) n.set_name(name);
  return n;
}

inline void set_type(wire::ValueInfoProto& v, const std::vector<BuilderDim>& dims, DType dtype) {
  auto& tensor = *v.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx_import::code_of_dtype(dtype));
  tensor.mutable_shape();
  for (const BuilderDim& d : dims) {
    auto& dim = *tensor.mutable_shape()->add_dim();
    if (d.value >= 0) dim.set_dim_value(d.value);
    else if (!d.symbol.empty()) dim.set_dim_param(d.symbol);
  }
}

class ModelBuilder {
 public:
  explicit ModelBuilder(std::int64_t opset = 17) {
    proto.set_ir_version(8);
    auto& import = *proto.add_opset_import();
    import.set_domain("");
    import.set_version(opset);
    graph().set_name("test");
  }

  wire::GraphProto& graph() { return *proto.mutable_graph(); }
  ModelBuilder& input(const std::string& name, const std::vector<BuilderDim>& dims, DType dtype = DType::f32) {
    auto& v = *graph().add_input();
    v.set_name(name);
    set_type(v, dims, dtype);
    return *this;
  }
  ModelBuilder& output(const std::string& name) {
    graph().add_output()->set_name(name);
    return *this;
  }
  ModelBuilder& output(const std::string& name, const std::vector<BuilderDim>& dims, DType dtype = DType::f32) {
    output(name);
    set_type(*graph().mutable_output(graph().output_size() - 1), dims, dtype);
    return *this;
  }
  ModelBuilder& initializer(const std::string& name, const Tensor& t) {
    *graph().add_initializer() = onnx_import::to_proto(t, name);
    return *this;
  }
  wire::NodeProto& node(const std::string& op, const Names& inputs, const Names& outputs,
                        const std::string& name = "") {
    return add_node(graph(), op, inputs, outputs, name);
  }
  wire::NodeProto& call(const std::string& domain, const std::string& function, const Names& inputs,
                        const Names& outputs, const std::string& name = "") {
    auto& n = node(function, inputs, outputs, name);
    n.set_domain(domain);
    return n;
  }
  wire::FunctionProto& function(const std::string& domain, const std::string& name, const Names& inputs,
                                const Names& outputs) {
    auto& f = *proto.add_functions();
    f.set_domain(domain);
    f.set_name(name);
    f.mutable_input()->Assign(inputs.begin(), inputs.end());
    f.mutable_output()->Assign(outputs.begin(), outputs.end());
    auto& import = *f.add_opset_import();
    import.set_domain("");
    import.set_version(proto.opset_import(0).version());
    return f;
  }

  [[nodiscard]] std::string bytes() const { return proto.SerializeAsString(); }
  [[nodiscard]] onnx_import::OnnxFile load(const std::filesystem::path& folder = {}) const {
    const std::string data = bytes();
    return onnx_import::parse_bytes(std::as_bytes(std::span(data)), folder);
  }

  wire::ModelProto proto;
};

}  // namespace onnxray::testing
