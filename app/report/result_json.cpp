#include "app/report/result_json.h"

#include <nlohmann/json.hpp>

#include "engine/base/parallel.h"

namespace onnxray::app {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(Precision p) {
  switch (p) {
    case Precision::kFloat32: return "float32";
    case Precision::kFloat64: return "float64";
    case Precision::kDeclared: break;
  }
  return "declared";
}

std::string dump(const Json& j) { return j.dump(2, ' ', false, Json::error_handler_t::replace); }

Json model_json(const Model& model) {
  const Metadata& m = model.metadata();
  Json opsets = Json::object();
  for (const auto& [domain, version] : m.opsets) opsets[domain] = version;
  return {{"path", m.path},
          {"sha256", m.digest},
          {"producer", m.producer},
          {"ir_version", m.ir_version},
          {"opsets", opsets}};
}

// "cpu", or what the device calls itself.
std::string device_text(const Backend& b) { return b.device ? b.device->description() : b.name(); }

// Devices say how they multiply float32.
std::string precision_text(const Backend& b, Precision p) {
  if (b.device == nullptr || p != Precision::kFloat32) return text_of(p);
  switch (b.mode) {
    case ComputeMode::kBalanced: return "balanced";
    case ComputeMode::kFast: return "fast";
    case ComputeMode::kBf16: return "bf16";
    case ComputeMode::kExact: break;
  }
  return "exact";
}

Json compute_json(const Model& model, const Arguments& args, const ComputeReport& r) {
  return {{"device", device_text(model.backend())},
          {"precision", precision_text(model.backend(), r.precision)},
          {"threads", max_threads()},
          {"seed", args.seed},
          {"chunk", r.chunk},
          {"rows", r.rows},
          {"batched", r.batched},
          {"seconds", r.seconds},
          {"setup_seconds", r.setup_seconds},
          {"peak_bytes", r.peak_bytes},
          {"notices", r.notices}};
}

class ToJson final : public OptionVisitor {
 public:
  void operator()(const OptionInfo& i, bool& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { set(i, f); }
  void operator()(const OptionInfo& i, double& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::string& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::vector<double>& f) override { set(i, f); }
  void operator()(const OptionInfo& i, Baselines& f) override { set(i, f.text); }
  void operator()(const OptionInfo& i, FeatureMask& f) override { set(i, f.text); }
  Json values = Json::object();
  Json descriptions = Json::array();

 private:
  template <class T>
  void set(const OptionInfo& i, const T& v) {
    values[i.name] = v;
    Json d = {{"name", i.name}, {"description", i.description}, {"default", v}};
    if (!i.choices.empty()) d["choices"] = i.choices;
    descriptions.push_back(std::move(d));
  }
};

Json head(const Model& model, const std::string& verb) {
  return {{"onnxray", version()}, {"verb", verb}, {"model", model_json(model)}};
}

Json asked_scalars(const std::vector<std::string>& to, const std::vector<std::string>& targets) {
  return {{"to", to}, {"target", targets}};
}

}  // namespace

std::string doctor_json(const Model& model, const std::vector<OperatorUse>& uses,
                        const std::vector<DeviceColumn>& columns) {
  Json j = head(model, "doctor");
  j["operators"] = Json::array();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const OperatorUse& u = uses[i];
    Json devices = Json::object();
    for (const DeviceColumn& c : columns) {
      if (c.problem.empty()) devices[c.kind] = u.forward && c.on_host[i] == 0;
      else devices[c.kind] = nullptr;
    }
    j["operators"].push_back({{"operator", u.op},
                              {"domain", u.domain},
                              {"opset", u.version},
                              {"nodes", u.count},
                              {"first_node", u.first_node},
                              {"forward", u.forward},
                              {"gradient", u.gradient},
                              {"devices", devices}});
  }
  j["on_host"] = Json::object();
  j["absent"] = Json::object();
  for (const DeviceColumn& c : columns) {
    Json gaps = Json::array();
    for (const DeviceGap& g : c.gaps) gaps.push_back({{"node", g.node}, {"op", g.op}});
    j["on_host"][c.kind] = gaps;
    if (!c.absent.empty()) j["absent"][c.kind] = c.absent;
  }
  return dump(j);
}

std::string info_json(const Model& model, const ModelSummary& s) {
  Json j = head(model, "info");
  const auto list = [](const std::vector<ValueInfo>& values) {
    Json out = Json::array();
    for (const ValueInfo& v : values) {
      Json dims = Json::array();
      for (const DeclaredDim& d : v.dims) {
        if (d.value >= 0) dims.push_back(d.value);
        else if (d.symbol.empty()) dims.push_back(nullptr);
        else dims.push_back(d.symbol);
      }
      out.push_back({{"name", v.name}, {"dtype", name_of(v.dtype)}, {"shape", v.has_shape ? dims : Json(nullptr)}});
    }
    return out;
  };
  j["inputs"] = list(model.inputs());
  j["outputs"] = list(model.outputs());
  if (!s.problem.empty()) {
    j["problem"] = s.problem;
    return dump(j);
  }
  j["parameters"] = s.parameters;
  j["multiply_adds"] = s.multiply_adds;
  j["nodes"] = s.nodes;
  j["values"] = Json::array();
  for (const ValueSummary& v : s.values) {
    j["values"].push_back({{"name", v.name}, {"op", v.op}, {"dtype", v.dtype}, {"shape", v.dims}});
  }
  return dump(j);
}

std::string methods_json() {
  Json j = Json::array();
  for (const MethodInfo& m : methods()) {
    ToJson options;
    m.make()->visit_options(options);
    Json captum = Json::array();
    for (const CaptumClass& c : m.captum) captum.push_back({{"class", c.name}, {"arguments", c.arguments}});
    j.push_back({{"name", m.name},
                 {"title", m.title},
                 {"paper", m.paper},
                 {"formula", m.formula},
                 {"needs_baseline", m.needs_baseline},
                 {"stochastic", m.stochastic},
                 {"completeness", m.completeness},
                 {"conserves", m.conserves},
                 {"mixes_examples", m.mixes_examples},
                 {"from", m.from},
                 {"to", m.to},
                 {"cost", m.cost},
                 {"captum", captum},
                 {"differs_from_captum", m.differs_from_captum},
                 {"options", options.descriptions}});
  }
  return dump(j);
}

std::string verify_json(const std::vector<VerifyLine>& lines, int passed, int failed, int skipped) {
  Json j = {{"onnxray", version()}, {"verb", "verify"}, {"passed", passed}, {"failed", failed}, {"skipped", skipped}};
  j["cases"] = Json::array();
  for (const VerifyLine& l : lines)
    j["cases"].push_back({{"case", l.name}, {"status", l.status}, {"detail", l.detail}});
  return dump(j);
}

std::string run_json(const Model& model, const Arguments& args, const std::vector<std::string>& inputs,
                     const Evaluation& result, const std::map<std::string, std::string>& files) {
  Json j = head(model, "run");
  j["inputs"] = inputs;
  j["compute"] = compute_json(model, args, result.report);
  j["files"] = files;
  return dump(j);
}

std::string grad_json(const Model& model, const Arguments& args, const std::vector<std::string>& inputs,
                      const Gradients& result, const std::map<std::string, std::string>& files) {
  Json j = head(model, "grad");
  j["inputs"] = inputs;
  j["of"] = asked_scalars(args.to, args.targets);
  j["values"] = result.values;
  j["compute"] = compute_json(model, args, result.report);
  j["files"] = files;
  return dump(j);
}

namespace {

Json rows_json(const Answer& answer, std::size_t scalars) {
  Json rows = Json::array();
  const Attribution& result = answer.result;
  for (std::size_t r = 0; r < result.values.size(); ++r) {
    Json row = {{"row", r / scalars}, {"scalar", r % scalars}, {"value", result.values[r]}};
    if (!result.delta.empty()) {
      if (!result.baseline_values.empty()) row["baseline_value"] = result.baseline_values[r];
      row["delta"] = result.delta[r];
      if (!result.absorbed.empty()) row["absorbed"] = result.absorbed[r];
    }
    if (r < answer.shares.size()) {
      Json shares = Json::object();
      for (const auto& [name, share] : answer.shares[r]) shares[name] = share;
      row["positive_shares"] = shares;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Json files_json(const Answer& answer) {
  Json j = {{"attributions", answer.arrays}, {"heatmaps", answer.heatmaps}};
  if (!answer.charts.empty()) j["charts"] = answer.charts;
  return j;
}

}  // namespace

std::string attribute_json(const Model& model, const Arguments& args, const Request& request,
                           const LoadedInputs& inputs, const std::vector<Answer>& answers,
                           const Predictions& predictions, const std::string& grid) {
  const std::size_t k = std::max<std::size_t>(1, request.to.size());
  const auto method_into = [&](Json& j, const Answer& a) {
    ToJson options;
    a.method->visit_options(options);
    j["method"] = a.info->name;
    j["options"] = options.values;
  };
  Json j = head(model, "attribute");
  if (answers.size() == 1) method_into(j, answers[0]);
  j["inputs"] = inputs.files;
  Json scalars = asked_scalars(args.to, args.targets);
  scalars["log_probability"] = args.log_probability;
  scalars["mask"] = args.to_mask;
  scalars["from"] = args.from;
  if (!args.vary.empty()) scalars["vary"] = args.vary;
  j["asked"] = scalars;
  if (answers.size() == 1) j["rows"] = rows_json(answers[0], k);
  Json top = Json::array();
  for (const auto& list : predictions.rows) {
    Json row = Json::array();
    for (const auto& c : list) {
      row.push_back({{"class", c.index}, {"label", c.label}, {"score", c.score}, {"probability", c.probability}});
    }
    top.push_back(std::move(row));
  }
  j["predictions"] = top;
  if (answers.size() == 1) {
    j["compute"] = compute_json(model, args, answers[0].result.report);
    j["files"] = files_json(answers[0]);
    return dump(j);
  }
  j["answers"] = Json::array();
  for (const Answer& a : answers) {
    Json one = Json::object();
    method_into(one, a);
    one["rows"] = rows_json(a, k);
    one["compute"] = compute_json(model, args, a.result.report);
    one["files"] = files_json(a);
    j["answers"].push_back(std::move(one));
  }
  if (!grid.empty()) j["grid"] = grid;
  return dump(j);
}

}  // namespace onnxray::app
