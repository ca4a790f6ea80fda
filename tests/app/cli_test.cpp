// The onnxray command as people and scripts use it: the built program in a temporary folder.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "app/io/image.h"
#include "app/io/npy.h"
#include "tests/app/run_command.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::attr;
using testing::ModelBuilder;
using testing::Result;
using testing::text_of;

void write(const fs::path& file, const std::string& bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
}

class Cli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "onnxray_cli_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    // y = softmax-free linear net with a layer "hid:den" whose name holds a colon.
    ModelBuilder m;
    m.input("x", {"N", 4}).output("y", {"N", 3});
    m.initializer("w", Tensor::from<float>({4, 4}, {1, -2, 3, 0, 0, 1, -1, 2, 2, 0, 1, -1, -3, 1, 0, 1}));
    m.initializer("v", Tensor::from<float>({4, 3}, {1, 0, -1, 2, 1, 0, 0, -1, 1, 1, 1, 1}));
    m.node("MatMul", {"x", "w"}, {"pre"}, "first");
    m.node("Relu", {"pre"}, {"hid:den"}, "act");
    m.node("MatMul", {"hid:den", "v"}, {"y"}, "second");
    write(folder_ / "m.onnx", m.bytes());
    write(folder_ / "m.json", R"({"labels": ["cat, house cat", "dog", "fish"]})");
    app::write_npy(folder_ / "x.npy", Tensor::from<float>({2, 4}, {1, 2, 3, 4, -1, 0.5f, 2, 1}));
    app::write_npy(folder_ / "one.npy", Tensor::from<float>({1, 4}, {1, 2, 3, 4}));
    app::write_npy(folder_ / "bad.npy", Tensor::from<float>({2, 5}, {1, 2, 3, 4, 5, 1, 2, 3, 4, 5}));
    app::write_npy(folder_ / "nan.npy", Tensor::from<float>({1, 4}, {1, NAN, 3, 4}));
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result run(const std::string& arguments) const {
    return testing::run_command(folder_, "OMP_WAIT_POLICY=passive '" ONNXRAY_COMMAND "' " + arguments);
  }

  Json json_of(const std::string& arguments) const {
    const Result r = run(arguments);
    EXPECT_TRUE(Json::accept(r.out)) << arguments << ": " << r.err;
    return Json::accept(r.out) ? Json::parse(r.out) : Json::object();
  }

  // Refused with the code and one line on stderr that says these things; nothing on stdout, nothing written.
  void expect_refused(const std::string& arguments, int code, const std::vector<std::string>& says) const {
    SCOPED_TRACE(arguments);
    fs::remove_all(folder_ / "refused");
    const Result r =
        run(arguments + (arguments.find("-o ") == std::string::npos && takes_output(arguments) ? " -o refused" : ""));
    EXPECT_EQ(r.code, code) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_TRUE(r.err.starts_with("onnxray: ")) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    for (const std::string& s : says) EXPECT_NE(r.err.find(s), std::string::npos) << "no '" << s << "' in: " << r.err;
    EXPECT_FALSE(fs::exists(folder_ / "refused")) << "something was written";
  }
  static bool takes_output(const std::string& a) {
    return a.starts_with("run ") || a.starts_with("grad ") || a.starts_with("attribute ");
  }
  std::set<std::string> files(const std::string& sub) const {
    std::set<std::string> names;
    for (const auto& e : fs::directory_iterator(folder_ / sub)) names.insert(e.path().filename().string());
    return names;
  }
  Json result(const std::string& sub) const { return Json::parse(text_of(folder_ / sub / "result.json")); }
  std::vector<double> array(const std::string& file) const { return app::read_npy(folder_ / file).to_doubles(); }

  // A test folder as `verify` reads it: y = -x.
  void add_case(const std::string& name, float answer, const char* op = "Neg") const {
    ModelBuilder m;
    m.input("x", {1}).output("y", {1});
    m.node(op, {"x"}, {"y"});
    write(folder_ / "cases" / name / "model.onnx", m.bytes());
    const fs::path set = folder_ / "cases" / name / "test_data_set_0";
    write(set / "input_0.pb", onnx_import::to_proto(Tensor::from<float>({1}, {2}), "x").SerializeAsString());
    write(set / "output_0.pb", onnx_import::to_proto(Tensor::from<float>({1}, {answer}), "y").SerializeAsString());
  }

  fs::path folder_;
};

TEST_F(Cli, HelpOfEveryVerbHasAnExample) {
  const Result all = run("--help");
  EXPECT_EQ(all.code, 0);
  EXPECT_NE(all.out.find("Exit codes"), std::string::npos);
  EXPECT_NE(all.out.find("Example"), std::string::npos);
  for (const std::string verb : {"doctor", "info", "run", "verify", "grad", "attribute", "methods", "bench"}) {
    EXPECT_NE(all.out.find("  " + verb + " "), std::string::npos) << verb;
    const Result r = run(verb + " --help");
    EXPECT_EQ(r.code, 0) << verb;
    EXPECT_EQ(r.err, "") << verb;
    EXPECT_NE(r.out.find("Example"), std::string::npos) << verb;
    EXPECT_NE(r.out.find("onnxray " + verb), std::string::npos) << verb;
  }
  EXPECT_NE(run("attribute --help").out.find("--n-steps"), std::string::npos);
  EXPECT_TRUE(run("--version").out.starts_with("onnxray "));
}

TEST_F(Cli, GradWritesTheGradient) {
  const Result r = run("grad m.onnx -i one.npy --of y:0 --wrt x --wrt hid:den --precision float64 -o g");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(files("g"), (std::set<std::string>{"x.npy", "hid_den.npy", "result.json"}));
  // pre = [-5, 4, 4, 5], so h = [0, 4, 4, 5]; dy0/dh = [1, 2, 0, 1], dy0/dx = W diag(h > 0) that
  EXPECT_EQ(array("g/hid_den.npy"), (std::vector<double>{1, 2, 0, 1}));
  EXPECT_EQ(array("g/x.npy"), (std::vector<double>{-4, 4, -1, 3}));
  const Json j = result("g");
  EXPECT_EQ(j.at("verb"), "grad");
  EXPECT_EQ(j.at("values"), Json({13.0}));
  EXPECT_EQ(j.at("files").at("hid:den"), "hid_den.npy");
  EXPECT_EQ(j.at("of").at("to"), Json({"y:0"}));
  EXPECT_EQ(j.at("compute").at("precision"), "float64");
}

TEST_F(Cli, RunWritesNamedValues) {
  ASSERT_EQ(run("run m.onnx -i x.npy --value y --value hid:den -o r").code, 0);
  EXPECT_EQ(files("r"), (std::set<std::string>{"y.npy", "hid_den.npy", "result.json"}));
  EXPECT_EQ(app::read_npy(folder_ / "r/y.npy").dims(), (Dims{2, 3}));
  ASSERT_EQ(run("run m.onnx -i one.npy -i x=x.npy -o r2").code, 0);  // three rows, one by one or stacked
  EXPECT_EQ(app::read_npy(folder_ / "r2/y.npy").dims(), (Dims{3, 3}));
  EXPECT_EQ(files("r2"), (std::set<std::string>{"y.npy", "result.json"}));
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
  ModelBuilder m;
  m.input("image", {"N", 3, 16, 16}).output("y", {"N", 2});
  m.initializer("w", Tensor::full(DType::f32, {2, 3, 3, 3}, 0.1));
  m.node("Conv", {"image", "w"}, {"c"}, "conv");
  m.node("GlobalMaxPool", {"c"}, {"p"});
  m.node("Flatten", {"p"}, {"y"});
  write(folder_ / "p.onnx", m.bytes());
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
  ModelBuilder m;
  m.input("image", {"N", 3, 16, 16}).output("y", {"N", 2});
  m.initializer("w", Tensor::full(DType::f32, {2, 3, 3, 3}, 0.1));
  m.node("Conv", {"image", "w"}, {"c"}, "conv");
  m.node("GlobalMaxPool", {"c"}, {"p"});
  m.node("Flatten", {"p"}, {"y"});
  write(folder_ / "p.onnx", m.bytes());
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

TEST_F(Cli, JsonIsAllThatIsOnStandardOutput) {
  const Json doctor = json_of("doctor m.onnx --json");
  EXPECT_EQ(doctor.at("operators").size(), 2u);
  const Json info = json_of("info m.onnx --json");
  EXPECT_EQ(info.at("inputs").at(0).at("shape"), Json({"N", 4}));
  EXPECT_EQ(info.at("parameters"), 28);
  EXPECT_EQ(info.at("multiply_adds"), 28);
  EXPECT_GE(json_of("methods --json").size(), 4u);
  EXPECT_EQ(json_of("run m.onnx -i x.npy --json -o j1").at("verb"), "run");
  const Json grad = json_of("grad m.onnx -i x.npy --of y:1 --json -o j2");
  EXPECT_EQ(grad, result("j2"));
  const Result a = run("attribute m.onnx -i x.npy --method saliency --target 0 --json -o j3");
  EXPECT_EQ(Json::parse(a.out), result("j3"));
  EXPECT_FALSE(json_of("bench m.onnx --repeat 1 --json").at("methods").empty());
  add_case("good", -2);
  add_case("bad", 3);
  const Result v = run("verify cases --json");
  EXPECT_EQ(v.code, 1);
  EXPECT_EQ(Json::parse(v.out).at("failed"), 1);
  // A refused command prints no JSON.
  expect_refused("attribute m.onnx -i bad.npy --method saliency --target 0 --json", 2, {"input 'x'"});
}

TEST_F(Cli, TextOutputsAreReadable) {
  EXPECT_NE(run("doctor m.onnx").out.find("every operator is supported"), std::string::npos);
  EXPECT_NE(run("info m.onnx").out.find("hid:den"), std::string::npos);
  EXPECT_NE(run("methods").out.find("integrated-gradients"), std::string::npos);
  const Result r = run("attribute m.onnx -i x.npy --method integrated-gradients --target dog -o t");
  EXPECT_NE(r.out.find("row 0:"), std::string::npos);
  EXPECT_NE(r.out.find("delta"), std::string::npos);
  EXPECT_NE(r.out.find("t/x.npy"), std::string::npos);
  EXPECT_NE(run("bench m.onnx --repeat 1 --method forward").out.find("rows/s"), std::string::npos);
}

TEST_F(Cli, VerifyCountsAndClosesWithOneLine) {
  add_case("b_good", -2);
  add_case("a_wrong", 3);
  add_case("c_unsupported", 0, "NoSuchOperator");
  const auto last = [](const std::string& out) {
    const std::size_t end = out.find_last_not_of('\n');
    return out.substr(out.rfind('\n', end) + 1, end - out.rfind('\n', end));
  };
  Result r = run("verify cases");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(last(r.out), "1 passed, 1 failed, 1 skipped") << r.out;
  EXPECT_NE(r.out.find("PASS b_good"), std::string::npos);
  EXPECT_NE(r.out.find("FAIL a_wrong: "), std::string::npos);
  EXPECT_NE(r.out.find("expected 3"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("UNSUPPORTED c_unsupported: "), std::string::npos);
  EXPECT_NE(r.out.find("NoSuchOperator"), std::string::npos);
  // Expected failures are listed; one that passes fails.
  write(folder_ / "expect.txt", "# case, reason\na_wrong\tthe answer is wrong\n");
  r = run("verify cases --expect expect.txt");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(last(r.out), "1 passed, 0 failed, 2 skipped") << r.out;
  EXPECT_NE(r.out.find("LISTED a_wrong: the answer is wrong"), std::string::npos);
  write(folder_ / "expect.txt", "a_wrong  the answer is wrong\nb_good  was broken once\n");
  r = run("verify cases --expect expect.txt");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(last(r.out), "0 passed, 1 failed, 2 skipped") << r.out;
  EXPECT_NE(r.out.find("FAIL b_good: passes, but is listed as an expected failure (was broken once)"),
            std::string::npos);
  // --only
  write(folder_ / "only.txt", "b_good\n\nmissing\n");
  r = run("verify cases --only only.txt");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, "PASS b_good\n1 passed, 0 failed, 0 skipped\n");
  EXPECT_NE(r.err.find("'missing'"), std::string::npos);
  // One folder itself is a case, several paths are joined.
  EXPECT_EQ(run("verify cases/b_good").out, "PASS b_good\n1 passed, 0 failed, 0 skipped\n");
  EXPECT_EQ(last(run("verify cases/b_good cases/a_wrong").out), "1 passed, 1 failed, 0 skipped");
  // A damaged model fails its case, not the run.
  write(folder_ / "cases/b_good/model.onnx", "damaged");
  EXPECT_EQ(last(run("verify cases").out), "0 passed, 2 failed, 1 skipped");
  expect_refused("verify nowhere", 2, {"'nowhere' does not exist"});
  fs::create_directories(folder_ / "empty");
  expect_refused("verify empty", 2, {"no test folder"});
  expect_refused("verify cases --expect none.txt", 2, {"cannot read 'none.txt'"});
}

TEST_F(Cli, BadUsageIsOneClearLine) {
  expect_refused("", 2, {"subcommand"});
  expect_refused("explain m.onnx", 2, {"explain"});
  expect_refused("run", 2, {"MODEL"});
  expect_refused("run m.onnx", 2, {"--input"});
  expect_refused("run m.onnx -i x.npy --frobnicate 3", 2, {"frobnicate"});
  expect_refused("info m.onnx --shape x=1,a", 2, {"--shape"});
  expect_refused("run m.onnx -i x.npy --threads many", 2, {"threads"});
}

TEST_F(Cli, BadModelsAndInputsAreOneClearLine) {
  expect_refused("run none.onnx -i x.npy", 2, {"none.onnx"});
  expect_refused("info none.onnx", 2, {"none.onnx"});
  expect_refused("doctor none.onnx", 2, {"none.onnx"});
  const std::string bytes = text_of(folder_ / "m.onnx");
  write(folder_ / "short.onnx", bytes.substr(0, bytes.size() / 2));
  expect_refused("run short.onnx -i x.npy", 2, {"short.onnx"});
  expect_refused("doctor short.onnx", 2, {"short.onnx"});
  write(folder_ / "text.onnx", "this is no model");
  expect_refused("info text.onnx", 2, {"text.onnx"});
  expect_refused("run m.onnx -i none.npy", 2, {"'none.npy' does not exist"});
  expect_refused("run m.onnx -i bad.npy", 2, {"input 'x' has shape [2, 5]", "[N, 4]"});
  expect_refused("grad m.onnx -i bad.npy --of y:0", 2, {"input 'x' has shape [2, 5]", "[N, 4]"});
  expect_refused("run m.onnx -i z=x.npy", 2, {"no input 'z'", "x"});
  expect_refused("run m.onnx -i m.onnx", 2, {"m.onnx", ".npy"});
  write(folder_ / "short.npy", text_of(folder_ / "x.npy").substr(0, 100));
  expect_refused("run m.onnx -i short.npy", 2, {"short.npy"});
  expect_refused("run m.onnx -i x.npy --value none", 2, {"'none'"});
  expect_refused("run m.onnx -i x.npy --max-rows 1", 2, {"2 rows", "--max-rows 1"});
  expect_refused("attribute m.onnx -i nan.npy --method saliency --target 0", 3, {"input 'x'", "NaN"});
}

TEST_F(Cli, BadRequestsAreOneClearLine) {
  const std::string saliency = "attribute m.onnx -i x.npy --method saliency ";
  expect_refused("attribute m.onnx -i x.npy --method magic --target 0", 2, {"unknown method 'magic'", "saliency"});
  expect_refused(saliency + "--target 7", 2, {"[7]", "out of range"});
  expect_refused(saliency + "--target horse", 2, {"'horse'", "labels"});
  expect_refused(saliency + "--target 0 --target 1 --target 2", 2, {"3 targets for 2 examples"});
  expect_refused(saliency, 2, {"'y' has 3 elements per row"});
  expect_refused(saliency + "--target 0 --from conv9", 2, {"'conv9'"});
  expect_refused(saliency + "--to conv9:1", 2, {"'conv9:1'", "no value"});
  expect_refused(saliency + "--to y:0 --target 1", 2, {"--target", "--to"});
  expect_refused(saliency + "--target 0 --n-steps 5", 2, {"unknown option --n-steps", "saliency", "--abs"});
  expect_refused(saliency + "--target 0 --abs maybe", 2, {"--abs is 'maybe'"});
  expect_refused(saliency + "--target 0 stray", 2, {"'stray'"});
  const std::string ig = "attribute m.onnx -i x.npy --target 0 --method integrated-gradients ";
  expect_refused(ig + "--n-steps 0", 2, {"n_steps is 0"});
  expect_refused(ig + "--n-steps ten", 2, {"--n-steps is 'ten'", "a number"});
  expect_refused(ig + "--method-of 3", 2, {"--method-of"});
  expect_refused(ig + "--baselines none.npy", 2, {"'none.npy' does not exist"});
  expect_refused(ig + "--baselines bad.npy", 2, {"baseline for 'x'", "[2, 5]"});
  expect_refused(ig + "--precision bf16", 2, {"--precision bf16"});
  expect_refused(ig + "--precision fast --device cpu", 2, {"--precision fast", "CUDA", "cpu"});
  expect_refused(ig + "--device gpu", 2, {"unknown device 'gpu'", "cuda:INDEX"});
  expect_refused(ig + "--memory lots", 2, {"--memory lots"});
  expect_refused(ig + "--memory 100", 2, {"one row needs"});
  const std::string occlusion = "attribute m.onnx -i x.npy --target 0 --method occlusion ";
  expect_refused(occlusion, 2, {"window"});
  expect_refused(occlusion + "--sliding-window-shapes 5", 2, {"window for 'x' is 5"});
  expect_refused(occlusion + "--sliding-window-shapes 2 --strides 3", 2, {"stride for 'x' is 3"});
  write(folder_ / "file", "");
  expect_refused(saliency + "--target 0 -o file", 2, {"'file'", "no folder"});
  expect_refused(saliency + "--target 0 -o file/below", 2, {"'file/below'"});
  expect_refused("run m.onnx -i x.npy -o file", 2, {"'file'"});
  expect_refused("grad m.onnx -i x.npy --of y:0 -o file", 2, {"'file'"});
}

TEST_F(Cli, WhatCannotBeEvaluatedExitsWithThree) {
  ModelBuilder m;
  m.input("x", {"N", 4}).output("y", {"N", 4});
  m.node("NoSuchOperator", {"x"}, {"t"}, "odd_one");
  m.node("Relu", {"t"}, {"y"});
  write(folder_ / "odd.onnx", m.bytes());
  expect_refused("run odd.onnx -i x.npy", 3, {"NoSuchOperator", "odd_one"});
  expect_refused("attribute odd.onnx -i x.npy --method saliency --target 0", 3, {"NoSuchOperator"});
  expect_refused("info odd.onnx", 3, {"NoSuchOperator"});
  const Result r = run("doctor odd.onnx");
  EXPECT_EQ(r.code, 3);
  EXPECT_NE(r.out.find("NoSuchOperator"), std::string::npos);
  EXPECT_NE(r.out.find("odd_one"), std::string::npos);
  // Overflow: x^2 of a huge value in float32.
  ModelBuilder big;
  big.input("x", {"N", 1}).output("y", {"N", 1});
  big.node("Exp", {"x"}, {"y"});
  write(folder_ / "exp.onnx", big.bytes());
  app::write_npy(folder_ / "huge.npy", Tensor::from<float>({1, 1}, {1000}));
  expect_refused("attribute exp.onnx -i huge.npy --method saliency", 3, {"'x'", "not finite"});
}

TEST_F(Cli, AFailedWriteLeavesTheFolderAsItWas) {
  // result.json is a folder, so the last file cannot be written.
  fs::create_directories(folder_ / "o/result.json");
  write(folder_ / "o/keep.txt", "kept");
  const Result r = run("attribute m.onnx -i x.npy --method saliency --target 0 -o o");
  EXPECT_EQ(r.code, 2) << r.err;
  EXPECT_NE(r.err.find("cannot write"), std::string::npos) << r.err;
  EXPECT_EQ(files("o"), (std::set<std::string>{"keep.txt", "result.json"}));
}

TEST_F(Cli, QuietSilencesProgressAndNotices) {
  ModelBuilder m;
  m.input("x", {"N", 4}).output("p", {"N", 4});
  m.node("Relu", {"x"}, {"logits"});
  m.node("Softmax", {"logits"}, {"p"});
  write(folder_ / "soft.onnx", m.bytes());
  const std::string command = "attribute soft.onnx -i x.npy --method saliency --target 1 -o q";
  const Result loud = run(command);
  EXPECT_EQ(loud.code, 0) << loud.err;
  EXPECT_NE(loud.err.find("note: the output is a Softmax: explaining its input 'logits'"), std::string::npos)
      << loud.err;
  EXPECT_EQ(run(command + " --quiet").err, "");
  EXPECT_EQ(result("q").at("compute").at("notices").size(), 1u);
}

}  // namespace
}  // namespace onnxray
