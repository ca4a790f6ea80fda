// What the command refuses, with which exit code, and that it says so in one line and writes nothing.
#include "tests/app/cli_fixture.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;
using testing::Cli;
using testing::ModelBuilder;
using testing::Result;
using testing::text_of;
using testing::write;

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
