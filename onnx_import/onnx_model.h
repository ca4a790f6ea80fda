// OnnxModel: a parsed file as the engine's ModelSource.
#pragma once
#include "engine/model.h"
#include "onnx_import/node.h"

namespace onnxray::onnx_import {

class OnnxModel final : public ModelSource {
 public:
  // Throws kUnsupported listing every unsupported operator.
  explicit OnnxModel(OnnxFile file, std::string path = {}, bool allow_unsupported = false);

  [[nodiscard]] const std::vector<ValueInfo>& inputs() const override { return file_.graph.inputs; }
  [[nodiscard]] const std::vector<ValueInfo>& outputs() const override { return file_.graph.outputs; }
  [[nodiscard]] const Metadata& metadata() const override { return metadata_; }
  [[nodiscard]] std::vector<OperatorUse> operators() const override;
  [[nodiscard]] SpecialisedGraph specialise(const Specialisation& request, const Evaluator& evaluate) const override;

 private:
  OnnxFile file_;
  Metadata metadata_;
};

}  // namespace onnxray::onnx_import
