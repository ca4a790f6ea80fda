// What `onnxray attribute` writes: result.json, arrays, heat maps, grids, bars and text.
#include "app/io/image.h"
#include "tests/app/cli_fixture.h"

namespace onnxray {
namespace {

using testing::Cli;
using testing::Json;
using testing::ModelBuilder;
using testing::Result;
using testing::text_of;
using testing::write;

// Of pictures [N, 3, 16, 16], two scores.
auto picture_net() {
  ModelBuilder m;
  m.input("image", {"N", 3, 16, 16}).output("y", {"N", 2});
  m.initializer("w", Tensor::full(DType::f32, {2, 3, 3, 3}, 0.1));
  m.node("Conv", {"image", "w"}, {"c"}, "conv");
  m.node("GlobalMaxPool", {"c"}, {"p"});
  m.node("Flatten", {"p"}, {"y"});
  return m.bytes();
}

TEST_F(Cli, AttributeSaysAllThatIsNeededToRepeatIt) {
  const Result r =
      run("attribute m.onnx -i x.npy --method integrated-gradients --target cat --target 2 --n-steps 7 --baselines 0.5 "
          "--chunk 3 --seed 5 --threads 1 -o a");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(files("a"), (std::set<std::string>{"x.npy", "result.json"}));
  const Json j = result("a");
  EXPECT_EQ(j.at("verb"), "attribute");
  EXPECT_EQ(j.at("method"), "integrated-gradients");
  EXPECT_EQ(j.at("options").at("n_steps"), 7);
  EXPECT_EQ(j.at("options").at("method"), "gausslegendre");  // a default
  EXPECT_EQ(j.at("options").at("baselines"), "0.5");
  EXPECT_EQ(j.at("asked").at("target"), Json({"cat", "2"}));
  EXPECT_EQ(j.at("model").at("sha256").get<std::string>().size(), 64u);
  EXPECT_TRUE(j.contains("onnxray"));
  EXPECT_EQ(j.at("inputs"), Json({"x.npy"}));
  const Json& c = j.at("compute");
  EXPECT_EQ(c.at("device"), "cpu");
  EXPECT_EQ(c.at("precision"), "float32");
  EXPECT_EQ(c.at("chunk"), 3);
  EXPECT_EQ(c.at("seed"), 5);
  EXPECT_EQ(c.at("threads"), 1);
  EXPECT_EQ(c.at("rows"), 2 * 7 + 4);
  EXPECT_TRUE(c.at("batched"));
  EXPECT_GT(c.at("peak_bytes"), 0);
  ASSERT_EQ(j.at("rows").size(), 2u);
  EXPECT_EQ(j.at("rows").at(0).at("value"), 13.0);
  double sum = 0;
  for (std::size_t i = 0; i < 4; ++i) sum += array("a/x.npy")[i];
  const Json& row = j.at("rows").at(0);
  EXPECT_NEAR(sum - (row.at("value").get<double>() - row.at("baseline_value").get<double>()),
              row.at("delta").get<double>(), 1e-4);
  EXPECT_EQ(j.at("predictions").at(0).at(0).at("label"), "cat, house cat");
  EXPECT_EQ(j.at("files").at("attributions").at("x"), "x.npy");
  // The same command gives the same bits.
  const std::string bytes = text_of(folder_ / "a/x.npy");
  ASSERT_EQ(run("attribute m.onnx -i x.npy --method integrated-gradients --target cat --target 2 --n-steps=7 "
                "--baselines 0.5 --chunk 3 --seed 5 -o a")
                .code,
            0);
  EXPECT_EQ(text_of(folder_ / "a/x.npy"), bytes);
}

TEST_F(Cli, TheQuadratureOfAPathIsAFlagOfItsOwn) {
  const std::string ig = "attribute m.onnx -i x.npy --method integrated-gradients --target 2 --n-steps 3 -o a ";
  const Result r = run(ig + "--quadrature riemann_left");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(result("a").at("options").at("method"), "riemann_left");
  expect_refused(ig + "--quadrature simpson", 2, {"simpson", "riemann_left"});
  EXPECT_NE(run("attribute --help").out.find("--quadrature"), std::string::npos);
}

TEST_F(Cli, SeveralScalarsAreOneArray) {
  ASSERT_EQ(
      run("attribute m.onnx -i x.npy --method saliency --abs false --to y:0 --to y:1-y:2 --from hid:den -o s").code, 0);
  EXPECT_EQ(app::read_npy(folder_ / "s/hid_den.npy").dims(), (Dims{2, 2, 4}));
  EXPECT_EQ(array("s/hid_den.npy"), (std::vector<double>{1, 2, 0, 1, 1, 1, -2, 0, 1, 2, 0, 1, 1, 1, -2, 0}));
}

TEST_F(Cli, NamesThatMapToOneFileAreNumbered) {
  ModelBuilder m;
  m.input("a:b", {1, 2}).input("a/b", {1, 2}).input("result", {1, 2}).output("y", {1, 2});
  m.node("Mul", {"a:b", "a/b"}, {"t"});
  m.node("Mul", {"t", "result"}, {"y"});
  write(folder_ / "two.onnx", m.bytes());
  app::write_npy(folder_ / "v.npy", Tensor::from<float>({1, 2}, {2, 3}));
  const Result r = run("grad two.onnx -i a:b=v.npy -i a/b=v.npy -i result=v.npy --of y:0 -o n");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(files("n"), (std::set<std::string>{"a_b.npy", "a_b_2.npy", "result.npy", "result.json"}));
  EXPECT_EQ(result("n").at("files").size(), 3u);
}

TEST_F(Cli, PicturesGetHeatMapsAndShares) {
  write(folder_ / "p.onnx", picture_net());
  app::Image picture(16, 16, {10, 20, 30}), mask(16, 16, {1, 1, 1}), small(8, 8);
  picture.at(4, 4)[0] = 255;
  app::write_png(folder_ / "picture.png", picture);
  app::write_png(folder_ / "mask.png", mask);
  app::write_png(folder_ / "small.png", small);
  const std::string base = "attribute p.onnx -i picture.png --method input-x-gradient --target 1 --preprocess unit ";
  const Result r = run(base + "--masks mask.png --mask-names 1=all -o p");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(files("p"), (std::set<std::string>{"image.npy", "heatmap_0.png", "result.json"}));
  EXPECT_GT(app::read_image(folder_ / "p/heatmap_0.png").width, 0);
  EXPECT_NE(r.out.find("all 1.000"), std::string::npos) << r.out;
  EXPECT_EQ(result("p").at("rows").at(0).at("positive_shares").at("all"), 1.0);
  // A mask that does not fit is found after the attribution: still nothing is written.
  expect_refused(base + "--masks small.png", 2, {"mask is 8 x 8"});
  expect_refused(base + "--masks none.png", 2, {"none.png"});
  expect_refused(base + "--masks mask.png --mask-names sky", 2, {"--mask-names"});
  expect_refused("attribute m.onnx -i one.npy --method saliency --target 1 --masks mask.png", 2, {"--masks needs"});
  expect_refused("attribute p.onnx -i picture.png --method saliency --target 1", 2, {"--preprocess"});
}

TEST_F(Cli, SeveralMethodsAreComparedInAGrid) {
  write(folder_ / "p.onnx", picture_net());
  app::Image picture(16, 16, {10, 20, 30});
  picture.at(4, 4)[0] = 255;
  app::write_png(folder_ / "picture.png", picture);
  const std::string base = "attribute p.onnx -i picture.png --target 1 --preprocess unit ";
  const Result r = run(base + "--method saliency --method input-x-gradient --abs false -o g");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(files("g"),
            (std::set<std::string>{"saliency_image.npy", "saliency_heatmap_0.png", "input-x-gradient_image.npy",
                                   "input-x-gradient_heatmap_0.png", "grid.svg", "result.json"}));
  const Json j = result("g");
  EXPECT_EQ(j.at("grid"), "grid.svg");
  ASSERT_EQ(j.at("answers").size(), 2u);
  EXPECT_EQ(j.at("answers").at(0).at("options").at("abs"), false);
  EXPECT_EQ(j.at("answers").at(1).at("method"), "input-x-gradient");
  EXPECT_EQ(j.at("answers").at(1).at("files").at("attributions").at("image"), "input-x-gradient_image.npy");
  // A layer [C, H, W] is drawn over the picture, in every mode.
  for (const char* mode :
       {"panel", "heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling"}) {
    ASSERT_EQ(run(base + "--method saliency --from c --picture " + mode + " -o l").code, 0) << mode;
    EXPECT_EQ(files("l"), (std::set<std::string>{"c.npy", "heatmap_0.png", "result.json"}));
  }
  expect_refused(base + "--method saliency --method saliency", 2, {"saliency is given twice"});
  expect_refused(base + "--method saliency --method input-x-gradient --n-steps 3", 2,
                 {"--n-steps", "saliency, input-x-gradient", "--abs"});
  expect_refused(base + "--method saliency --picture pie", 2, {"--picture pie", "masked_image"});
  expect_refused(base + "--method saliency --picture masked_image --sign all", 2, {"--sign"});
  expect_refused(base + "--method saliency --sign up", 2, {"unknown sign 'up'"});
  expect_refused(base + "--method saliency --outlier-percentile 100", 2, {"--outlier-percentile 100"});
}

TEST_F(Cli, FeaturesGetBarsAndTokensText) {
  write(folder_ / "m.json",
        R"({"labels": ["cat, house cat", "dog", "fish"], "features": {"x": ["a", "b<", "c", "d"]}})");
  ASSERT_EQ(run("attribute m.onnx -i x.npy --method input-x-gradient --target dog -o f").code, 0);
  EXPECT_EQ(files("f"), (std::set<std::string>{"x.npy", "bars_0.svg", "bars_1.svg", "result.json"}));
  EXPECT_NE(text_of(folder_ / "f/bars_0.svg").find("b&lt; = 2"), std::string::npos);
  EXPECT_EQ(result("f").at("files").at("charts"), Json({"bars_0.svg", "bars_1.svg"}));
  write(folder_ / "tokens.txt", "the\n<b>\ncat\nsat\n");
  const Result r = run("attribute m.onnx -i one.npy --method input-x-gradient --target dog --tokens tokens.txt -o t");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(text_of(folder_ / "t/text.html").find("&lt;b&gt;"), std::string::npos);
  EXPECT_EQ(r.out.find('\x1b'), std::string::npos) << "no colours unless a terminal reads";
  write(folder_ / "short.txt", "the\ncat\n");
  expect_refused("attribute m.onnx -i one.npy --method saliency --target dog --tokens short.txt", 2,
                 {"2 tokens", "x [4]"});
  expect_refused("attribute m.onnx -i one.npy --method saliency --target dog --picture overlay_combined", 2,
                 {"--picture overlay_combined", "[channels, steps]"});
}

}  // namespace
}  // namespace onnxray
