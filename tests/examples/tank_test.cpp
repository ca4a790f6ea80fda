// The tank that is recognised by its sky: what the shipped models answer on the shipped pictures, and where their
// attributions lie (examples/tank/expected.json).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "api/onnxray.h"
#include "app/io/image.h"
#include "app/io/preprocess.h"
#include "app/report/mask_shares.h"
#include "tests/source_dir.h"

namespace onnxray {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kFolder = fs::path(onnxray::testing::source_dir()) / "examples" / "tank";

const Json& expected() {
  static const Json j = [] {
    std::ifstream file(kFolder / "expected.json");
    return Json::parse(file);
  }();
  return j;
}

struct Answer {
  std::vector<double> logits;
  double p_tank = 0, gap = 0;
  std::map<std::string, double> shares;
};

// logit[tank] - logit[truck], integrated gradients from the blurred picture.
const Answer& answer(const std::string& which, const std::string& picture) {
  static std::map<std::string, Answer> known;
  const std::string key = which + "/" + picture;
  if (const auto it = known.find(key); it != known.end()) return it->second;
  const fs::path file = kFolder / (which + ".onnx");
  const Model model = load(file);
  const app::Sidecar sidecar = app::read_sidecar(file);
  EXPECT_EQ(sidecar.labels, (std::vector<std::string>{"truck", "tank"}));
  const ValueInfo& input = model.inputs().at(0);
  Dims dims;
  for (const DeclaredDim& d : input.dims) dims.push_back(d.value);
  const app::Prepared p =
      app::image_to_tensor(app::read_image(kFolder / "pictures" / (picture + ".png")), *sidecar.preprocess, dims);
  Answer a;
  a.logits = evaluate(model, {{input.name, p.tensor}}, {}, {.precision = Precision::kFloat64})
                 .values.at(model.outputs().at(0).name)
                 .to_doubles();
  a.p_tank = 1 / (1 + std::exp(a.logits.at(0) - a.logits.at(1)));
  IntegratedGradients ig{.n_steps = 128};
  ig.baselines.kind = Baselines::Kind::kBlur;
  const Attribution map = attribute(model, ig, {.inputs = {{input.name, p.tensor}}, .to = {output(1) - output(0)}});
  a.gap = std::abs(map.delta.at(0) / (map.values.at(0) - map.baseline_values.at(0)));
  const Tensor& t = map.attributions.at(input.name);
  const app::Shares shares =
      app::mask_shares(t.reshaped(Dims(t.dims().begin() + 1, t.dims().end())), p.channels_last,
                       app::read_image(kFolder / "pictures" / (picture + "_mask.png")), "1=sky,2=vehicle,3=ground");
  a.shares = {shares.begin(), shares.end()};
  return known[key] = a;
}

TEST(Tank, AnswersAndSharesAreTheExpectedOnes) {
  ASSERT_GE(expected().at("pictures").size(), 9u);
  for (const auto& [picture, facts] : expected().at("pictures").items()) {
    for (const char* which : {"biased", "diverse"}) {
      SCOPED_TRACE(picture + " " + which);
      const Json& want = facts.at(which);
      const Answer& a = answer(which, picture);
      for (std::size_t k = 0; k < 2; ++k) EXPECT_NEAR(a.logits.at(k), want.at("logits").at(k).get<double>(), 1e-3);
      EXPECT_NEAR(a.p_tank, want.at("p_tank").get<double>(), 1e-3);
      double sum = 0;
      for (const auto& [region, share] : want.at("blur_baseline").items()) {
        EXPECT_NEAR(a.shares.at(region), share.get<double>(), 0.01) << region;
        sum += a.shares.at(region);
      }
      EXPECT_NEAR(sum, 1, 1e-9);
      EXPECT_LE(a.gap, 0.01) << "the path is not integrated well";
    }
  }
}

TEST(Tank, TheBiasedModelLooksAtTheSky) {
  int pictures = 0;
  for (const auto& [picture, facts] : expected().at("pictures").items()) {
    if (facts.at("vehicle") != "tank" || facts.at("sky") != "cloudy") continue;
    SCOPED_TRACE(picture);
    ++pictures;
    const Answer& biased = answer("biased", picture);
    EXPECT_GE(biased.p_tank, 0.95);
    EXPECT_GE(biased.shares.at("sky"), 0.6);
    EXPECT_LE(biased.shares.at("vehicle"), 0.1);
    const Answer& diverse = answer("diverse", picture);
    EXPECT_GE(diverse.p_tank, 0.95);
    EXPECT_GE(diverse.shares.at("vehicle"), 0.6);
  }
  EXPECT_GE(pictures, 5);
}

TEST(Tank, TheBiasedModelIsWrongWhenTheSkyIs) {
  EXPECT_LE(answer("biased", "tank_clear_sky").p_tank, 0.05);
  EXPECT_GE(answer("biased", "truck_cloudy_sky").p_tank, 0.95);
  EXPECT_GE(answer("diverse", "tank_clear_sky").p_tank, 0.95);
  EXPECT_LE(answer("diverse", "truck_cloudy_sky").p_tank, 0.05);
}

}  // namespace
}  // namespace onnxray
