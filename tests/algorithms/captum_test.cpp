// Captum's values (tests/golden/captum, made by make_values.py) and the definitions they stand for.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "app/io/json.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using Json = nlohmann::json;
using testing::in_source;
using testing::largest;
using testing::largest_difference;

Tensor array_of(const Json& j) { return app::parse_json_tensor(j.dump(), "cases.json").to(DType::f64); }

const Model& model_named(const std::string& file) {
  static std::map<std::string, Model> loaded;
  auto it = loaded.find(file);
  if (it == loaded.end()) it = loaded.emplace(file, load(in_source("tests/golden/captum/" + file))).first;
  return it->second;
}

const ValueInfo& input_named(const Model& model, const std::string& name) {
  for (const ValueInfo& in : model.inputs()) {
    if (in.name == name) return in;
  }
  fail("no input ", name);
}

std::vector<std::string> names_of(const Json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

struct Case {
  explicit Case(const Json& j) : json(j), model(model_named(j.at("model"))) {
    for (const char* key : {"inputs", "fixed_inputs"}) {
      if (!j.contains(key)) continue;
      for (const auto& [name, value] : j.at(key).items()) {
        const DType t = input_named(model, name).dtype;
        request.inputs[name] = array_of(value).to(is_float(t) ? DType::f64 : t);
        examples = request.inputs[name].dims().at(0);
      }
    }
    Scalar to = scalar_of(model.outputs().at(0).name);
    if (j.contains("target") && !j.at("target").is_null()) {
      const Json& t = j.at("target");
      auto& index = to.terms[0].index;
      if (t.is_number()) index = {{t.get<std::int64_t>()}};
      else if (t.at(0).is_array()) index = t.get<std::vector<std::vector<std::int64_t>>>();
      else if (j.at("target_form") == "tuple") index = {t.get<std::vector<std::int64_t>>()};
      else
        for (const Json& i : t) index.push_back({i.get<std::int64_t>()});
    }
    request.to = {to};
    request.compute.precision = j.at("precision") == "float64" ? Precision::kFloat64 : Precision::kFloat32;
    if (!j.contains("layer")) {
      request.from = names_of(j.at("inputs"));  // in the order of the names, as the windows are
    } else if (j.at("layer").is_string()) {
      request.from = {j.at("layer")};
    } else {
      request.from = j.at("layer").get<std::vector<std::string>>();
    }
  }

  // A full-sized baseline of every input: a missing name or key is 0.
  NamedTensors baseline_inputs() const {
    NamedTensors out;
    for (const auto& [name, x] : request.inputs) {
      if (!json.at("inputs").contains(name)) {
        out[name] = x;
        continue;
      }
      const Json given = json.contains("baselines") ? json.at("baselines").value(name, Json(0.0)) : Json(0.0);
      Tensor t = Tensor::full(DType::f64, x.dims(), given.is_number() ? given.get<double>() : 0.0);
      if (!given.is_number()) {
        t = array_of(given);
        if (t.dims()[0] == 1) t = stack_rows(std::vector<Tensor>(static_cast<std::size_t>(examples), t));
      }
      out[name] = t.to(x.dtype());
    }
    return out;
  }

  Baselines baselines() const {
    Baselines b;
    b.kind = Baselines::Kind::kTensors;
    if (json.contains("layer")) {
      b.tensors = evaluate(model, baseline_inputs(), request.from, request.compute).values;
    } else {
      for (const auto& [name, t] : baseline_inputs()) {
        if (json.at("inputs").contains(name)) b.tensors[name] = t;
      }
    }
    return b;
  }

  Attribution run() const {
    const Json& o = json.at("options");
    const std::string method = json.at("method");
    if (method == "saliency") return attribute(model, Saliency{.abs = o.value("abs", true)}, request);
    if (method == "input-x-gradient") return attribute(model, InputXGradient{}, request);
    if (method == "integrated-gradients") {
      IntegratedGradients ig;
      ig.n_steps = o.at("n_steps");
      ig.method = o.at("method");
      ig.multiply_by_inputs = o.at("multiply_by_inputs");
      ig.baselines = baselines();
      return attribute(model, ig, request);
    }
    Occlusion occlusion;
    const auto lists = [&](const char* key) {
      std::vector<std::vector<std::int64_t>> out;
      if (!o.contains(key)) return out;
      for (const Json& one : o.at(key)) {
        out.push_back(one.is_number() ? std::vector<std::int64_t>{one.get<std::int64_t>()}
                                      : one.get<std::vector<std::int64_t>>());
      }
      return out;
    };
    occlusion.sliding_window_shapes = lists("sliding_window_shapes");
    occlusion.strides = lists("strides");
    occlusion.baselines = baselines();
    return attribute(model, occlusion, request);
  }

  const Json& json;
  const Model& model;
  Request request;
  std::int64_t examples = 1;
};

// Values by name within `tolerance` of the largest of them.
void expect_values(const Attribution& got, const Json& want, double tolerance, const char* what) {
  for (const auto& [name, value] : want.items()) {
    if (name == "delta") continue;
    ASSERT_TRUE(got.attributions.contains(name)) << name;
    const Tensor& a = got.attributions.at(name);
    const Tensor b = array_of(value);
    EXPECT_EQ(a.dims(), b.dims()) << what << " " << name;
    EXPECT_LE(largest_difference(a.to_doubles(), b.to_doubles()), tolerance * std::max(1e-6, largest(b.to_doubles())))
        << what << " " << name;
  }
}

void expect_delta(const Attribution& got, const Json& want, const Json& values, double tolerance, const char* what) {
  double sum = 0;
  for (const auto& [name, value] : values.items()) {
    for (const double v : array_of(value).to_doubles()) sum += std::abs(v);
  }
  EXPECT_LE(largest_difference(got.delta, want.get<std::vector<double>>()), tolerance * std::max(1.0, sum)) << what;
}

TEST(Captum, EveryCase) {
  std::ifstream file(in_source("tests/golden/captum/cases.json"));
  const Json cases = Json::parse(file);
  ASSERT_GE(cases.size(), 393u);
  std::map<std::string, int> checks;
  for (const Json& j : cases) {
    SCOPED_TRACE(j.at("name").get<std::string>());
    Attribution got;
    try {
      got = Case(j).run();
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
      continue;
    }
    ++checks[j.at("method")];
    const double tolerance = j.at("tol");
    if (j.contains("captum_is_wrong")) {
      ++checks["Captum is wrong"];
      // `right` is the definition in float64, where Captum may have run in float32.
      const double right = j.at("precision") == "float64" ? j.at("right_tol").get<double>() : tolerance;
      expect_values(got, j.at("right"), right, "right");
      expect_delta(got, j.at("right_delta"), j.at("right"), right, "right delta");
      double difference = 0;
      for (const auto& [name, value] : j.at("expected").items()) {
        difference = std::max(difference,
                              largest_difference(got.attributions.at(name).to_doubles(), array_of(value).to_doubles()));
      }
      EXPECT_GT(difference, 100 * tolerance) << "equals what Captum says";
      continue;
    }
    expect_values(got, j.at("expected"), tolerance, "Captum");
    if (j.contains("delta")) expect_delta(got, j.at("delta"), j.at("expected"), tolerance, "Captum's delta");
    if (j.contains("math")) {
      ++checks["math"];
      expect_values(got, j.at("math"), j.at("math_tol"), "math");
      if (j.contains("math_delta")) {
        expect_delta(got, j.at("math_delta"), j.at("math"), j.at("math_tol"), "math delta");
      }
    }
    if (j.contains("closed_form")) expect_values(got, j.at("closed_form"), 1e-10, "closed form");
    if (j.contains("asserted")) {
      for (const auto& [name, value] : j.at("asserted").items()) {
        if (name == "delta") continue;
        EXPECT_LE(largest_difference(got.attributions.at(name).to_doubles(), array_of(value).to_doubles()),
                  j.at("asserted_tol").get<double>())
            << "printed by Captum: " << name;
      }
    }
  }
  for (const auto& [what, count] : checks) RecordProperty(what, count);
  EXPECT_EQ(checks["saliency"] + checks["input-x-gradient"] + checks["integrated-gradients"] + checks["occlusion"],
            static_cast<int>(cases.size()));
  EXPECT_EQ(checks["Captum is wrong"], 28);
  EXPECT_GE(checks["math"], 221);
}

// The numbers in Captum's README, to the digits printed there.
TEST(Captum, ReadmeToyModel) {
  const Model& model = model_named("readme_toy.onnx");
  const Tensor x = Tensor::from<double>({2, 3}, {0.2961, 0.5166, 0.2517, 0.6886, 0.0740, 0.8665});
  const Request request{.inputs = {{"x", x}}, .to = {output(0)}};
  const Attribution a = attribute(model, IntegratedGradients{}, request);
  EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), {-0.5922, -1.5497, -1.0067, 0, -0.2219, -5.1991}),
            1e-3);
  EXPECT_LE(largest(a.delta), 1e-5);
}

}  // namespace
}  // namespace onnxray
