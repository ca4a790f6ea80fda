#include "tests/algorithms/method_conformance.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "algorithms/session.h"
#include "app/io/npy.h"

namespace onnxray::testing {
namespace {

using Json = nlohmann::json;

Subject tank() {
  Subject s{.name = "tank", .model = load(in_source("examples/tank/biased.onnx"))};
  s.inputs["image"] = wave({kExamples, 3, 96, 96}, 3);
  const std::string input = s.model.inputs().at(0).name;
  s.inputs = {{input, wave({kExamples, 3, 96, 96}, 3)}};
  s.to = output(1) - output(0);
  s.from = {input};
  return s;
}

// Few rows: five steps, windows of half an axis.
class Small final : public LeaveOptions {
 public:
  using LeaveOptions::operator();
  Small(const Subject& s, const Request& request) : subject_(s), request_(request) {}
  void operator()(const OptionInfo& info, std::int64_t& field) override {
    const std::string name = info.name;
    if (name == "n_steps") field = 5;
    if (name == "n_samples") field = 6;
    if (name == "nt_samples") field = 3;
    if (name == "max_steps") field = 64;
  }
  void operator()(const OptionInfo& info, double& field) override {
    if (std::string(info.name) == "max_delta") field = 10;
    if (std::string(info.name) == "max_sigma") field = 2;
    // LIME's: a stronger lasso leaves nothing of small models.
    if (std::string(info.name) == "alpha" && info.lo < 1) field = 1e-6;
  }
  void operator()(const OptionInfo& info, std::vector<std::vector<std::int64_t>>& field) override {
    if (std::string(info.name) == "token_grid") return;
    for (const std::string& name : subject_.from) {
      Dims window = row_dims_of_value(subject_.model, request_, name);
      for (std::int64_t& d : window) d = (d + 1) / 2;
      field.push_back(window);
    }
    EXPECT_TRUE(std::string(info.name) == "sliding_window_shapes" || std::string(info.name) == "strides");
  }
  void operator()(const OptionInfo& info, std::vector<double>& field) override {
    if (std::string(info.name) == "stdevs") field = {0.05};
  }
  void operator()(const OptionInfo&, Baselines& field) override {
    field.constant = 0.125;
    field.text = "0.125";
  }
  void operator()(const OptionInfo&, FeatureMask& field) override { field = grid_mask(2); }

 private:
  const Subject& subject_;
  const Request& request_;
};

}  // namespace

Scalar parsed(const Model& model, const NamedTensors& inputs, const std::string& text) {
  std::int64_t examples = 1;
  const Request probe{.inputs = inputs};
  const auto canonical = model.canonical(specialisation_of(model, probe, examples));
  return parse_scalar(text, [&](std::string_view n) { return canonical->graph.find(n) != kNoValue; });
}

Subject exported(const std::string& name, bool inner) {
  const auto folder = in_source("tests/golden/exports/" + name);
  std::ifstream file(folder / "case.json");
  const Json j = Json::parse(file);
  Subject s{.name = name + (inner ? " inner" : ""), .model = load(folder / "model.onnx")};
  for (const auto& [input, files] : j.at("inputs").items()) {
    std::vector<Tensor> rows;
    for (const Json& f : files) rows.push_back(app::read_npy(folder / f.get<std::string>()));
    s.inputs[input] = stack_rows(rows);
  }
  s.to = parsed(s.model, s.inputs, j.at("of"));
  for (const auto& [value, files] : j.at("grads").items()) {
    if (s.inputs.contains(value) != inner && s.from.empty()) s.from = {value};
  }
  s.mixed = j.at("mixed");
  return s;
}

const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = [] {
    std::vector<Subject> list;
    for (const char* name :
         {"resnet-opset17-double", "own_vit-opset17-double", "lstm-opset17-double", "mixed_rows-opset17-double",
          "constant_reshape-opset13-float", "resnet-opset11-float", "vit-opset17-double", "swin-opset17-double",
          "lstm-opset18-float-dynamo", "constant_reshape-opset17-double"}) {
      list.push_back(exported(name));
    }
    for (const char* name :
         {"bert-opset17-double", "resnet-opset17-double", "swin-opset17-double", "gpt2-opset17-double"})
      list.push_back(exported(name, true));
    list.push_back(tank());
    return list;
  }();
  return all;
}

bool runs_on(const MethodInfo& info, const Subject& s) {
  // The simulator computes thread by thread: small models there.
  if (device_backend("").name() == "cuda-sim") {
    for (const char* name : {"resnet-opset17-double", "constant_reshape-opset13-float", "mixed_rows-opset17-double",
                             "bert-opset17-double inner"}) {
      if (s.name == name) return true;
    }
    return false;
  }
  // It masks a picture, which token ids and rows of features are not.
  if (info.name == "score-cam" && (s.mixed || !is_float(s.model.inputs().at(0).dtype))) return false;
  // It attributes to inputs of models with a map to multiply by.
  if (info.name == "guided-grad-cam") return s.name == "resnet-opset17-double" || s.name == "own_vit-opset17-double";
  for (const char* name : {"saliency", "integrated-gradients", "occlusion"}) {
    if (info.name == name) return true;
  }
  for (const char* name :
       {"resnet-opset17-double", "own_vit-opset17-double", "lstm-opset17-double", "mixed_rows-opset17-double",
        "constant_reshape-opset13-float", "bert-opset17-double inner"}) {
    if (s.name == name) return true;
  }
  return false;
}

bool applies(const MethodInfo& info, const Subject& s) {
  if (info.name == "noise-tunnel") {
    return std::any_of(s.inputs.begin(), s.inputs.end(), [](const auto& in) { return is_float(in.second.dtype()); });
  }
  if (info.name != "blur-integrated-gradients") return true;
  const Request request{.inputs = s.inputs, .to = {s.to}, .from = s.from};
  return std::all_of(s.from.begin(), s.from.end(),
                     [&](const std::string& name) { return row_dims_of_value(s.model, request, name).size() >= 2; });
}

std::unique_ptr<Method> small_method(const MethodInfo& info, const Subject& s, const Request& request) {
  auto method = info.make();
  Small options(s, request);
  method->visit_options(options);
  check_options(*method);
  return method;
}

Attribution run_small(const MethodInfo& info, const Subject& s, const ComputeOptions& compute, std::int64_t example) {
  Request request{.inputs = s.inputs, .to = {s.to}, .from = s.from, .compute = compute};
  if (example >= 0) {
    for (auto& [name, t] : request.inputs) t = t.rows(example, example + 1);
    request.compute.first_example = example;  // the draws of its row in the batch
  }
  return small_method(info, s, request)->run(s.model, request);
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodInfo& m : methods()) names.push_back(m.name);
  return names;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& p) {
  std::string name = p.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace onnxray::testing
