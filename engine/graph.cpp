#include "engine/graph.h"

#include <algorithm>

#include "engine/op.h"

namespace onnxray {

ValueId Graph::add_input(std::string name, DType dtype, Dims dims, RowMap rows) {
  (void)count_of(dims);
  const auto id = static_cast<ValueId>(values_.size());
  values_.push_back({name, dtype, std::move(dims), -1, {}, rows});
  inputs_.push_back(id);
  if (!name.empty()) names_.emplace(std::move(name), id);
  return id;
}

ValueId Graph::add_constant(Tensor tensor, std::string name) {
  const auto id = static_cast<ValueId>(values_.size());
  Value v;
  v.name = name;
  v.dtype = tensor.dtype();
  v.dims = tensor.dims();
  v.constant = std::move(tensor);
  values_.push_back(std::move(v));
  if (!name.empty()) names_.emplace(std::move(name), id);
  return id;
}

std::vector<ValueId> Graph::add_node(const OpDef& op, std::span<const ValueId> inputs, Attrs attrs, std::string name) {
  const auto where = [&](const std::string& what) {
    std::string s = name.empty() ? "" : "node " + name + ": ";
    return s + what;
  };
  for (const ValueId v : inputs) {
    ONNXRAY_ASSERT(v == kNoValue || (v >= 0 && static_cast<std::size_t>(v) < values_.size()), op.name);
  }
  InferCtx ctx(*this, op, inputs, attrs);
  try {
    op.infer(ctx);
    for (const auto& out : ctx.outputs) (void)count_of(out.dims);
  } catch (const Error& e) {
    throw Error(e.kind(), where(e.what()));
  }
  const auto node_id = static_cast<NodeId>(nodes_.size());
  Node node{&op, std::move(name), {inputs.begin(), inputs.end()}, {}, std::move(attrs)};
  for (auto& out : ctx.outputs) {
    node.outputs.push_back(static_cast<ValueId>(values_.size()));
    Value v;
    v.dtype = out.dtype;
    v.dims = std::move(out.dims);
    v.producer = node_id;
    values_.push_back(std::move(v));
  }
  std::vector<ValueId> result = node.outputs;
  nodes_.push_back(std::move(node));
  return result;
}

void Graph::set_name(ValueId v, const std::string& name) {
  if (name.empty()) return;
  if (value(v).name.empty()) value(v).name = name;
  names_[name] = v;
}

ValueId Graph::find(std::string_view name) const {
  const auto it = names_.find(std::string(name));
  return it == names_.end() ? kNoValue : it->second;
}

std::string Graph::label(ValueId v) const {
  if (v == kNoValue) return "_";
  return value(v).name.empty() ? "%" + std::to_string(v) : value(v).name;
}

std::string Graph::to_text() const {
  const auto type = [&](ValueId v) { return std::string(name_of(value(v).dtype)) + to_string(value(v).dims); };
  const auto tag = [&](ValueId v) {
    if (v == kNoValue) return std::string("_");
    return "%" + std::to_string(v) + (value(v).name.empty() ? "" : " " + value(v).name);
  };
  std::string s;
  for (const ValueId v : inputs_) s += tag(v) + ": " + type(v) + " = input\n";
  for (const Node& n : nodes_) {
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      s += (i > 0 ? ", " : "") + tag(n.outputs[i]) + ": " + type(n.outputs[i]);
    }
    s += " = " + n.op->name + "(";
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.inputs[i];
      s += i > 0 ? ", " : "";
      s += v == kNoValue ? "_" : "%" + std::to_string(v);
      if (is_constant(v)) s += "=" + type(v);
    }
    const std::string attrs = n.attrs.to_text();
    s += (attrs.empty() ? "" : "; " + attrs) + ")\n";
  }
  s += "return";
  for (const ValueId v : outputs_) s += " %" + std::to_string(v);
  return s + "\n";
}

void Graph::verify() const {
  const auto known = [&](ValueId v) { return v >= 0 && static_cast<std::size_t>(v) < values_.size(); };
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    const Node& node = nodes_[n];
    ONNXRAY_ASSERT(node.op != nullptr);
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      ONNXRAY_ASSERT(known(v), node.op->name);
      ONNXRAY_ASSERT(value(v).producer < static_cast<NodeId>(n), node.op->name, " reads a later value");
    }
    InferCtx ctx(*this, *node.op, node.inputs, node.attrs);
    node.op->infer(ctx);
    ONNXRAY_ASSERT(ctx.outputs.size() == node.outputs.size(), node.op->name);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const Value& v = value(node.outputs[i]);
      ONNXRAY_ASSERT(v.producer == static_cast<NodeId>(n) && !v.constant.defined(), node.op->name);
      ONNXRAY_ASSERT(v.dtype == ctx.outputs[i].dtype && v.dims == ctx.outputs[i].dims, node.op->name, " has ",
                     to_string(v.dims), ", infer says ", to_string(ctx.outputs[i].dims));
    }
  }
  for (const ValueId v : outputs_) ONNXRAY_ASSERT(known(v), "output");
  for (const ValueId v : inputs_) ONNXRAY_ASSERT(known(v) && value(v).producer < 0, "input");
}

std::vector<int> Graph::use_counts() const {
  std::vector<int> uses(values_.size(), 0);
  for (const Node& n : nodes_) {
    for (const ValueId v : n.inputs) {
      if (v != kNoValue) ++uses[static_cast<std::size_t>(v)];
    }
  }
  for (const ValueId v : outputs_) ++uses[static_cast<std::size_t>(v)];
  return uses;
}

}  // namespace onnxray
