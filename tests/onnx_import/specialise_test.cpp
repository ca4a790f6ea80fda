#include "onnx_import/specialise.h"

#include "engine/backend.h"
#include "kernels/cpu/cpu.h"
#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

using testing::add_node;
using testing::attr;
using testing::expect_error;
using testing::ModelBuilder;

wire::GraphProto branch(const std::string& op, const testing::Names& inputs) {
  wire::GraphProto g;
  add_node(g, op, inputs, {"inner"});
  add_node(g, "Neg", {"inner"}, {"result"});
  g.add_output()->set_name("result");
  return g;
}

ModelBuilder chooser() {
  ModelBuilder m;
  m.input("x", {2}).output("y");
  auto& n = m.node("If", {"c"}, {"y"}, "choose");
  attr(n, "then_branch", branch("Exp", {"x"}));
  attr(n, "else_branch", branch("Unheard", {"x"}));
  return m;
}

Specialised specialised(const ModelBuilder& m, SpecialiseRequest request = {}) {
  const OnnxFile file = m.load();
  for (const ValueInfo& in : file.graph.inputs) {
    Dims dims;
    for (const DeclaredDim& d : in.dims) dims.push_back(d.value < 0 ? 1 : d.value);
    request.input_dims[in.name] = dims;
  }
  Specialised s = specialise(file, request, evaluator_of(cpu_backend()));
  s.graph.verify();
  return s;
}

std::string ops_of(const Graph& g) {
  std::string out;
  for (const Node& n : g.nodes()) out += n.op->name + " ";
  return out;
}

TEST(If, TakesTheBranchOfAConstantCondition) {
  ModelBuilder m = chooser();
  m.initializer("c", Tensor::scalar(true));
  const Specialised s = specialised(m);
  EXPECT_EQ(ops_of(s.graph), "exp neg ");
  EXPECT_EQ(s.graph.find("y"), s.graph.outputs()[0]);
  EXPECT_FALSE(s.depends_on_data);
  ModelBuilder otherwise = chooser();
  otherwise.initializer("c", Tensor::scalar(false));
  expect_error([&] { (void)specialised(otherwise); }, "unsupported operator Unheard", ErrorKind::kUnsupported);
}

TEST(If, ConditionFromTheInput) {
  ModelBuilder m = chooser();
  m.input("c", {}, DType::boolean);
  expect_error([&] { (void)specialised(m); }, "the condition of choose (If)", ErrorKind::kUnsupported);
  SpecialiseRequest request;
  request.input_data["c"] = Tensor::scalar(true);
  const Specialised s = specialised(m, request);
  EXPECT_TRUE(s.depends_on_data);
  EXPECT_EQ(s.first_data_dependence, "choose (If)");
}

// Both branches, and the graph after them, may use the same names; a branch's own weight hides nothing for long.
TEST(If, NamesOfABranchStayInside) {
  ModelBuilder m;
  m.input("x", {2}).output("y").initializer("c", Tensor::scalar(true)).initializer("w", Tensor::scalar(2.0f));
  wire::GraphProto body;
  *body.add_initializer() = to_proto(Tensor::scalar(3.0f), "w");
  add_node(body, "Mul", {"x", "w"}, {"t"});
  body.add_output()->set_name("t");
  attr(m.node("If", {"c"}, {"a"}), "then_branch", body);
  attr(m.node("If", {"c"}, {"b"}), "then_branch", body);
  m.node("Add", {"a", "b"}, {"s"});
  m.node("Mul", {"s", "w"}, {"t"});
  m.node("Neg", {"t"}, {"y"});
  const Specialised s = specialised(m);
  EXPECT_EQ(ops_of(s.graph), "mul mul add mul neg ");
  const Node* last = s.graph.producer(s.graph.find("t"));
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(s.graph.value(last->inputs[1]).constant.to_doubles(), std::vector<double>{2});
  EXPECT_EQ(last->inputs[0], s.graph.find("s"));
}

TEST(If, BranchMayHandAnOuterValueOut) {
  ModelBuilder m;
  m.input("x", {2}).output("y").initializer("c", Tensor::scalar(true));
  wire::GraphProto body;
  body.add_output()->set_name("x");
  attr(m.node("If", {"c"}, {"y"}), "then_branch", body);
  const Specialised s = specialised(m);
  EXPECT_EQ(s.graph.outputs()[0], s.graph.inputs()[0]);
}

TEST(If, Malformed) {
  ModelBuilder m = chooser();
  m.initializer("c", Tensor::from<bool>({2}, {true, false}));
  expect_error([&] { (void)specialised(m); }, "node choose (If): the condition has shape [2]");
  ModelBuilder none = chooser();
  none.graph().mutable_node(0)->clear_attribute();
  none.initializer("c", Tensor::scalar(true));
  expect_error([&] { (void)specialised(none); }, "node choose (If): has no then_branch");
  ModelBuilder few = chooser();
  few.graph().mutable_node(0)->add_output("second");
  few.initializer("c", Tensor::scalar(true));
  expect_error([&] { (void)specialised(few); }, "too few outputs");
}

// What the fuzzer found: scalars that are empty, ranges that fill the memory.
TEST(Specialise, HostileScalars) {
  ModelBuilder dropout;
  dropout.input("x", {2})
      .output("y")
      .initializer("r", Tensor::scalar(0.5f))
      .initializer("t", Tensor::zeros(DType::boolean, {0}));
  dropout.node("Dropout", {"x", "r", "t"}, {"y"}, "d");
  expect_error([&] { (void)specialised(dropout); }, "node d (Dropout): input 2 has shape [0], expected a scalar");
  ModelBuilder conv;
  conv.input("x", {1, 1, 3}, DType::u8).output("y").initializer("w", Tensor::scalar(std::uint8_t{1}));
  conv.initializer("z", Tensor::zeros(DType::u8, {1}));
  conv.node("ConvInteger", {"x", "w", "z", "z"}, {"y"}, "c");
  expect_error([&] { (void)specialised(conv); }, "node c (ConvInteger): weight has shape []");
  const auto range = [](std::int64_t start, std::int64_t limit, std::int64_t delta) {
    ModelBuilder m;
    m.output("y");
    m.initializer("a", Tensor::scalar(start))
        .initializer("b", Tensor::scalar(limit))
        .initializer("c", Tensor::scalar(delta));
    m.node("Range", {"a", "b", "c"}, {"y"}, "r");
    const Specialised s = specialised(m);
    return s.graph.value(s.graph.outputs()[0]).constant.to_ints();
  };
  expect_error([&] { (void)range(0, 1'000'000'000'000, 1); }, "node r (Range)");
  const std::int64_t far = std::int64_t{1} << 62;
  EXPECT_EQ(range(-far, far, far), (std::vector<std::int64_t>{-far, 0}));
}

TEST(Specialise, UnsupportedTypesMatterWhenUsed) {
  ModelBuilder m;
  m.input("x", {2}).output("y");
  auto& text = *m.graph().add_initializer();
  text.set_name("s");
  text.set_data_type(8);
  m.node("Neg", {"x"}, {"y"});
  EXPECT_EQ(ops_of(specialised(m).graph), "neg ");
  m.graph().mutable_node(0)->set_input(0, "s");
  expect_error([&] { (void)specialised(m); }, "reads 's', which is a tensor of type STRING", ErrorKind::kUnsupported);
  ModelBuilder input;
  input.input("x", {2}).output("y");
  input.node("Neg", {"x"}, {"y"});
  input.graph().mutable_input(0)->mutable_type()->mutable_sequence_type();
  expect_error([&] { (void)specialised(input); }, "input 'x' is a sequence", ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace onnxray::onnx_import
