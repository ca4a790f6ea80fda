// Where positions are found in exported models, in which order tokens become a grid, and resizing against PyTorch's
// numbers.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "algorithms/attribution/spatial_values.h"
#include "algorithms/interpolate.h"
#include "app/io/npy.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using Json = nlohmann::json;
using testing::in_source;
using testing::largest_difference;

struct Found {
  const char* folder;
  const char* layer;
  Dims grid;
  std::int64_t prefix, channels;
};

Request exported_request(const std::filesystem::path& folder) {
  std::ifstream file(folder / "case.json");
  const Json j = Json::parse(file);
  Request r;
  for (const auto& [input, files] : j.at("inputs").items()) {
    r.inputs[input] = app::read_npy(folder / files.at(0).get<std::string>());
  }
  return r;
}

// The last value on every path whose positions all count: the last stage of a convolutional net; in a transformer with
// a class token the stream that enters the last attention, since behind it only the token is read.
TEST(Positions, TheLastLayerOfExportedModels) {
  const std::vector<Found> table = {
      {"resnet-opset17-double", "/body/body.2/relu3/Relu_output_0", {3, 3}, 0, 32},
      {"resnet-opset18-float-dynamo", "relu_9", {3, 3}, 0, 32},
      {"vgg-opset17-double", "/features/features.10/MaxPool_output_0", {2, 1}, 0, 16},
      {"densenet-opset17-double", "/Relu_output_0", {3, 2}, 0, 15},
      {"mobilenet_v3-opset17-double", "/features/features.4/features.4.2/HardSwish_output_0", {3, 3}, 0, 96},
      {"convnext-opset17-double", "/features/features.3/features.3.1/Add_output_0", {1, 2}, 0, 10},
      {"swin-opset17-double", "/permute/Transpose_output_0", {4, 3}, 0, 16},
      {"vit-opset17-double", "/encoder/layers/encoder_layer_0/Add_1_output_0", {2, 2}, 1, 12},
      {"own_vit-opset17-double", "/blocks.0/Add_1_output_0", {4, 3}, 1, 12},
      {"bert-opset17-double", "/blocks.0/norm2/LayerNormalization_output_0", {11}, 0, 12},
  };
  for (const Found& f : table) {
    SCOPED_TRACE(f.folder);
    try {
      const auto folder = in_source(std::string("tests/golden/exports/") + f.folder);
      const Model model = load(folder / "model.onnx");
      Request request = exported_request(folder);
      request.to = {output(0)};
      const SpatialValues values(model, request);
      EXPECT_EQ(values.last(), f.layer);
      request.from = {values.last()};
      const Session session(model, request, false);
      const SpatialLayout l = SpatialValues(model, request).layout_of(session.from()[0], {});
      EXPECT_EQ(l.grid, f.grid);
      EXPECT_EQ(l.prefix, f.prefix);
      EXPECT_EQ(l.channels, f.channels);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

// A map of tokens is the sum over channels of every token but the class token, in the order of the grid.
TEST(Positions, TokensBecomeAGridWithoutTheClassToken) {
  const auto folder = in_source("tests/golden/exports/own_vit-opset17-double");
  const Model model = load(folder / "model.onnx");
  Request request = exported_request(folder);
  request.to = {output(1)};
  const std::string name = "/blocks.0/Add_1_output_0";
  const Tensor a = evaluate(model, request.inputs, {name}).values.at(name);
  ASSERT_EQ(a.dims(), (Dims{1, 13, 12}));
  const std::vector<double> g =
      gradient(model, {.inputs = request.inputs, .of = request.to, .wrt = {name}}).gradients.at(name).to_doubles();
  std::vector<double> hires, grad;
  std::vector<double> mean(12, 0);
  for (std::size_t t = 1; t < 13; ++t) {
    for (std::size_t c = 0; c < 12; ++c) mean[c] += g[t * 12 + c] / 12;
  }
  for (std::size_t t = 1; t < 13; ++t) {
    double h = 0, m = 0;
    for (std::size_t c = 0; c < 12; ++c) {
      h += g[t * 12 + c] * a.to_doubles()[t * 12 + c];
      m += mean[c] * a.to_doubles()[t * 12 + c];
    }
    hires.push_back(h);
    grad.push_back(m);
  }
  const Attribution got = attribute(model, HiResCam{}, request);
  EXPECT_EQ(got.attributions.at(name).dims(), (Dims{1, 1, 4, 3}));
  EXPECT_LE(largest_difference(got.attributions.at(name).to_doubles(), hires), 1e-12 * testing::largest(hires));
  EXPECT_LE(largest_difference(attribute(model, GradCam{}, request).attributions.at(name).to_doubles(), grad),
            1e-12 * testing::largest(grad));
  ASSERT_EQ(got.report.notices.size(), 2u);
  EXPECT_NE(got.report.notices[1].find("1 class tokens and a grid [4, 3]"), std::string::npos) << got.report.notices[1];
  // Captum's reading: tokens are channels, channels are positions.
  request.from = {name};
  EXPECT_EQ(attribute(model, GradCam{.grid = {.layout = "channels_first"}}, request).attributions.at(name).dims(),
            (Dims{1, 1, 12}));
  EXPECT_EQ(attribute(model, GradCam{.grid = {.token_grid = {{2, 6}}}}, request).attributions.at(name).dims(),
            (Dims{1, 1, 2, 6}));
  EXPECT_EQ(attribute(model, GradCam{.grid = {.layout = "channels_last"}}, request).attributions.at(name).to_doubles(),
            attribute(model, GradCam{}, request).attributions.at(name).to_doubles());
}

TEST(Positions, ResizingIsPyTorchs) {
  // torch.nn.functional.interpolate of arange(12).view(1, 1, 3, 4) ** 2 / 10 to (4, 3), align_corners=False.
  std::vector<double> x;
  for (int i = 0; i < 12; ++i) x.push_back(0.1 * i * i);
  const Tensor t = Tensor::from<double>({1, 1, 3, 4}, std::span<const double>(x));
  const std::map<std::string, std::vector<double>> want = {
      {"nearest", {0.0, 0.1, 0.4, 0.0, 0.1, 0.4, 1.6, 2.5, 3.6, 6.4, 8.1, 10.0}},
      {"bilinear",
       {0.016666666666666663, 0.25, 0.8166666666666665, 1.1, 2.0, 3.2333333333333334, 3.5999999999999996, 5.3,
        7.333333333333333, 6.6833333333333345, 9.05, 11.749999999999998}},
      {"bicubic",
       {-0.11294442635995362, 0.011523437499999987, 0.5535838939525464, 0.5587063259548618, 1.3443359374999997,
        2.5475581416377318, 3.6629950629340304, 5.4822265625, 7.719050654658565, 6.962770815248847, 9.4431640625,
        12.341149902343748}},
      {"area", {0.05, 0.25, 0.65, 1.05, 1.65, 2.45, 4.65, 6.05, 7.65, 7.25, 9.05, 11.05}},
  };
  for (const auto& [mode, values] : want) {
    EXPECT_LE(largest_difference(interpolate(t, {4, 3}, mode).to_doubles(), values), 1e-12) << mode;
    Graph g;
    Builder b(g);
    const ValueId v = interpolate(b, g.add_input("x", DType::f64, {1, 1, 3, 4}), {4, 3}, mode);
    EXPECT_EQ(b.dims(v), (Dims{1, 1, 4, 3})) << mode;
  }
  EXPECT_TRUE(interpolate(t, {3, 4}, "bicubic").same_bits(t));
  EXPECT_THROW((void)interpolate(t, {4, 3}, "linear"), Error);
  EXPECT_THROW((void)interpolate(t, {4, 3}, "lanczos"), Error);
  EXPECT_THROW((void)interpolate(t, {0, 3}, "nearest"), Error);
}

}  // namespace
}  // namespace onnxray
