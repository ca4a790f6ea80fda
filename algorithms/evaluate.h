// Forward values for any number of rows, also for a model exported at batch 1.
#pragma once
#include <string>
#include <vector>

#include "algorithms/request.h"

namespace onnxray {

struct Evaluation {
  NamedTensors values;  // rows first: [examples, one row's dims...]; values shared by all rows as they are
  ComputeReport report;
};

// `values` empty: the model's outputs. Rows that mix run one at a time, with a notice.
[[nodiscard]] Evaluation evaluate(const Model& model, const NamedTensors& inputs, std::vector<std::string> values = {},
                                  const ComputeOptions& compute = {});

}  // namespace onnxray
