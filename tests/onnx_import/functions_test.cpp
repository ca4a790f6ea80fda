#include <set>

#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

using testing::add_node;
using testing::attr;
using testing::attr_ref;
using testing::expect_error;
using testing::ModelBuilder;
using testing::Names;

// "Mul(x, w) -> lin/t; Add(lin/t, b) -> y"
std::string text(const OnnxGraph& g) {
  std::string out;
  for (const OnnxNode& n : g.nodes) {
    out += (out.empty() ? "" : "; ") + n.op_type + "(";
    for (const std::string& s : n.inputs) out += s + ",";
    out.back() = ')';
    out += " ->";
    for (const std::string& s : n.outputs) out += " " + s;
  }
  return out;
}

ModelBuilder linear() {
  ModelBuilder m;
  m.input("x", {1}).input("w", {1}).output("y");
  auto& f = m.function("my", "Linear", {"a", "b", "c"}, {"r"});
  add_node(f, "Mul", {"a", "b"}, {"t"}, "mul");
  add_node(f, "Foo", {"t", "c"}, {"r"});
  return m;
}

TEST(Functions, AreInlined) {
  ModelBuilder m = linear();
  m.call("my", "Linear", {"x", "w", "x"}, {"y"}, "lin");
  const OnnxGraph g = m.load().graph;
  EXPECT_EQ(text(g), "Mul(x,w) -> lin/t; Foo(lin/t,x) -> y");
  EXPECT_EQ(g.nodes[0].label, "lin/mul (Mul)");
  EXPECT_EQ(g.nodes[1].label, "lin/#1 (Foo)");
}

TEST(Functions, AbsentInputsStayAbsent) {
  ModelBuilder m = linear();
  m.call("my", "Linear", {"x", "w"}, {"y"}, "lin");
  EXPECT_EQ(text(m.load().graph), "Mul(x,w) -> lin/t; Foo(lin/t,) -> y");
}

TEST(Functions, EveryCallHasNamesOfItsOwn) {
  ModelBuilder m = linear();
  m.call("my", "Linear", {"x", "w"}, {"p"});
  m.call("my", "Linear", {"p", "w"}, {"q"});
  m.call("my", "Linear", {"q", "w"}, {"Linear/t"});  // the name the first call would have used
  m.node("Relu", {"Linear/t"}, {"y"});
  std::set<std::string> names;
  for (const OnnxNode& n : m.load().graph.nodes) {
    for (const std::string& s : n.outputs) EXPECT_TRUE(names.insert(s).second) << s;
  }
}

TEST(Functions, AttributesReferencesAndDefaults) {
  ModelBuilder m;
  m.input("x", {1}).output("y").output("z");
  auto& f = m.function("my", "Act", {"a"}, {"r"});
  f.add_attribute("alpha");
  auto& fallback = *f.add_attribute_proto();
  fallback.set_name("beta");
  fallback.set_type(1);
  fallback.set_f(0.25f);
  auto& n = add_node(f, "HardSigmoid", {"a"}, {"r"});
  attr_ref(n, "alpha", "alpha", 1);
  attr_ref(n, "beta", "beta", 1);
  attr(m.call("my", "Act", {"x"}, {"y"}), "alpha", 2.0f);
  attr(m.call("my", "Act", {"x"}, {"z"}), "beta", 3.0f);
  const OnnxGraph g = m.load().graph;
  EXPECT_EQ(std::get<double>(g.nodes[0].attrs.at("alpha")), 2);
  EXPECT_EQ(std::get<double>(g.nodes[0].attrs.at("beta")), 0.25);
  EXPECT_FALSE(g.nodes[1].attrs.contains("alpha"));  // the operator's own default
  EXPECT_EQ(std::get<double>(g.nodes[1].attrs.at("beta")), 3);
}

TEST(Functions, Nest) {
  ModelBuilder m = linear();
  auto& f = m.function("my", "Twice", {"a", "b"}, {"r"});
  auto& first = add_node(f, "Linear", {"a", "b", "a"}, {"mid"}, "one");
  first.set_domain("my");
  auto& second = add_node(f, "Linear", {"mid", "b"}, {"r"}, "two");
  second.set_domain("my");
  m.call("my", "Twice", {"x", "w"}, {"y"}, "top");
  EXPECT_EQ(text(m.load().graph),
            "Mul(x,w) -> top/one/t; Foo(top/one/t,x) -> top/mid; Mul(top/mid,w) -> top/two/t; Foo(top/two/t,) -> y");
}

TEST(Functions, OverloadsAndDomains) {
  ModelBuilder m;
  m.input("x", {1}).output("y");
  auto& plain = m.function("my", "F", {"a"}, {"r"});
  add_node(plain, "Neg", {"a"}, {"r"});
  auto& other = m.function("my", "F", {"a"}, {"r"});
  other.set_overload("v2");
  add_node(other, "Abs", {"a"}, {"r"});
  m.call("my", "F", {"x"}, {"p"});
  m.call("my", "F", {"p"}, {"q"}).set_overload("v2");
  m.call("your", "F", {"q"}, {"y"});
  EXPECT_EQ(text(m.load().graph), "Neg(x) -> p; Abs(p) -> q; F(q) -> y");
  m.function("my", "F", {}, {});
  expect_error([&] { (void)m.load(); }, "function my.F is defined twice");
}

TEST(Functions, HandInputsThroughAndRepeatOutputs) {
  ModelBuilder m;
  m.input("x", {1}).output("p").output("q").output("r");
  auto& f = m.function("my", "F", {"a"}, {"a", "b", "b"});
  add_node(f, "Neg", {"a"}, {"b"});
  m.call("my", "F", {"x"}, {"p", "q", "r"});
  EXPECT_EQ(text(m.load().graph), "Neg(x) -> q; Identity(x) -> p; Identity(q) -> r");
  ModelBuilder unused;
  unused.input("x", {1}).output("r");
  *unused.proto.add_functions() = m.proto.functions(0);
  unused.call("my", "F", {"x"}, {"", "", "r"});
  EXPECT_EQ(text(unused.load().graph), "Neg(x) -> F/b; Identity(F/b) -> r");
}

TEST(Functions, BodiesInsideAreRenamed) {
  ModelBuilder m;
  m.input("x", {1}).input("c", {}, DType::boolean).output("y");
  auto& f = m.function("my", "F", {"cond", "a"}, {"r"});
  wire::GraphProto branch;
  add_node(branch, "Neg", {"a"}, {"inner"});
  add_node(branch, "Abs", {"inner"}, {"out"});
  branch.add_output()->set_name("out");
  auto& n = add_node(f, "If", {"cond"}, {"r"});
  attr(n, "then_branch", branch);
  m.call("my", "F", {"c", "x"}, {"y"}, "f");
  const OnnxGraph g = m.load().graph;
  const auto body = std::get<std::shared_ptr<const OnnxGraph>>(g.nodes.at(0).attrs.at("then_branch"));
  EXPECT_EQ(text(*body), "Neg(x) -> f/inner; Abs(f/inner) -> f/out");
  EXPECT_EQ(body->outputs[0].name, "f/out");
  EXPECT_EQ(body->captures, Names{"x"});
}

TEST(Functions, NodesHaveTheVersionTheirFunctionImports) {
  ModelBuilder m = linear();
  m.proto.mutable_functions(0)->mutable_opset_import(0)->set_version(9);
  auto& extra = *m.proto.mutable_functions(0)->add_opset_import();
  extra.set_domain("com.example");
  extra.set_version(3);
  m.node("Relu", {"x"}, {"z"});
  m.call("my", "Linear", {"z", "w"}, {"y"});
  const OnnxFile file = m.load();
  EXPECT_EQ(file.graph.nodes[0].version, 17);
  EXPECT_EQ(file.graph.nodes[1].version, 9);
  EXPECT_EQ(file.opsets.at("com.example"), 3);
}

TEST(Functions, Malformed) {
  ModelBuilder many = linear();
  many.call("my", "Linear", {"x", "x", "x", "x"}, {"y"}, "lin");
  expect_error([&] { (void)many.load(); }, "node lin (Linear), a call of function my.Linear: 4 inputs");
  ModelBuilder outputs = linear();
  outputs.call("my", "Linear", {"x"}, {"y", "z"});
  expect_error([&] { (void)outputs.load(); }, "2 outputs, but the function has 1");
  ModelBuilder self;
  self.input("x", {1}).output("y");
  add_node(self.function("my", "F", {"a"}, {"r"}), "F", {"a"}, {"r"}).set_domain("my");
  self.call("my", "F", {"x"}, {"y"});
  expect_error([&] { (void)self.load(); }, "the function calls itself");
  ModelBuilder pair;
  pair.input("x", {1}).output("y");
  add_node(pair.function("my", "F", {"a"}, {"r"}), "G", {"a"}, {"r"}).set_domain("my");
  add_node(pair.function("my", "G", {"a"}, {"r"}), "F", {"a"}, {"r"}).set_domain("my");
  pair.call("my", "F", {"x"}, {"y"});
  expect_error([&] { (void)pair.load(); }, "the function calls itself");
  ModelBuilder nothing;
  nothing.input("x", {1}).output("y");
  nothing.function("my", "F", {"a"}, {"r"});
  nothing.call("my", "F", {"x"}, {"y"});
  expect_error([&] { (void)nothing.load(); }, "nothing produces output 'r'");
  ModelBuilder duplicate = linear();
  add_node(*duplicate.proto.mutable_functions(0), "Neg", {"a"}, {"t"});
  duplicate.call("my", "Linear", {"x"}, {"y"});
  expect_error([&] { (void)duplicate.load(); }, "two values called 't'");
  ModelBuilder unknown = linear();
  add_node(*unknown.proto.mutable_functions(0), "Neg", {"x"}, {"u"}, "bad");  // functions capture nothing
  unknown.call("my", "Linear", {"x"}, {"y"}, "lin");
  expect_error([&] { (void)unknown.load(); }, "node lin/bad (Neg) reads 'x', which nothing produces");
}

// Thirty levels of two calls each would be a billion nodes.
TEST(Functions, GrowthIsBounded) {
  ModelBuilder m;
  m.input("x", {1}).output("y");
  add_node(m.function("my", "F0", {"a"}, {"r"}), "Neg", {"a"}, {"r"});
  for (int i = 1; i <= 30; ++i) {
    auto& f = m.function("my", "F" + std::to_string(i), {"a"}, {"r"});
    const std::string callee = "F" + std::to_string(i - 1);
    add_node(f, callee, {"a"}, {"t"}).set_domain("my");
    add_node(f, callee, {"t"}, {"r"}).set_domain("my");
  }
  m.call("my", "F30", {"x"}, {"y"});
  expect_error([&] { (void)m.load(); }, "too large");
}

}  // namespace
}  // namespace onnxray::onnx_import
