// Exports of PyTorch against PyTorch's float64 outputs and input gradients (tests/golden/README.md says how they are
// made). ONNXRAY_EXPORTS=DIR runs the same checks on another folder of cases, e.g. the full-size ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "api/onnxray.h"
#include "app/io/npy.h"
#include "engine/autodiff.h"
#include "engine/op.h"
#include "tests/source_dir.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;

double relative_l2(const Tensor& got, const Tensor& want) {
  const auto a = got.to_doubles(), b = want.to_doubles();
  if (a.size() != b.size()) return INFINITY;
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm == 0 ? std::sqrt(error) : std::sqrt(error / norm);
}

std::string short_text(double v) {
  std::ostringstream s;
  s << std::setprecision(3) << v;
  return s.str();
}

// What every piecewise linear operator of the model decided: signs of ReLU outputs, positions of maxima, the pieces of
// hard sigmoids and hard swishes. A float32 gradient can only be close to the float64 one where these agree.
std::vector<std::int64_t> decisions(const Model& model, const NamedTensors& inputs, Precision precision) {
  Specialisation spec;
  for (const auto& [name, t] : inputs) spec.dims[name] = t.dims();
  spec.data = inputs;
  const auto canonical = model.canonical(spec);
  std::vector<ValueId> asked;
  std::vector<std::pair<double, double>> pieces;  // the two kinks of each asked value
  const auto ask = [&](ValueId v, double lo, double hi) {
    asked.push_back(v);
    pieces.emplace_back(lo, hi);
  };
  for (const Node& node : canonical->graph.nodes()) {
    if (node.op->name == "relu") ask(node.outputs[0], 0, INFINITY);
    if (node.op->name == "max_pool") ask(node.outputs[1], 0, 0);
    if (node.op->name == "hard_sigmoid") ask(node.outputs[0], 0, 1);
    if (node.op->name == "hard_swish") ask(node.inputs[0], -3, 3);
  }
  Graph g = prepare_forward(extract(canonical->graph, {}, asked), precision, model.evaluator());
  const auto plan = Plan::compile(lower_for(model.backend(), g, model.evaluator()), model.backend(), model.prepared());
  PlanRun run(plan);
  for (std::size_t i = 0; i < plan->graph().inputs().size(); ++i) {
    run.bind(i, inputs.at(plan->graph().value(plan->graph().inputs()[i]).name));
  }
  run.execute();
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const Tensor t = run.output(i);
    if (is_float(t.dtype())) {
      for (const double v : t.to_doubles()) out.push_back((v > pieces[i].first) + (v >= pieces[i].second));
    } else {
      const auto v = t.to_ints();
      out.insert(out.end(), v.begin(), v.end());
    }
  }
  return out;
}

std::vector<fs::path> folders() {
  const char* given = std::getenv("ONNXRAY_EXPORTS");
  const fs::path root =
      given != nullptr ? fs::path(given) : fs::path(onnxray::testing::source_dir()) / "tests/golden/exports";
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / "case.json") && !entry.path().string().ends_with(".part"))
      out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// float64 exports whose files hold float32 numbers: HardSigmoid's alpha is a float32 attribute; the attention scale of
// swin_t and of the dynamo exporter's transformers, and the constants of tanh-GELU, are stored in float32.
constexpr const char* kFloat32Constants[] = {
    "mobilenet_v3",          "swin_t",          "gpt2-opset18",         "hf_gpt2-opset18",
    "own_gpt2_like-opset18", "hf_bert-opset18", "own_vit_b_16-opset18", "bert-opset18"};

class Exports : public ::testing::TestWithParam<fs::path> {};

TEST_P(Exports, AgreesWithPyTorch) {
  const fs::path folder = GetParam();
  nlohmann::json c;
  std::ifstream(folder / "case.json") >> c;
  const Model model = load(folder / c["model"].get<std::string>());
  const bool declared_double = c["declared"] == "float64";
  // float64 exports: 1e-9, or 1e-7 where the file keeps constants in float32; float32 exports are folded by the
  // exporter in float32.
  const std::string family = folder.filename().string();
  const bool narrow = std::any_of(std::begin(kFloat32Constants), std::end(kFloat32Constants),
                                  [&](const char* prefix) { return family.starts_with(prefix); });
  const double bound64 = declared_double ? (narrow ? 1e-7 : 1e-9) : 1e-6;
  const std::string of = c["of"];
  std::vector<std::string> wrt;
  for (const auto& [name, files] : c["grads"].items()) wrt.push_back(name);
  const std::size_t rows = c["inputs"].begin()->size();
  std::vector<double> flipped;
  double worst64 = 0, same32 = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    NamedTensors inputs;
    for (const auto& [name, files] : c["inputs"].items())
      inputs[name] = app::read_npy(folder / files[r].get<std::string>());
    const auto graph_has = [&](std::string_view name) {
      Specialisation spec;
      for (const auto& [n, t] : inputs) spec.dims[n] = t.dims();
      spec.data = inputs;
      return model.canonical(spec)->graph.find(name) != kNoValue;
    };
    std::vector<std::string> values;
    for (const auto& [name, files] : c["outputs"].items()) values.push_back(name);
    if (c.contains("values")) {
      for (const auto& [name, files] : c["values"].items()) values.push_back(name);
    }
    const NamedTensors forward = run(model, inputs, values, {.precision = Precision::kFloat64});
    for (const char* kind : {"outputs", "values"}) {
      if (!c.contains(kind)) continue;
      for (const auto& [name, files] : c[kind].items()) {
        const double e = relative_l2(forward.at(name), app::read_npy(folder / files[r].get<std::string>()));
        EXPECT_LE(e, bound64) << kind << " " << name << " row " << r;
        worst64 = std::max(worst64, e);
      }
    }
    const std::vector<Scalar> scalar{parse_scalar(of, graph_has)};
    const Gradients g64 =
        gradient(model, {.inputs = inputs, .of = scalar, .wrt = wrt, .compute = {.precision = Precision::kFloat64}});
    const Gradients g32 =
        gradient(model, {.inputs = inputs, .of = scalar, .wrt = wrt, .compute = {.precision = Precision::kFloat32}});
    // On a device (ONNXRAY_DEVICE) nothing of these models falls back to the host.
    for (const Gradients* g : {&g64, &g32}) {
      for (const std::string& n : g->report.notices) EXPECT_EQ(n.find("run on the host"), std::string::npos) << n;
    }
    const bool same = decisions(model, inputs, Precision::kFloat64) == decisions(model, inputs, Precision::kFloat32);
    for (const std::string& name : wrt) {
      const Tensor want = app::read_npy(folder / c["grads"][name][r].get<std::string>());
      const double e64 = relative_l2(g64.gradients.at(name), want), e32 = relative_l2(g32.gradients.at(name), want);
      EXPECT_LE(e64, bound64) << "float64 gradient of " << name << " row " << r;
      worst64 = std::max(worst64, e64);
      if (!same) {
        flipped.push_back(e32);
        continue;
      }
      same32 = std::max(same32, e32);
      EXPECT_LE(e32, 1e-5) << "float32 gradient of " << name << " row " << r;
    }
  }
  std::sort(flipped.begin(), flipped.end());
  // Kept by --gtest_output=json:FILE, from which tests/golden/accuracy.py makes its tables.
  RecordProperty("case", family);
  RecordProperty("rows", static_cast<int>(rows));
  RecordProperty("float64", short_text(worst64));
  RecordProperty("float32", short_text(same32));
  RecordProperty("flipped", static_cast<int>(flipped.size()));
  std::cout << family << ": float64 " << worst64 << ", float32 " << same32 << ", " << flipped.size() << " of " << rows
            << " rows with flipped decisions";
  if (!flipped.empty()) {
    const double median = flipped[flipped.size() / 2];
    RecordProperty("flipped_median", short_text(median));
    RecordProperty("flipped_largest", short_text(flipped.back()));
    std::cout << ": median " << median << ", largest " << flipped.back();
  }
  std::cout << "\n";
  if (!flipped.empty()) {
    // The median speaks over eight inputs, as the full-size float32 cases have.
    if (rows >= 8) {
      EXPECT_LE(flipped[flipped.size() / 2], 5e-3);
    }
    EXPECT_LE(flipped.back(), 5e-2);
  }
}

// Three rows at once give what three single rows give, bit for bit in float64.
TEST_P(Exports, RowsAreIndependent) {
  const fs::path folder = GetParam();
  nlohmann::json c;
  std::ifstream(folder / "case.json") >> c;
  const Model model = load(folder / c["model"].get<std::string>());
  const std::size_t rows = std::min<std::size_t>(3, c["inputs"].begin()->size());
  std::vector<std::string> wrt;
  for (const auto& [name, files] : c["grads"].items()) wrt.push_back(name);
  std::vector<NamedTensors> single(rows);
  NamedTensors stacked;
  for (const auto& [name, files] : c["inputs"].items()) {
    std::vector<Tensor> parts;
    for (std::size_t r = 0; r < rows; ++r) {
      parts.push_back(app::read_npy(folder / files[r].get<std::string>()));
      single[r][name] = parts.back();
    }
    stacked[name] = stack_rows(parts);
  }
  const auto is_value = [&](std::string_view name) {
    Specialisation spec;
    for (const auto& [n, t] : single[0]) spec.dims[n] = t.dims();
    spec.data = single[0];
    return model.canonical(spec)->graph.find(name) != kNoValue;
  };
  const std::vector<Scalar> scalar{parse_scalar(c["of"].get<std::string>(), is_value)};
  const ComputeOptions compute{.precision = Precision::kFloat64};
  const Gradients all = gradient(model, {.inputs = stacked, .of = scalar, .wrt = wrt, .compute = compute});
  const bool mixed = c.value("mixed", false);
  EXPECT_EQ(all.report.batched, !mixed);
  if (mixed) {
    ASSERT_FALSE(all.report.notices.empty());
    std::cout << folder.filename().string() << ": " << all.report.notices[0] << "\n";
  }
  std::vector<std::string> values;
  for (const ValueInfo& out : model.outputs()) values.push_back(out.name);
  if (c.contains("values")) {
    for (const auto& [name, files] : c["values"].items()) values.push_back(name);
  }
  const Evaluation forward = evaluate(model, stacked, values, compute);
  for (std::size_t r = 0; r < rows; ++r) {
    const Gradients one = gradient(model, {.inputs = single[r], .of = scalar, .wrt = wrt, .compute = compute});
    for (const std::string& name : wrt) {
      const Tensor got = all.gradients.at(name).rows(static_cast<std::int64_t>(r), static_cast<std::int64_t>(r) + 1);
      EXPECT_TRUE(got.same_bits(one.gradients.at(name))) << name << " row " << r;
    }
    const Evaluation alone = evaluate(model, single[r], values, compute);
    for (const std::string& name : values) {
      const Tensor& together = forward.values.at(name);
      if (together.rank() == 0 || together.dims()[0] != static_cast<std::int64_t>(rows)) continue;
      const Tensor row = together.rows(static_cast<std::int64_t>(r), static_cast<std::int64_t>(r) + 1);
      const Tensor want = alone.values.at(name);
      ASSERT_EQ(row.size(), want.size()) << name;
      EXPECT_TRUE(row.same_bits(want.reshaped(row.dims()))) << name << " row " << r;
    }
  }
}

// On a device (ONNXRAY_DEVICE): how far each way to multiply is from float64, printed; float32's own is bounded above.
TEST_P(Exports, ErrorsByMode) {
  if (device_backend("").device == nullptr) GTEST_SKIP() << "the device is the CPU";
  const fs::path folder = GetParam();
  nlohmann::json c;
  std::ifstream(folder / "case.json") >> c;
  NamedTensors inputs;
  for (const auto& [name, files] : c["inputs"].items())
    inputs[name] = app::read_npy(folder / files[0].get<std::string>());
  std::vector<std::string> wrt;
  for (const auto& [name, files] : c["grads"].items()) wrt.push_back(name);
  struct Mode {
    const char* name;
    ComputeMode mode;
    double value = 0, gradient = 0;
  };
  Mode modes[] = {{"exact", ComputeMode::kExact},
                  {"balanced", ComputeMode::kBalanced},
                  {"fast", ComputeMode::kFast},
                  {"bf16", ComputeMode::kBf16}};
  std::cout << folder.filename().string() << ":";
  for (Mode& m : modes) {
    const Model model = load(folder / c["model"].get<std::string>(), {.mode = m.mode});
    Specialisation spec;
    for (const auto& [n, t] : inputs) spec.dims[n] = t.dims();
    spec.data = inputs;
    const auto canonical = model.canonical(spec);
    const auto is_value = [&](std::string_view name) { return canonical->graph.find(name) != kNoValue; };
    const std::vector<Scalar> scalar{parse_scalar(c["of"].get<std::string>(), is_value)};
    std::vector<std::string> values;
    for (const auto& [name, files] : c["outputs"].items()) values.push_back(name);
    const NamedTensors outputs = evaluate(model, inputs, values, {.precision = Precision::kFloat32}).values;
    for (const auto& [name, files] : c["outputs"].items()) {
      const Tensor want = app::read_npy(folder / files[0].get<std::string>());
      m.value = std::max(m.value, relative_l2(outputs.at(name).reshaped(want.dims()), want));
    }
    const Gradients g =
        gradient(model, {.inputs = inputs, .of = scalar, .wrt = wrt, .compute = {.precision = Precision::kFloat32}});
    for (const std::string& name : wrt) {
      const Tensor want = app::read_npy(folder / c["grads"][name][0].get<std::string>());
      m.gradient = std::max(m.gradient, relative_l2(g.gradients.at(name), want));
    }
    std::cout << " " << m.name << " " << m.value << " (gradient " << m.gradient << ")";
  }
  std::cout << "\n";
  const auto& [exact, balanced, fast, bf16] = modes;
  EXPECT_LE(exact.value, 1e-5);
  EXPECT_EQ(balanced.value, exact.value) << "the forward pass of balanced is exact's";
  EXPECT_LT(balanced.gradient, fast.gradient + 1e-3);
  EXPECT_GT(fast.value, exact.value);
  EXPECT_GT(bf16.value, fast.value);
}

// Where a backend wants attention as one node, every block of a transformer is one, forward and backward, and the
// probabilities need no memory. The values and gradients of such plans are those that sim_models compares.
TEST_P(Exports, AttentionIsOneNode) {
  const fs::path folder = GetParam();
  const std::string family = folder.filename().string();
  if (family.find("vit") == std::string::npos && family.find("bert") == std::string::npos &&
      family.find("gpt2") == std::string::npos && family.find("swin") == std::string::npos) {
    GTEST_SKIP() << "no transformer";
  }
  nlohmann::json c;
  std::ifstream(folder / "case.json") >> c;
  const Model model = load(folder / c["model"].get<std::string>(), {.device = "cpu"});
  Specialisation spec;
  for (const auto& [name, files] : c["inputs"].items()) {
    spec.data[name] = app::read_npy(folder / files[0].get<std::string>());
    spec.dims[name] = spec.data[name].dims();
  }
  const auto canonical = model.canonical(spec);
  const std::string of = c["of"];
  const ValueId logits = canonical->graph.find(of.substr(0, of.rfind(':')));
  const ValueId from = canonical->graph.find(c["grads"].begin().key());
  ASSERT_NE(logits, kNoValue);
  ASSERT_NE(from, kNoValue);
  Graph g = prepare_forward(extract(canonical->graph, {from}, {logits}), Precision::kFloat32, model.evaluator());
  g = prepare_suffix(g, model.evaluator());
  const int blocks = static_cast<int>(
      std::count_if(g.nodes().begin(), g.nodes().end(), [](const Node& n) { return n.op->name == "softmax"; }));
  ASSERT_GT(blocks, 0);
  Builder b(g, model.evaluator());
  const ValueId seed = g.add_input("seed", DType::f32, b.dims(g.outputs()[0]));
  const std::vector<ValueId> d = gradient(b, {.seeds = {{g.outputs()[0], seed}}, .wrt = {g.inputs()[0]}});
  g.set_outputs({g.outputs()[0], d[0]});
  Backend wants = model.backend();
  wants.wants_attention = [](std::int64_t, std::int64_t) { return true; };
  wants.add("attention", [](const PrepareCtx&) { return Step{}; });
  wants.add("attention_grad", [](const PrepareCtx&) { return Step{}; });
  const Graph plain = lower_for(model.backend(), g, model.evaluator()), fused = lower_for(wants, g, model.evaluator());
  std::map<std::string, int> count;
  for (const Node& n : fused.nodes()) ++count[n.op->name];
  EXPECT_EQ(count["softmax"] + count["softmax_grad"], 0) << fused.to_text();
  EXPECT_EQ(count["attention"], blocks);
  EXPECT_EQ(count["attention_grad"], blocks);
  // The 5 tokens of torchvision's small ViT make scores no larger than the queries.
  if (family.starts_with("vit-")) EXPECT_LE(plan_buffers(fused).bytes, plan_buffers(plain).bytes);
  else EXPECT_LT(plan_buffers(fused).bytes, plan_buffers(plain).bytes);
}

INSTANTIATE_TEST_SUITE_P(All, Exports, ::testing::ValuesIn(folders()), [](const auto& info) {
  std::string name = info.param.filename().string();
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace onnxray
