#include "onnx_import/specialise.h"

#include <algorithm>
#include <map>

#include "onnx_import/convert.h"

namespace onnxray::onnx_import {
namespace {

std::int64_t version_of(const OnnxFile& file, const OnnxNode& node) {
  if (node.version != 0) return node.version;
  const auto it = file.opsets.find(node.domain == "ai.onnx" ? "" : node.domain);
  return it == file.opsets.end() ? 1 : it->second;
}

// If is no operator of the engine: its condition must be known, and the taken branch takes its place.
bool is_if(const OnnxNode& node) { return node.op_type == "If" && node.domain.empty(); }

class Specialiser final : public ConstantSource {
 public:
  Specialiser(const OnnxFile& file, const SpecialiseRequest& request, const Evaluator& evaluate)
      : file_(file), request_(request), evaluate_(evaluate), b_(result_.graph, evaluate) {}

  Specialised run() {
    const OnnxGraph& g = file_.graph;
    for (const ValueInfo& in : g.inputs) {
      const auto dims = request_.input_dims.find(in.name);
      if (!in.unsupported.empty()) fail_unsupported("input '", in.name, "' is ", in.unsupported);
      ONNXRAY_CHECK(dims != request_.input_dims.end(), "no shape for input '", in.name, "'");
      const auto rows = request_.input_rows.find(in.name);
      values_[in.name] = b_.graph.add_input(in.name, in.dtype, dims->second,
                                            rows == request_.input_rows.end() ? RowMap::none() : rows->second);
    }
    scopes_.push_back(&g);
    for (const OnnxNode& node : g.nodes) convert(node);
    std::vector<ValueId> outputs;
    for (const ValueInfo& out : g.outputs) outputs.push_back(lookup(out.name, "graph output"));
    b_.graph.set_outputs(std::move(outputs));
    return std::move(result_);
  }

  Tensor known(ValueId v) override {
    const Value& value = b_.graph.value(v);
    if (value.constant.defined()) return value.constant;
    const auto it = evaluated_.find(v);
    return it == evaluated_.end() ? Tensor() : it->second;
  }

  Tensor require(ValueId v, std::string_view what) override {
    Tensor t = known(v);
    if (t.defined()) return t;
    if (!result_.depends_on_data) {
      result_.depends_on_data = true;
      result_.first_data_dependence = current_->label;
    }
    return evaluate_from_inputs(v, what);
  }

 private:
  void convert(const OnnxNode& node) {
    current_ = &node;
    const std::int64_t version = version_of(file_, node);
    const OpRow* row = op_table().find(node.domain, node.op_type, version);
    if (row == nullptr && !is_if(node)) {
      fail_unsupported("unsupported operator ", node.op_type, " (domain '", node.domain, "', opset ", version,
                       "), node ", node.label);
    }
    std::vector<ValueId> inputs;
    for (const std::string& name : node.inputs) {
      inputs.push_back(name.empty() ? kNoValue : lookup(name, "node " + node.label));
    }
    b_.context = node.label;
    if (is_if(node)) {
      convert_if(node, inputs);
      return;
    }
    ConvertCtx ctx(b_, node, version, std::move(inputs), *this);
    try {
      row->convert(ctx);
    } catch (const Error& e) {
      const std::string what = e.what();
      throw Error(e.kind(), what.starts_with("node ") ? what : "node " + node.label + ": " + what);
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const std::string& name = node.outputs[i];
      if (name.empty()) continue;
      const ValueId v = ctx.outputs()[i];
      if (v == kNoValue) fail_unsupported("node ", node.label, ": output ", i, " is not supported");
      define(name, v);
      // Names of a body's values are its own; the model's values keep theirs.
      if (scopes_.size() == 1 || b_.graph.find(name) == kNoValue) b_.graph.set_name(v, name);
    }
  }

  void convert_if(const OnnxNode& node, const std::vector<ValueId>& inputs) {
    const auto place = [&](const auto&... parts) { return detail::concat("node ", node.label, ": ", parts...); };
    ONNXRAY_CHECK(inputs.size() == 1 && inputs[0] != kNoValue, place("needs a condition"));
    const Tensor condition = require(inputs[0], "the condition of " + node.label);
    ONNXRAY_CHECK(condition.size() == 1, place("the condition has shape ", to_string(condition.dims())));
    const char* branch = condition.to_ints()[0] != 0 ? "then_branch" : "else_branch";
    const auto attr = node.attrs.find(branch);
    const auto* body =
        attr == node.attrs.end() ? nullptr : std::get_if<std::shared_ptr<const OnnxGraph>>(&attr->second);
    ONNXRAY_CHECK(body != nullptr, place("has no ", branch));
    ONNXRAY_CHECK((*body)->outputs.size() >= node.outputs.size(), place(branch, " has too few outputs"));
    const std::vector<ValueId> results = convert_body(**body);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i].empty()) continue;
      define(node.outputs[i], results[i]);
      b_.graph.set_name(results[i], node.outputs[i]);
    }
  }

  // The values of a body's outputs. What the body declares is forgotten afterwards.
  std::vector<ValueId> convert_body(const OnnxGraph& body) {
    ONNXRAY_CHECK(body.inputs.empty(), "node ", current_->label, ": a branch has inputs");
    const OnnxNode* outer_node = current_;
    std::vector<std::pair<std::string, ValueId>> outer_hidden;
    std::swap(hidden_, outer_hidden);
    scopes_.push_back(&body);
    // An initializer may have the name of a value outside.
    for (const auto& [name, t] : body.initializers) hide(name);
    for (const auto& [name, why] : body.unsupported) hide(name);
    for (const OnnxNode& node : body.nodes) convert(node);
    std::vector<ValueId> results;
    for (const ValueInfo& out : body.outputs) results.push_back(lookup(out.name, "the output of a branch"));
    for (auto it = hidden_.rbegin(); it != hidden_.rend(); ++it) {
      if (it->second == kNoValue) values_.erase(it->first);
      else values_[it->first] = it->second;
    }
    scopes_.pop_back();
    std::swap(hidden_, outer_hidden);
    current_ = outer_node;
    b_.context = outer_node->label;
    return results;
  }

  void define(const std::string& name, ValueId v) {
    if (scopes_.size() > 1) hide(name);
    values_[name] = v;
  }

  void hide(const std::string& name) {
    const auto it = values_.find(name);
    hidden_.emplace_back(name, it == values_.end() ? kNoValue : it->second);
    if (it != values_.end()) values_.erase(it);
  }

  ValueId lookup(const std::string& name, const std::string& who) {
    const auto it = values_.find(name);
    if (it != values_.end()) return it->second;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const OnnxGraph& g = **scope;
      if (const auto why = g.unsupported.find(name); why != g.unsupported.end()) {
        fail_unsupported(who, " reads '", name, "', which is ", why->second, "; that is not supported");
      }
      const auto init = g.initializers.find(name);
      if (init == g.initializers.end()) continue;
      const ValueId v = b_.graph.add_constant(init->second, name);
      if (scope + 1 == scopes_.rend()) values_[name] = v;
      else define(name, v);
      return v;
    }
    fail(who, " reads '", name, "', which nothing produces");
  }

  // Runs what is needed of the graph so far, node by node, on the actual inputs.
  Tensor evaluate_from_inputs(ValueId wanted, std::string_view what) {
    const Graph& g = b_.graph;
    if (request_.input_data.empty()) {
      fail_unsupported(what, " (", g.label(wanted), ") depends on the input data, so the shapes behind it do too");
    }
    std::vector<char> need(g.value_count(), 0);
    need[static_cast<std::size_t>(wanted)] = 1;
    for (std::size_t n = g.nodes().size(); n-- > 0;) {
      const Node& node = g.nodes()[n];
      bool used = false;
      for (const ValueId v : node.outputs) {
        used = used || (need[static_cast<std::size_t>(v)] != 0 && !evaluated_.contains(v));
      }
      if (!used) continue;
      for (const ValueId v : node.inputs) {
        if (v != kNoValue) need[static_cast<std::size_t>(v)] = 1;
      }
    }
    for (const ValueId v : g.inputs()) {
      if (need[static_cast<std::size_t>(v)] == 0 || evaluated_.contains(v)) continue;
      const auto it = request_.input_data.find(g.value(v).name);
      ONNXRAY_CHECK(it != request_.input_data.end(), "input '", g.value(v).name, "' was not given");
      evaluated_[v] = it->second.to(g.value(v).dtype);
    }
    for (const Node& node : g.nodes()) {
      bool used = false;
      for (const ValueId v : node.outputs) {
        used = used || (need[static_cast<std::size_t>(v)] != 0 && !evaluated_.contains(v));
      }
      if (!used) continue;
      std::vector<Tensor> inputs;
      for (const ValueId v : node.inputs) {
        if (v == kNoValue) inputs.emplace_back();
        else if (g.is_constant(v)) inputs.push_back(g.value(v).constant.to(g.value(v).dtype));
        else inputs.push_back(evaluated_.at(v));
      }
      const std::vector<Tensor> outputs = evaluate_(g, node, inputs);
      for (std::size_t i = 0; i < outputs.size(); ++i) evaluated_[node.outputs[i]] = outputs[i];
    }
    return evaluated_.at(wanted);
  }

  const OnnxFile& file_;
  const SpecialiseRequest& request_;
  const Evaluator& evaluate_;
  Specialised result_;
  Builder b_;
  std::unordered_map<std::string, ValueId> values_;
  std::vector<const OnnxGraph*> scopes_;  // the model's graph, then the branches being converted
  // What the innermost branch hides of values_, with the outer value or kNoValue.
  std::vector<std::pair<std::string, ValueId>> hidden_;
  std::unordered_map<ValueId, Tensor> evaluated_;
  const OnnxNode* current_ = nullptr;
};

}  // namespace

std::vector<std::string> unsupported_operators(const OnnxFile& file) {
  struct Entry {
    int count = 0;
    std::string first;
  };
  std::map<std::string, Entry> missing;
  for (const OnnxNode& node : file.graph.nodes) {
    const std::int64_t version = version_of(file, node);
    if (is_if(node) || op_table().find(node.domain, node.op_type, version) != nullptr) continue;
    const std::string domain = node.domain.empty() ? "ai.onnx" : node.domain;
    Entry& e = missing[detail::concat(node.op_type, " (domain ", domain, ", opset ", version, ")")];
    if (e.count++ == 0) e.first = node.label;
  }
  std::vector<std::string> out;
  for (const auto& [op, e] : missing) {
    out.push_back(detail::concat(op, ": ", e.count, e.count == 1 ? " node, " : " nodes, first ", e.first));
  }
  return out;
}

Specialised specialise(const OnnxFile& file, const SpecialiseRequest& request, const Evaluator& evaluate) {
  const std::vector<std::string> missing = unsupported_operators(file);
  if (!missing.empty()) {
    std::string text = "the model uses unsupported operators:";
    for (const std::string& m : missing) text += "\n  " + m;
    throw Error(ErrorKind::kUnsupported, text);
  }
  return Specialiser(file, request, evaluate).run();
}

}  // namespace onnxray::onnx_import
