#include "onnx_import/load.h"

#include <fstream>

#include "engine/base/sha256.h"
#include "onnx_import/test_data.h"
#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

using testing::attr;
using testing::expect_error;
using testing::ModelBuilder;
using testing::Names;

ModelBuilder relu() {
  ModelBuilder m;
  m.input("x", {"N", 3}).output("y", {"N", 3});
  m.node("Relu", {"x"}, {"y"}, "act");
  return m;
}

OnnxFile parse(const std::string& bytes) { return parse_bytes(std::as_bytes(std::span(bytes))); }

TEST(Load, ReadsGraphAndMetadata) {
  ModelBuilder m = relu();
  m.proto.set_producer_name("maker");
  m.proto.set_producer_version("1.2");
  auto& entry = *m.proto.add_metadata_props();
  entry.set_key("author");
  entry.set_value("nobody");
  const OnnxFile file = m.load();
  EXPECT_EQ(file.ir_version, 8);
  EXPECT_EQ(file.opsets.at(""), 17);
  EXPECT_EQ(file.producer, "maker 1.2");
  EXPECT_EQ(file.metadata.at("author"), "nobody");
  const std::string bytes = m.bytes();
  EXPECT_EQ(file.digest, sha256_hex(std::as_bytes(std::span(bytes))));
  ASSERT_EQ(file.graph.inputs.size(), 1u);
  const ValueInfo& x = file.graph.inputs[0];
  EXPECT_EQ(x.name, "x");
  EXPECT_TRUE(x.has_shape);
  ASSERT_EQ(x.dims.size(), 2u);
  EXPECT_EQ(x.dims[0].symbol, "N");
  EXPECT_EQ(x.dims[0].value, -1);
  EXPECT_EQ(x.dims[1].value, 3);
  ASSERT_EQ(file.graph.nodes.size(), 1u);
  EXPECT_EQ(file.graph.nodes[0].label, "act (Relu)");
  EXPECT_EQ(file.graph.nodes[0].version, 17);
}

TEST(Load, DecodesEveryAttributeKind) {
  ModelBuilder m;
  m.input("x", {1}).output("y");
  auto& n = m.node("Foo", {"x"}, {"y"});
  attr(n, "f", 0.5f);
  attr(n, "i", -7);
  attr(n, "s", "text");
  attr(n, "t", Tensor::from<float>({2}, {1, 2}));
  attr(n, "fs", std::vector<float>{1, 2.5f});
  attr(n, "is", std::vector<std::int64_t>{3, -4});
  attr(n, "ss", Names{"a", "b"});
  testing::attr_of(n, "ts", 9).add_tensors();
  testing::attr_of(n, "sp", 11);
  testing::attr_of(n, "tp", 13);
  testing::attr_of(n, "old", 0).set_i(5);  // before IR 2 the kind was not written
  auto& strings = *testing::attr_of(n, "st", 4).mutable_t();
  strings.set_data_type(8);
  strings.add_dims(1);
  strings.add_string_data("a");
  const auto attrs = m.load().graph.nodes.at(0).attrs;
  EXPECT_EQ(std::get<double>(attrs.at("f")), 0.5);
  EXPECT_EQ(std::get<std::int64_t>(attrs.at("i")), -7);
  EXPECT_EQ(std::get<std::string>(attrs.at("s")), "text");
  EXPECT_TRUE(std::get<Tensor>(attrs.at("t")).same_bits(Tensor::from<float>({2}, {1, 2})));
  EXPECT_EQ(std::get<std::vector<double>>(attrs.at("fs")), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(attrs.at("is")), (std::vector<std::int64_t>{3, -4}));
  EXPECT_EQ(std::get<std::vector<std::string>>(attrs.at("ss")), (Names{"a", "b"}));
  EXPECT_EQ(std::get<UnsupportedAttr>(attrs.at("ts")).what, "a list of tensors");
  EXPECT_EQ(std::get<UnsupportedAttr>(attrs.at("sp")).what, "a sparse tensor");
  EXPECT_EQ(std::get<UnsupportedAttr>(attrs.at("tp")).what, "a type");
  EXPECT_EQ(std::get<UnsupportedAttr>(attrs.at("st")).what, "a tensor of type STRING");
  EXPECT_EQ(std::get<std::int64_t>(attrs.at("old")), 5);
}

TEST(Load, LabelsNodesByNameOrNumber) {
  ModelBuilder m;
  m.input("x", {1}).output("z");
  m.node("Relu", {"x"}, {"y"});
  m.node("Conv", {"y"}, {"z"}, "conv1");
  const OnnxGraph g = m.load().graph;
  EXPECT_EQ(g.nodes[0].label, "#0 (Relu)");
  EXPECT_EQ(g.nodes[1].label, "conv1 (Conv)");
}

TEST(Load, DomainsAndOpsets) {
  ModelBuilder m = relu();
  m.graph().mutable_node(0)->set_domain("ai.onnx");
  m.proto.mutable_opset_import(0)->set_domain("ai.onnx");
  EXPECT_EQ(m.load().opsets.at(""), 17);
  EXPECT_EQ(m.load().graph.nodes[0].domain, "");
  EXPECT_EQ(m.load().graph.nodes[0].version, 17);
  m.proto.clear_opset_import();
  EXPECT_EQ(m.load().opsets.at(""), 1);
  EXPECT_EQ(m.load().graph.nodes[0].version, 1);
}

// Before IR 4 initializers are listed as inputs too.
TEST(Load, InitializersAreNoInputs) {
  ModelBuilder m;
  m.proto.set_ir_version(3);
  m.input("x", {2}).input("w", {2}).output("y").initializer("w", Tensor::from<float>({2}, {1, 2}));
  m.node("Add", {"x", "w"}, {"y"});
  const OnnxFile file = m.load();
  ASSERT_EQ(file.graph.inputs.size(), 1u);
  EXPECT_EQ(file.graph.inputs[0].name, "x");
  EXPECT_TRUE(file.graph.initializers.contains("w"));
}

TEST(Load, SortsNodesStably) {
  ModelBuilder m;
  m.input("x", {1}).output("d");
  m.node("Add", {"b", "c"}, {"d"}, "3");
  m.node("Relu", {"x"}, {"a"}, "0");
  m.node("Relu", {"a"}, {"c"}, "1");
  m.node("Relu", {"a"}, {"b"}, "2");
  std::string order;
  for (const OnnxNode& n : m.load().graph.nodes) order += n.name;
  EXPECT_EQ(order, "0123");
}

TEST(Load, CycleNamesItsNodes) {
  ModelBuilder m;
  m.input("x", {1}).output("b");
  m.node("Relu", {"x"}, {"ok"}, "first");
  m.node("Add", {"ok", "b"}, {"a"}, "left");
  m.node("Neg", {"a"}, {"b"}, "right");
  expect_error([&] { (void)m.load(); }, "cycle");
  expect_error([&] { (void)m.load(); }, "left (Add)");
  expect_error([&] { (void)m.load(); }, "right (Neg)");
  ModelBuilder self;
  self.input("x", {1}).output("y");
  self.node("Add", {"x", "y"}, {"y"}, "loop");
  expect_error([&] { (void)self.load(); }, "cycle: loop (Add) -> loop (Add)");
}

TEST(Load, NamesMustBeUniqueAndKnown) {
  ModelBuilder twice = relu();
  twice.node("Neg", {"x"}, {"y"});
  expect_error([&] { (void)twice.load(); }, "'y'");
  ModelBuilder input = relu();
  input.input("x", {1});
  expect_error([&] { (void)input.load(); }, "already has a value");
  ModelBuilder weight = relu();
  weight.initializer("w", Tensor::scalar(1.0f)).initializer("w", Tensor::scalar(2.0f));
  expect_error([&] { (void)weight.load(); }, "initializer 'w'");
  ModelBuilder shadow = relu();
  shadow.initializer("y", Tensor::scalar(1.0f));
  expect_error([&] { (void)shadow.load(); }, "output 'y' of node act (Relu)");
  ModelBuilder unknown = relu();
  unknown.graph().mutable_node(0)->set_input(0, "nowhere");
  expect_error([&] { (void)unknown.load(); }, "node act (Relu) reads 'nowhere', which nothing produces");
  ModelBuilder output = relu();
  output.output("nowhere");
  expect_error([&] { (void)output.load(); }, "'nowhere'");
  ModelBuilder attribute = relu();
  attr(*attribute.graph().mutable_node(0), "a", 1);
  attr(*attribute.graph().mutable_node(0), "a", 2);
  expect_error([&] { (void)attribute.load(); }, "node act (Relu): attribute 'a' is given twice");
}

TEST(Load, MissingPieces) {
  ModelBuilder no_output = relu();
  no_output.graph().clear_output();
  expect_error([&] { (void)no_output.load(); }, "no output");
  ModelBuilder no_type = relu();
  no_type.graph().mutable_input(0)->clear_type();
  expect_error([&] { (void)no_type.load(); }, "graph input 'x' has no type");
  ModelBuilder no_op = relu();
  no_op.graph().mutable_node(0)->clear_op_type();
  expect_error([&] { (void)no_op.load(); }, "has no operator");
  ModelBuilder nameless = relu();
  nameless.graph().mutable_input(0)->clear_name();
  expect_error([&] { (void)nameless.load(); }, "graph input 0 has no name");
  ModelBuilder empty_attr = relu();
  testing::attr_of(*empty_attr.graph().mutable_node(0), "a", 0);
  expect_error([&] { (void)empty_attr.load(); }, "attribute 'a': has no value");
  ModelBuilder odd_attr = relu();
  testing::attr_of(*odd_attr.graph().mutable_node(0), "a", 77);
  expect_error([&] { (void)odd_attr.load(); }, "unknown attribute type 77");
  ModelBuilder stray_ref = relu();
  testing::attr_ref(*stray_ref.graph().mutable_node(0), "a", "b", 2);
  expect_error([&] { (void)stray_ref.load(); }, "outside of functions");
}

TEST(Load, DeclaresWhatNoTensorCanHold) {
  ModelBuilder m = relu();
  m.graph().mutable_input(0)->mutable_type()->mutable_sequence_type();
  EXPECT_EQ(m.load().graph.inputs[0].unsupported, "a sequence");
  m.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(8);
  EXPECT_EQ(m.load().graph.inputs[0].unsupported, "a tensor of type STRING");
}

TEST(Load, NotAModel) {
  expect_error([] { (void)parse(""); }, "empty");
  expect_error([] { (void)parse("hello world, this is no model"); }, "not an ONNX model");
  expect_error([] { (void)parse("version https://git-lfs.github.com/spec/v1\n"); }, "Git LFS");
  wire::ModelProto bare;
  bare.set_ir_version(8);
  expect_error([&] { (void)parse(bare.SerializeAsString()); }, "no graph");
  expect_error([] { (void)load_file("/nowhere/model.onnx"); }, "cannot open /nowhere/model.onnx");
  expect_error([] { (void)load_file("/"); }, "is a folder");
}

// Cut anywhere, a model is an error or another valid model, never a crash.
TEST(Load, TruncatedAnywhere) {
  ModelBuilder m = relu();
  m.initializer("w", Tensor::from<float>({3}, {1, 2, 3}));
  attr(m.node("Foo", {"w"}, {"z"}), "ints", std::vector<std::int64_t>{1, 2, 3});
  const std::string whole = m.bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    try {
      (void)parse(whole.substr(0, length));
    } catch (const Error&) {
    }
  }
}

TEST(Load, BodiesSeeOuterValues) {
  ModelBuilder m;
  m.input("c", {}, DType::boolean).input("x", {1}).output("y");
  wire::GraphProto then_branch, else_branch;
  testing::add_node(then_branch, "Neg", {"later"}, {"t"});
  then_branch.add_output()->set_name("t");
  testing::add_node(else_branch, "Abs", {"x"}, {"t"});
  else_branch.add_output()->set_name("t");
  auto& n = m.node("If", {"c"}, {"y"}, "choose");
  attr(n, "then_branch", then_branch);
  attr(n, "else_branch", else_branch);
  m.node("Relu", {"x"}, {"later"}, "producer");
  const OnnxGraph g = m.load().graph;
  EXPECT_EQ(g.nodes[0].name, "producer");  // a body's captures count for the order
  const auto body = std::get<std::shared_ptr<const OnnxGraph>>(g.nodes[1].attrs.at("then_branch"));
  EXPECT_EQ(body->captures, Names{"later"});
  EXPECT_EQ(body->outputs.at(0).name, "t");
}

TEST(Load, NestingIsBounded) {
  wire::GraphProto inner;
  inner.add_output()->set_name("x");
  for (int i = 0; i < 40; ++i) {
    wire::GraphProto outer;
    attr(testing::add_node(outer, "Foo", {"x"}, {"v" + std::to_string(i)}), "body", inner);
    outer.add_output()->set_name("x");
    inner = outer;
  }
  ModelBuilder m;
  m.input("x", {1}).output("y");
  attr(m.node("Foo", {"x"}, {"y"}), "body", inner);
  EXPECT_THROW((void)m.load(), Error);
}

TEST(Sha256, StandardVectors) {
  const auto digest = [](const std::string& s) { return sha256_hex(std::as_bytes(std::span(s))); };
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(TestData, WritesAndReadsTensors) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "onnxray_tensor.pb";
  const Tensor t = Tensor::from<std::int64_t>({2, 2}, {1, -2, 3, -4});
  write_tensor_file(path, t, "x");
  EXPECT_TRUE(read_tensor_file(path).same_bits(t));
  ValueInfo sequence;
  sequence.name = "x";
  sequence.unsupported = "a sequence";
  expect_error([&] { (void)read_tensor_file(path, sequence); }, "is a sequence", ErrorKind::kUnsupported);
  std::ofstream(path) << "no tensor";
  expect_error([&] { (void)read_tensor_file(path); }, "not a TensorProto");
  std::filesystem::remove(path);
  expect_error([&] { (void)read_tensor_file(path); }, "cannot open");
  expect_error([&] { write_tensor_file("/nowhere/x.pb", t, "x"); }, "cannot write");
}

}  // namespace
}  // namespace onnxray::onnx_import
