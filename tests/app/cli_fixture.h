// The built command in a temporary folder with a small model and its inputs.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "app/io/npy.h"
#include "tests/app/run_command.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::testing {

namespace fs = std::filesystem;
using Json = nlohmann::json;

inline void write(const fs::path& file, const std::string& bytes) {
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
    return run_command(folder_, "OMP_WAIT_POLICY=passive '" ONNXRAY_COMMAND "' " + arguments);
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

}  // namespace onnxray::testing
