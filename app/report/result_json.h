// result.json and the --json outputs: what was asked, what came out, and all it takes to repeat it.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/onnxray.h"
#include "app/cli/arguments.h"
#include "app/cli/inputs.h"
#include "app/report/mask_shares.h"

namespace onnxray::app {

struct ValueSummary {
  std::string name, op, dtype;
  Dims dims;
};

struct ModelSummary {
  std::vector<ValueSummary> values;
  std::int64_t parameters = 0, multiply_adds = 0, nodes = 0;
  std::string problem;  // why there are no values
};
[[nodiscard]] ModelSummary summarize(const Graph& canonical);

// The model's answer in words: top classes with labels and, for a classifier, probabilities.
struct Predictions {
  struct Class {
    std::int64_t index = 0;
    std::string label;
    double score = 0, probability = 0;
  };
  std::vector<std::vector<Class>> rows;  // empty when the output is no vector of classes
  std::vector<std::string> lines;        // "row 0: tank (class 1), P = 0.993"
};
[[nodiscard]] Predictions predict(const Model& model, const Request& request, const std::vector<std::string>& labels);

// A method's result and what was written of it.
struct Answer {
  const MethodInfo* info = nullptr;
  std::unique_ptr<Method> method;
  Attribution result;
  std::map<std::string, std::string> arrays;  // value -> file
  std::vector<std::string> heatmaps;          // pictures over the input's picture
  std::vector<std::string> charts;            // bars, time series, text
  std::vector<Shares> shares;                 // per row, of the first attribution that lies over the picture
};

struct VerifyLine {
  std::string name, status, detail;
};

// What a device computes of a model, for `doctor`.
struct DeviceColumn {
  std::string kind;           // "cpu", "cuda"
  std::vector<char> on_host;  // per operator: some of its nodes run on the host
  std::vector<DeviceGap> gaps;
  std::string problem;  // why it is not known
  std::string absent;   // why this machine cannot use the device; empty where it can
};
[[nodiscard]] std::string doctor_json(const Model& model, const std::vector<OperatorUse>& uses,
                                      const std::vector<DeviceColumn>& columns);
[[nodiscard]] std::string info_json(const Model& model, const ModelSummary& summary);
[[nodiscard]] std::string methods_json();
[[nodiscard]] std::string verify_json(const std::vector<VerifyLine>& lines, int passed, int failed, int skipped);
[[nodiscard]] std::string run_json(const Model& model, const Arguments& args, const std::vector<std::string>& inputs,
                                   const Evaluation& result, const std::map<std::string, std::string>& files);
[[nodiscard]] std::string grad_json(const Model& model, const Arguments& args, const std::vector<std::string>& inputs,
                                    const Gradients& result, const std::map<std::string, std::string>& files);
// One answer: its method, options, rows, compute and files at the top. Several: a list `answers` of these. `grid`: the
// file with all of them side by side, if there is one.
[[nodiscard]] std::string attribute_json(const Model& model, const Arguments& args, const Request& request,
                                         const LoadedInputs& inputs, const std::vector<Answer>& answers,
                                         const Predictions& predictions, const std::string& grid);

}  // namespace onnxray::app
