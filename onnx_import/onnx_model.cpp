#include "onnx_import/onnx_model.h"

#include "onnx_import/convert.h"
#include "onnx_import/specialise.h"

namespace onnxray::onnx_import {

OnnxModel::OnnxModel(OnnxFile file, std::string path, bool allow_unsupported) : file_(std::move(file)) {
  if (!allow_unsupported) {
    const std::vector<std::string> missing = unsupported_operators(file_);
    if (!missing.empty()) {
      std::string text = "the model uses unsupported operators:";
      for (const std::string& m : missing) text += "\n  " + m;
      throw Error(ErrorKind::kUnsupported, text);
    }
  }
  metadata_.path = std::move(path);
  metadata_.digest = file_.digest;
  metadata_.producer = file_.producer;
  metadata_.ir_version = file_.ir_version;
  for (const auto& [domain, version] : file_.opsets) metadata_.opsets[domain.empty() ? "ai.onnx" : domain] = version;
}

std::vector<OperatorUse> OnnxModel::operators() const {
  std::map<std::pair<std::string, std::string>, OperatorUse> uses;
  for (const OnnxNode& node : file_.graph.nodes) {
    OperatorUse& use = uses[{node.domain, node.op_type}];
    if (use.count++ > 0) continue;
    use.op = node.op_type;
    use.domain = node.domain.empty() ? "ai.onnx" : node.domain;
    const auto version = file_.opsets.find(node.domain == "ai.onnx" ? "" : node.domain);
    use.version = version == file_.opsets.end() ? 1 : version->second;
    use.first_node = node.label;
    const OpRow* row = op_table().find(node.domain, node.op_type, use.version);
    use.forward = row != nullptr;
    use.gradient = row != nullptr && row->has_gradient;
  }
  std::vector<OperatorUse> out;
  for (auto& [key, use] : uses) out.push_back(std::move(use));
  return out;
}

SpecialisedGraph OnnxModel::specialise(const Specialisation& request, const Evaluator& evaluate) const {
  SpecialiseRequest r;
  r.input_dims.insert(request.dims.begin(), request.dims.end());
  r.input_rows.insert(request.rows.begin(), request.rows.end());
  r.input_data.insert(request.data.begin(), request.data.end());
  Specialised s = onnx_import::specialise(file_, r, evaluate);
  return {std::move(s.graph), s.depends_on_data, std::move(s.first_data_dependence)};
}

}  // namespace onnxray::onnx_import
