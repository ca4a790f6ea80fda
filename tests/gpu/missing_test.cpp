// `--device cuda` on a machine that lacks something: the command starts, says what is missing in one line, exits with 3
// and writes nothing. What this machine has is put out of the way, or in its place, by the environment of each run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/io/npy.h"
#include "tests/app/run_command.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class MissingDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "onnxray_missing_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    ModelBuilder m;
    m.input("x", {"N", 2}).output("y", {"N", 2});
    m.initializer("w", Tensor::from<float>({2, 2}, {1, -2, 3, 0}));
    m.node("MatMul", {"x", "w"}, {"y"}, "product");
    std::ofstream(folder_ / "m.onnx", std::ios::binary) << m.bytes();
    app::write_npy(folder_ / "x.npy", Tensor::from<float>({1, 2}, {1, 2}));
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result run(const std::string& environment, const std::string& command, const std::string& arguments) const {
    return run_command(folder_, "env -u ONNXRAY_DEVICE " + environment + " '" + command + "' " + arguments);
  }

  void expect_missing(const std::string& environment, const std::string& command, const std::string& says) const {
    SCOPED_TRACE(environment);
    for (const std::string& verb :
         {std::string("attribute m.onnx -i x.npy --method saliency --target 0 -o out"),
          std::string("run m.onnx -i x.npy -o out"), std::string("bench m.onnx --shape x=1,2")}) {
      const Result r = run(environment, command, verb + " --device cuda");
      EXPECT_EQ(r.code, 3) << verb;
      EXPECT_EQ(r.out, "") << verb;
      EXPECT_EQ(r.err.find("onnxray: device cuda: "), 0u) << r.err;
      EXPECT_NE(r.err.find(says), std::string::npos) << r.err;
      EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
      EXPECT_FALSE(fs::exists(folder_ / "out")) << verb;
    }
    // The environment asks for it just as well, and the CPU works beside it.
    EXPECT_EQ(run(environment + " ONNXRAY_DEVICE=cuda", command, "run m.onnx -i x.npy -o out").code, 3);
    EXPECT_EQ(run(environment, command, "run m.onnx -i x.npy -o cpu").code, 0);
  }

  fs::path folder_;
};

// The command alone in a folder, so that no module lies beside it.
TEST_F(MissingDevice, Module) {
  fs::create_directories(folder_ / "a/b");
  const fs::path alone = folder_ / "a/b/onnxray";
  fs::copy_file(ONNXRAY_COMMAND, alone);
  expect_missing("ONNXRAY_MODULES=/nowhere", alone.string(),
                 "the module libonnxray_cuda.so is not there (looked in /nowhere, " + alone.parent_path().string());
  const Json doctor = Json::parse(run("ONNXRAY_MODULES=", alone.string(), "doctor m.onnx --json").out);
  EXPECT_EQ(doctor.at("operators").at(0).at("devices"), Json({{"cpu", true}}));
}

TEST_F(MissingDevice, ModuleThatIsNone) {
  fs::create_directories(folder_ / "modules");
  std::ofstream(folder_ / "modules/libonnxray_cuda.so") << "not a library";
  expect_missing("ONNXRAY_MODULES='" + (folder_ / "modules").string() + "'", ONNXRAY_COMMAND, "cannot be opened");
}

#ifdef ONNXRAY_FAKE_DRIVER
// The folder with the fake libcuda.so.1 comes before the machine's own driver, if it has one.
std::string fake(int version, int init) {
  return "LD_LIBRARY_PATH='" ONNXRAY_FAKE_DRIVER "' ONNXRAY_FAKE_CUDA_VERSION=" + std::to_string(version) +
         " ONNXRAY_FAKE_CUDA_INIT=" + std::to_string(init);
}

TEST_F(MissingDevice, Driver) {
  const std::string none = "LD_LIBRARY_PATH=";
  if (run(none, ONNXRAY_COMMAND, "run m.onnx -i x.npy -o out --device cuda").err.find("no NVIDIA driver") ==
      std::string::npos) {
    GTEST_SKIP() << "this machine has an NVIDIA driver";
  }
  expect_missing(none, ONNXRAY_COMMAND, "there is no NVIDIA driver on this machine (libcuda.so.1)");
  const Result doctor = run(none, ONNXRAY_COMMAND, "doctor m.onnx");
  EXPECT_EQ(doctor.code, 0);
  EXPECT_NE(doctor.out.find("cuda cannot be used here: device cuda: there is no NVIDIA driver"), std::string::npos)
      << doctor.out;
  // What the kernels cover is known nevertheless.
  const Json json = Json::parse(run(none, ONNXRAY_COMMAND, "doctor m.onnx --json").out);
  EXPECT_EQ(json.at("operators").at(0).at("devices"), Json({{"cpu", true}, {"cuda", true}}));
  EXPECT_TRUE(json.at("absent").contains("cuda"));
}

TEST_F(MissingDevice, DriverThatIsTooOld) {
  expect_missing(fake(11080, 0), ONNXRAY_COMMAND, "the NVIDIA driver supports CUDA 11.8, this build needs ");
}

TEST_F(MissingDevice, Device) { expect_missing(fake(99000, 100), ONNXRAY_COMMAND, "the NVIDIA driver sees no device"); }

TEST_F(MissingDevice, DriverThatFails) {
  expect_missing(fake(99000, 999), ONNXRAY_COMMAND, "the NVIDIA driver does not answer: ");
}
#endif

}  // namespace
}  // namespace onnxray::testing
