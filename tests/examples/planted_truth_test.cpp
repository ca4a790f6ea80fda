// Models whose mechanism is known: methods that claim to find it put their mass there, methods known to fail fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>

#include "algorithms/interpolate.h"
#include "app/io/files.h"
#include "app/io/image.h"
#include "app/io/preprocess.h"
#include "app/report/mask_shares.h"
#include "tests/algorithms/support.h"
#include "tests/source_dir.h"

namespace onnxray {
namespace {

using testing::ModelBuilder;
using testing::wave;

// name=value; windows 1,3,3; baselines blur.
class Set final : public OptionVisitor {
 public:
  explicit Set(std::map<std::string, std::string> values) : values_(std::move(values)) {}
  void operator()(const OptionInfo& i, bool& f) override {
    if (const auto* v = take(i)) f = *v == "true";
  }
  void operator()(const OptionInfo& i, std::int64_t& f) override {
    if (const auto* v = take(i)) f = std::stoll(*v);
  }
  void operator()(const OptionInfo& i, double& f) override {
    if (const auto* v = take(i)) f = std::stod(*v);
  }
  void operator()(const OptionInfo& i, std::string& f) override {
    if (const auto* v = take(i)) f = *v;
  }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>& f) override {
    if (const auto* v = take(i)) {
      f.emplace_back();
      for (const double x : list(*v)) f.back().push_back(static_cast<std::int64_t>(x));
    }
  }
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    if (const auto* v = take(i)) f = list(*v);
  }
  void operator()(const OptionInfo& i, Baselines& f) override {
    if (const auto* v = take(i)) {
      EXPECT_EQ(*v, "blur");
      f.kind = Baselines::Kind::kBlur;
    }
  }
  void operator()(const OptionInfo& i, FeatureMask& f) override {
    if (const auto* v = take(i)) f = parse_feature_mask(*v).value();
  }
  [[nodiscard]] bool all_taken() const { return values_.empty(); }

 private:
  const std::string* take(const OptionInfo& i) {
    const auto it = values_.find(i.name);
    if (it == values_.end()) return nullptr;
    taken_ = it->second;
    values_.erase(it);
    return &taken_;
  }
  static std::vector<double> list(const std::string& text) {
    std::vector<double> out;
    for (std::size_t at = 0; at < text.size();) {
      out.push_back(std::stod(text.substr(at)));
      at = std::min(text.size(), text.find(',', at)) + 1;
    }
    return out;
  }
  std::map<std::string, std::string> values_;
  std::string taken_;
};

Attribution run(const std::string& name, const std::map<std::string, std::string>& options, const Model& model,
                const Request& request) {
  const auto m = method(name).make();
  Set set(options);
  m->visit_options(set);
  EXPECT_TRUE(set.all_taken()) << name << " lacks an option";
  check_options(*m);
  return m->run(model, request);
}

bool registered(const std::string& name) {
  return std::any_of(methods().begin(), methods().end(), [&](const MethodInfo& m) { return m.name == name; });
}

// --- Two shapes in noise: logit 0 counts crosses, logit 1 rings, by templates that fit at one place each ---

constexpr std::int64_t kSide = 16, kCrossY = 3, kCrossX = 4, kRingY = 10, kRingX = 9;

Model template_net() {
  // +1 on the shape, -1 beside it: a cross of 5 scores 5, a ring of 8 scores 8, noise stays far below.
  const std::vector<double> cross = {-1, 1, -1, 1, 1, 1, -1, 1, -1}, ring = {1, 1, 1, 1, -1, 1, 1, 1, 1};
  std::vector<double> w = cross;
  w.insert(w.end(), ring.begin(), ring.end());
  ModelBuilder m;
  m.input("x", {"N", 1, kSide, kSide}, DType::f64).output("y", {"N", 2}, DType::f64);
  m.initializer("w", Tensor::from<double>({2, 1, 3, 3}, std::span<const double>(w)));
  m.initializer("b", Tensor::from<double>({2}, {-3, -6}));
  m.initializer("axes", Tensor::from<std::int64_t>({2}, {2, 3}));
  m.node("Conv", {"x", "w", "b"}, {"match"});
  m.node("Relu", {"match"}, {"hits"});
  testing::attr(m.node("ReduceSum", {"hits", "axes"}, {"y"}), "keepdims", 0);
  return testing::model_of(m);
}

Tensor cross_and_ring() {
  Tensor x = wave({1, 1, kSide, kSide}, 3, 0.15);
  const auto v = x.mutable_data<double>();
  for (double& p : v) p = std::abs(p);
  const auto at = [&](std::int64_t y, std::int64_t x0) -> double& {
    return v[static_cast<std::size_t>(y * kSide + x0)];
  };
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      const bool centre = i == 1 && j == 1;
      if (i == 1 || j == 1) at(kCrossY + i, kCrossX + j) = 1;
      if (!centre) at(kRingY + i, kRingX + j) = 1;
    }
  }
  return x;
}

// The share of |a| in rows y.. and columns x.. of a square of the given side, of a map [.., h, w].
double share_in(const Tensor& a, std::int64_t y, std::int64_t x, std::int64_t side) {
  const std::vector<double> v = a.to_doubles();
  const std::int64_t w = a.dims().back(), h = a.dims()[a.rank() - 2];
  double inside = 0, total = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::int64_t col = static_cast<std::int64_t>(i) % w, row = static_cast<std::int64_t>(i) / w % h;
    total += std::abs(v[i]);
    if (row >= y && row < y + side && col >= x && col < x + side) inside += std::abs(v[i]);
  }
  return total > 0 ? inside / total : 0;
}

struct Claim {
  const char* name;
  std::map<std::string, std::string> options;
  std::int64_t reach;  // pixels around the shape that the method touches by construction
};

const std::vector<Claim>& claims() {
  static const std::vector<Claim> list = {
      {"saliency", {}, 0},
      {"input-x-gradient", {}, 0},
      {"integrated-gradients", {}, 0},
      {"occlusion", {{"sliding_window_shapes", "1,2,2"}}, 1},
      {"feature-ablation", {}, 0},
      {"guided-backprop", {}, 0},
      {"deep-lift", {}, 0},
      {"guided-grad-cam", {}, 0},
  };
  return list;
}

TEST(PlantedTruth, InputsAreFoundWhereTheShapeIs) {
  const Model model = template_net();
  const Tensor x = cross_and_ring();
  int ran = 0;
  for (const Claim& c : claims()) {
    if (!registered(c.name)) continue;
    SCOPED_TRACE(c.name);
    ++ran;
    const Attribution cross = run(c.name, c.options, model, {.inputs = {{"x", x}}, .to = {output(0)}});
    const Attribution ring = run(c.name, c.options, model, {.inputs = {{"x", x}}, .to = {output(1)}});
    EXPECT_GE(share_in(cross.attributions.at("x"), kCrossY - c.reach, kCrossX - c.reach, 3 + 2 * c.reach), 0.95);
    EXPECT_GE(share_in(ring.attributions.at("x"), kRingY - c.reach, kRingX - c.reach, 3 + 2 * c.reach), 0.95);
    EXPECT_LE(share_in(cross.attributions.at("x"), kRingY, kRingX, 3), 0.01);
  }
  EXPECT_GE(ran, 4);
}

TEST(PlantedTruth, ClassActivationMapsTellTheShapesApart) {
  const Model model = template_net();
  const Request cross{.inputs = {{"x", cross_and_ring()}}, .to = {output(0)}},
      ring{.inputs = cross.inputs, .to = {output(1)}};
  for (const char* name : {"grad-cam", "grad-cam-plus-plus", "hires-cam", "layer-cam", "xgrad-cam", "ablation-cam"}) {
    SCOPED_TRACE(name);
    const Attribution a = run(name, {}, model, cross), b = run(name, {}, model, ring);
    EXPECT_EQ(a.attributions.at("hits").dims(), (Dims{1, 1, 14, 14}));
    EXPECT_GE(share_in(a.attributions.at("hits"), kCrossY, kCrossX, 1), 0.95);
    EXPECT_GE(share_in(b.attributions.at("hits"), kRingY, kRingX, 1), 0.95);
  }
  // Eigen-CAM knows no class: the same map for both, with the larger of the two hits.
  const Attribution a = run("eigen-cam", {}, model, cross), b = run("eigen-cam", {}, model, ring);
  EXPECT_TRUE(a.attributions.at("hits").same_bits(b.attributions.at("hits")));
  EXPECT_LE(std::min(share_in(a.attributions.at("hits"), kCrossY, kCrossX, 1),
                     share_in(a.attributions.at("hits"), kRingY, kRingX, 1)),
            0.5);
}

// --- Saturation: y = 1 - relu(1 - x0) - x1 with x0 past 1. Only a path sees that x0 made the 1 ---

TEST(PlantedTruth, GradientsFailWhereTheModelIsSaturated) {
  ModelBuilder m;
  m.input("x", {"N", 2}, DType::f64).output("y", {"N", 1}, DType::f64);
  m.initializer("w", Tensor::from<double>({2, 2}, {-1, 0, 0, 1})).initializer("b", Tensor::from<double>({2}, {1, 0}));
  m.initializer("v", Tensor::from<double>({2, 1}, {-1, -1})).initializer("one", Tensor::from<double>({1}, {1}));
  m.node("MatMul", {"x", "w"}, {"p"});
  m.node("Add", {"p", "b"}, {"q"});
  m.node("Relu", {"q"}, {"h"});
  m.node("MatMul", {"h", "v"}, {"s"});
  m.node("Add", {"s", "one"}, {"y"});
  const Model model = testing::model_of(m);
  const Request request{.inputs = {{"x", Tensor::from<double>({1, 2}, {3, 0.5})}}, .to = {output(0)}};
  const auto of = [&](const char* name, const std::map<std::string, std::string>& options) {
    return run(name, options, model, request).attributions.at("x").to_doubles();
  };
  for (const char* name : {"saliency", "input-x-gradient"}) EXPECT_EQ(of(name, {})[0], 0) << name;
  const std::vector<double> ig = of("integrated-gradients", {{"n_steps", "300"}});
  EXPECT_NEAR(ig[0], 1, 1e-2);
  EXPECT_NEAR(ig[1], -0.5, 1e-9);
  const std::vector<double> occluded = of("occlusion", {{"sliding_window_shapes", "1"}});
  EXPECT_NEAR(occluded[0], 1, 1e-12);
  EXPECT_NEAR(occluded[1], -0.5, 1e-12);
  for (const char* name : {"feature-ablation", "shapley-values", "kernel-shap"}) {
    const std::vector<double> a = of(name, {});
    EXPECT_NEAR(a[0], 1, 1e-12) << name;
    EXPECT_NEAR(a[1], -0.5, 1e-12) << name;
  }
}

// --- The tank that is recognised by its sky (examples/tank) ---

namespace fs = std::filesystem;
const fs::path kTank = fs::path(testing::source_dir()) / "examples" / "tank";

Tensor tank_picture(const Model& model, const std::string& name) {
  Dims dims;
  for (const DeclaredDim& d : model.inputs().at(0).dims) dims.push_back(d.value);
  return app::image_to_tensor(app::read_image(kTank / "pictures" / (name + ".png")),
                              *app::read_sidecar(kTank / "biased.onnx").preprocess, dims)
      .tensor;
}

// The shares of the positive part by region: of the channels' sum at the picture, of an enlarged map at a layer.
std::map<std::string, double> tank_shares(const Model& model, const std::string& name,
                                          const std::map<std::string, std::string>& options) {
  const Request request{.inputs = {{model.inputs().at(0).name, tank_picture(model, "tank_0")}},
                        .to = {output(1) - output(0)}};
  const Attribution a = run(name, options, model, request);
  const Tensor& t = a.attributions.begin()->second;
  Tensor row = t.reshaped(Dims(t.dims().begin() + 1, t.dims().end()));
  if (row.dims()[1] != 96) row = interpolate(row, {96, 96}, "bilinear");
  const app::Shares shares =
      app::mask_shares(row, false, app::read_image(kTank / "pictures" / "tank_0_mask.png"), "1=sky,2=vehicle,3=ground");
  return {shares.begin(), shares.end()};
}

TEST(PlantedTruth, TheBiasedModelIsSeenToLookAtTheSky) {
  const Model biased = load(kTank / "biased.onnx"), diverse = load(kTank / "diverse.onnx");
  struct Row {
    const char* name;
    std::map<std::string, std::string> options;
    double sky_of_biased, vehicle_of_diverse;  // at least; the tank covers 6 % of the picture
  };
  // Cells of the maps are 8 pixels wide: much of what is on the tank's outline counts as ground.
  const std::vector<Row> rows = {
      {"integrated-gradients", {{"baselines", "blur"}}, 0.8, 0.6},
      {"grad-cam", {}, 0.75, 0.2},
      {"grad-cam-plus-plus", {}, 0.75, 0.2},
      {"hires-cam", {}, 0.75, 0.2},
      {"layer-cam", {}, 0.75, 0.2},
      {"xgrad-cam", {}, 0.75, 0.2},
      {"score-cam", {}, 0.75, 0.2},
      {"ablation-cam", {}, 0.75, 0.2},
  };
  for (const Row& r : rows) {
    SCOPED_TRACE(r.name);
    std::map<std::string, double> a = tank_shares(biased, r.name, r.options),
                                  b = tank_shares(diverse, r.name, r.options);
    EXPECT_GE(a["sky"], r.sky_of_biased);
    EXPECT_LE(a["vehicle"], 0.05);
    EXPECT_GE(b["vehicle"], r.vehicle_of_diverse);
    EXPECT_LE(b["sky"], 0.1);
  }
}

// --- Sanity check (Adebayo et al., "Sanity Checks for Saliency Maps", 2018): the classifier's weights at random ---

Model with_random_head(const fs::path& file, double phase) {
  wire::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(app::read_file(file)));
  // The last matrix among the initializers is the classifier's.
  wire::TensorProto* head = nullptr;
  for (auto& t : *proto.mutable_graph()->mutable_initializer()) {
    if (t.dims_size() == 2) head = &t;
  }
  EXPECT_NE(head, nullptr);
  const Dims dims(head->dims().begin(), head->dims().end());
  *head = onnx_import::to_proto(wave(dims, phase, 0.5).to(DType::f32), head->name());
  const std::string bytes = proto.SerializeAsString();
  return load(std::as_bytes(std::span(bytes)));
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

TEST(PlantedTruth, GuidedBackpropHardlyNoticesARandomClassifier) {
  if (!registered("guided-backprop")) GTEST_SKIP() << "guided-backprop is not registered";
  const Model model = load(kTank / "diverse.onnx");
  const std::string input = model.inputs().at(0).name;
  const Request request{.inputs = {{input, tank_picture(model, "tank_0")}}, .to = {output(1)}};
  const auto similarity = [&](const char* name, const std::map<std::string, std::string>& options) {
    const auto of = [&](const Model& m) {
      const Attribution a = run(name, options, m, request);
      std::vector<double> v = a.attributions.begin()->second.to_doubles();
      for (double& x : v) x = std::abs(x);
      return v;
    };
    double sum = 0;
    for (const double phase : {1.0, 2.0, 3.0})
      sum += cosine(of(model), of(with_random_head(kTank / "diverse.onnx", phase)));
    return sum / 3;
  };
  const double guided = similarity("guided-backprop", {}), grad_cam = similarity("grad-cam", {});
  EXPECT_GE(guided, 0.97) << "it draws the picture, whatever the classifier says";
  EXPECT_LE(grad_cam, guided - 0.1);
}

}  // namespace
}  // namespace onnxray
