// The onnxray command as people and scripts use it: what each verb prints and writes, arrays and JSON.
#include "tests/app/cli_fixture.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;
using testing::Cli;
using testing::Json;
using testing::Result;
using testing::write;

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

}  // namespace
}  // namespace onnxray
