// Writes the seed corpus of import_fuzz: one tiny model per operator or feature of the file format.
//   fuzz_seeds FOLDER
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <variant>
#include <vector>

#include "tests/onnx_import/model_builder.h"

using namespace onnxray;
using namespace onnxray::testing;

namespace {

using Ints = std::vector<std::int64_t>;

struct In {
  Dims dims;
  DType dtype = DType::f32;
  Tensor constant = {};  // defined: an initializer
  bool absent = false;
};

In x(Dims dims, DType dtype = DType::f32) { return {std::move(dims), dtype}; }
In w(Dims dims, DType dtype = DType::f32) {
  Tensor t(DType::f64, dims);
  int i = 0;
  for (double& v : t.mutable_data<double>()) v = 0.5 * (i++ % 7) - 1;
  return {std::move(dims), dtype, t.to(dtype)};
}
In ints(const Ints& v) { return {{static_cast<std::int64_t>(v.size())}, DType::i64, Tensor::ints(v)}; }
In one(std::int64_t v) { return {{}, DType::i64, Tensor::scalar(v)}; }
In real(float v) { return {{}, DType::f32, Tensor::scalar(v)}; }
In none() { return {.dims = {}, .absent = true}; }

struct Attribute {
  std::string name;
  std::variant<int, float, const char*, Ints, Tensor, std::vector<float>> value;
};

struct Seed {
  std::string op;
  std::vector<In> inputs;
  std::vector<Attribute> attrs = {};
  int outputs = 1;
  int opset = 17;
};

const std::vector<Seed>& seeds() {
  static const std::vector<Seed> all = {
      {"Relu", {x({2, 3})}},
      {"Softmax", {x({2, 3})}, {{"axis", 1}}, 1, 11},
      {"Softmax", {x({2, 3})}, {{"axis", -1}}},
      {"LeakyRelu", {x({3})}, {{"alpha", 0.1f}}},
      {"Clip", {x({3}), real(-1), real(1)}},
      {"Clip", {x({3})}, {{"min", -1.f}, {"max", 1.f}}, 1, 6},
      {"Add", {x({2, 3}), w({3})}},
      {"Pow", {x({2}), real(2)}},
      {"Mod", {x({4}, DType::i64), one(3)}},
      {"Where", {x({3}, DType::boolean), x({2, 1}), w({3})}},
      {"Cast", {x({3})}, {{"to", 7}}},
      {"Max", {x({3}), w({2, 3}), w({1})}},
      {"PRelu", {x({1, 2, 3, 3}), w({2, 1, 1})}},
      {"Gelu", {x({4})}, {{"approximate", "tanh"}}, 1, 20},
      {"Conv", {x({1, 2, 5, 5}), w({3, 2, 3, 3}), w({3})}, {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 1}}}},
      {"Conv", {x({1, 4, 7}), w({4, 2, 3})}, {{"group", 2}, {"dilations", Ints{2}}, {"auto_pad", "SAME_UPPER"}}},
      {"Conv", {x({1, 1, 3, 3, 3}), w({1, 1, 2, 2, 2})}},
      {"ConvTranspose", {x({1, 2, 3, 3}), w({2, 2, 3, 3})}, {{"strides", Ints{2, 2}}, {"output_padding", Ints{1, 1}}}},
      {"MaxPool", {x({1, 2, 5, 5})}, {{"kernel_shape", Ints{3, 2}}, {"ceil_mode", 1}, {"pads", Ints{1, 0, 1, 1}}}, 2},
      {"AveragePool",
       {x({1, 1, 4, 4})},
       {{"kernel_shape", Ints{2, 2}}, {"count_include_pad", 1}, {"strides", Ints{2, 2}}}},
      {"GlobalAveragePool", {x({1, 2, 3, 3})}},
      {"LRN", {x({1, 5, 2, 2})}, {{"size", 3}}},
      {"MatMul", {x({2, 3}), w({3, 4})}},
      {"MatMul", {x({2, 1, 2, 3}), x({3, 3, 1})}},
      {"Gemm", {x({2, 3}), w({4, 3}), w({4})}, {{"transB", 1}, {"alpha", 0.5f}}},
      {"Einsum", {x({2, 3}), x({3, 4})}, {{"equation", "ij,jk->ik"}}},
      {"BatchNormalization", {x({1, 2, 2, 2}), w({2}), w({2}), w({2}), x({2})}},
      {"InstanceNormalization", {x({1, 2, 3}), w({2}), w({2})}},
      {"LayerNormalization", {x({2, 4}), w({4}), w({4})}, {{"axis", -1}}},
      {"GroupNormalization", {x({1, 4, 3}), w({4}), w({4})}, {{"num_groups", 2}}, 1, 21},
      {"LpNormalization", {x({2, 3})}, {{"p", 1}, {"axis", 0}}},
      {"ReduceSum", {x({2, 3, 2}), ints({0, -1})}, {{"keepdims", 0}}},
      {"ReduceMean", {x({2, 3})}, {{"axes", Ints{1}}}},
      {"ReduceMax", {x({2, 3}), ints({1})}, {{"noop_with_empty_axes", 1}}, 1, 18},
      {"ReduceLogSumExp", {x({2, 3})}, {{"axes", Ints{0}}}},
      {"ArgMax", {x({2, 3})}, {{"axis", 1}, {"select_last_index", 1}}},
      {"CumSum", {x({2, 3}), one(1)}, {{"reverse", 1}, {"exclusive", 1}}},
      {"TopK", {x({2, 5}), ints({2})}, {{"axis", 1}, {"largest", 0}}, 2},
      {"Reshape", {x({2, 3}), ints({0, -1, 1})}},
      {"Flatten", {x({2, 3, 2})}, {{"axis", 2}}},
      {"Transpose", {x({2, 3, 4})}, {{"perm", Ints{2, 0, 1}}}},
      {"Squeeze", {x({1, 3, 1}), ints({0})}},
      {"Unsqueeze", {x({3}), ints({0, 2})}},
      {"Concat", {x({2, 3}), w({2, 1})}, {{"axis", -1}}},
      {"Split", {x({5, 2}), ints({2, 3})}, {{"axis", 0}}, 2},
      {"Split", {x({5, 2})}, {{"num_outputs", 3}}, 3, 18},
      {"Slice", {x({4, 5}), ints({-1, 0}), ints({-5, 4}), ints({0, 1}), ints({-2, 1})}},
      {"Slice", {x({4, 5})}, {{"starts", Ints{1}}, {"ends", Ints{3}}, {"axes", Ints{1}}}, 1, 9},
      {"Pad", {x({2, 3}), ints({1, 0, 0, 2}), real(1)}, {{"mode", "constant"}}},
      {"Pad", {x({3, 4}), ints({1, 1, 2, -1})}, {{"mode", "reflect"}}},
      {"Pad", {x({3, 4}), ints({1, 1, 2, 1})}, {{"mode", "wrap"}}, 1, 19},
      {"Expand", {x({3, 1}), ints({2, 1, 4})}},
      {"Tile", {x({2, 2}), ints({1, 3})}},
      {"Resize", {x({1, 1, 3, 3}), none(), none(), ints({1, 1, 5, 6})}, {{"mode", "linear"}}},
      {"Resize",
       {x({1, 1, 3, 3}), none(), {{4}, DType::f32, Tensor::from<float>({4}, {1, 1, 2, 2.5f})}},
       {{"mode", "cubic"}}},
      {"Resize",
       {x({1, 1, 4, 4}), none(), none(), ints({1, 1, 2, 3})},
       {{"mode", "nearest"}, {"nearest_mode", "floor"}}},
      {"DepthToSpace", {x({1, 4, 2, 2})}, {{"blocksize", 2}, {"mode", "CRD"}}},
      {"SpaceToDepth", {x({1, 1, 4, 4})}, {{"blocksize", 2}}},
      {"Gather", {x({3, 4}), {{2}, DType::i64, Tensor::from<std::int64_t>({2}, {0, -1})}}, {{"axis", 1}}},
      {"GatherElements", {x({2, 3}), {{2, 1}, DType::i64, Tensor::from<std::int64_t>({2, 1}, {0, 2})}}, {{"axis", 1}}},
      {"GatherND",
       {x({2, 3, 2}), {{2, 1}, DType::i64, Tensor::from<std::int64_t>({2, 1}, {0, 1})}},
       {{"batch_dims", 1}}},
      {"ScatterND", {x({4, 2}), {{1, 1}, DType::i64, Tensor::from<std::int64_t>({1, 1}, {2})}, w({1, 2})}},
      {"ScatterElements",
       {x({3, 2}), {{1, 2}, DType::i64, Tensor::from<std::int64_t>({1, 2}, {2, 0})}, w({1, 2})},
       {{"axis", 0}, {"reduction", "add"}}},
      {"OneHot", {x({3}, DType::i64), one(4), w({2})}, {{"axis", -1}}},
      {"NonZero", {w({2, 3})}},
      {"Trilu", {x({3, 3}), one(1)}, {{"upper", 0}}},
      {"Range", {one(0), one(5), one(2)}},
      {"ConstantOfShape", {ints({2, 2})}, {{"value", Tensor::from<float>({1}, {3})}}},
      {"Shape", {x({2, 3})}, {{"start", -1}}},
      {"Constant", {}, {{"value_ints", Ints{1, 2}}}},
      {"EyeLike", {x({2, 3})}, {{"k", 1}}},
      {"Dropout", {x({4})}, {}, 2},
      {"LSTM", {x({3, 1, 2}), w({1, 12, 2}), w({1, 12, 3}), w({1, 24})}, {{"hidden_size", 3}}, 3},
      {"GRU", {x({2, 1, 2}), w({2, 9, 2}), w({2, 9, 3})}, {{"hidden_size", 3}, {"direction", "bidirectional"}}, 2},
      {"RNN", {x({2, 1, 2}), w({1, 3, 2}), w({1, 3, 3})}, {{"hidden_size", 3}, {"direction", "reverse"}}, 2},
      {"Attention", {x({1, 2, 3, 4}), x({1, 2, 3, 4}), x({1, 2, 3, 4})}, {{"is_causal", 1}}, 1, 23},
      {"RotaryEmbedding", {x({1, 2, 3, 4}), w({1, 3, 2}), w({1, 3, 2})}, {}, 1, 23},
      {"GridSample", {x({1, 1, 3, 3}), x({1, 2, 2, 2})}, {{"padding_mode", "reflection"}}},
  };
  return all;
}

ModelBuilder model_of(const Seed& seed) {
  ModelBuilder m(seed.opset);
  Names inputs, outputs;
  for (const In& in : seed.inputs) {
    if (in.absent) {
      inputs.emplace_back();
      continue;
    }
    inputs.push_back("x" + std::to_string(inputs.size()));
    if (in.constant.defined()) m.initializer(inputs.back(), in.constant);
    else m.input(inputs.back(), {in.dims.begin(), in.dims.end()}, in.dtype);
  }
  for (int i = 0; i < seed.outputs; ++i) {
    outputs.push_back("y" + std::to_string(i));
    m.output(outputs.back());
  }
  wire::NodeProto& n = m.node(seed.op, inputs, outputs, "n");
  for (const Attribute& a : seed.attrs) {
    std::visit([&](const auto& v) { attr(n, a.name, v); }, a.value);
  }
  return m;
}

// A function with an attribute, a body, a chain of shapes, every kind of initializer.
std::vector<std::pair<std::string, ModelBuilder>> features() {
  std::vector<std::pair<std::string, ModelBuilder>> out;
  ModelBuilder call;
  call.input("x", {2}).output("y");
  auto& f = call.function("my", "F", {"a", "b"}, {"r"});
  attr_ref(add_node(f, "LeakyRelu", {"a"}, {"t"}), "alpha", "alpha", 1);
  add_node(f, "Add", {"t", "t"}, {"r"});
  attr(call.call("my", "F", {"x"}, {"m"}), "alpha", 0.3f);
  call.call("my", "F", {"m"}, {"y"});
  out.emplace_back("function", call);

  ModelBuilder choose;
  choose.input("x", {2}).output("y").initializer("c", Tensor::scalar(true));
  wire::GraphProto body;
  add_node(body, "Exp", {"x"}, {"t"});
  body.add_output()->set_name("t");
  auto& branch = choose.node("If", {"c"}, {"y"});
  attr(branch, "then_branch", body);
  attr(branch, "else_branch", body);
  out.emplace_back("if", choose);

  ModelBuilder shapes;
  shapes.input("x", {"N", 6}).output("y");
  shapes.node("Shape", {"x"}, {"s"});
  shapes.node("Gather", {"s", "i"}, {"n"});
  shapes.node("Concat", {"n", "k"}, {"target"});
  shapes.node("Reshape", {"x", "target"}, {"y"});
  attr(*shapes.graph().mutable_node(1), "axis", 0);
  attr(*shapes.graph().mutable_node(2), "axis", 0);
  shapes.initializer("i", Tensor::ints(Ints{0})).initializer("k", Tensor::ints(Ints{2, 3}));
  out.emplace_back("shapes", shapes);

  ModelBuilder old(6);
  old.proto.set_ir_version(3);
  old.input("x", {1, 2}).input("w", {2}).output("y").initializer("w", Tensor::from<float>({2}, {1, 2}));
  auto& add = old.node("Add", {"x", "w"}, {"y"});
  attr(add, "broadcast", 1);
  attr(add, "axis", 1);
  out.emplace_back("ir3", old);

  ModelBuilder fields;
  fields.input("x", {2}).output("y");
  auto& typed = *fields.graph().add_initializer();
  typed.set_name("w");
  typed.set_data_type(10);
  typed.add_dims(2);
  typed.add_int32_data(0x3c00);
  typed.add_int32_data(0x4000);
  attr(fields.node("Cast", {"w"}, {"v"}), "to", 1);
  fields.node("Mul", {"x", "v"}, {"y"});
  out.emplace_back("typed_fields", fields);

  ModelBuilder external;
  external.input("x", {2}).output("y");
  auto& outside = *external.graph().add_initializer();
  outside.set_name("w");
  outside.set_data_type(1);
  outside.add_dims(2);
  outside.set_data_location(1);
  auto& location = *outside.add_external_data();
  location.set_key("location");
  location.set_value("../w.bin");
  external.node("Mul", {"x", "w"}, {"y"});
  out.emplace_back("external", external);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const auto write = [&](const std::string& name, const ModelBuilder& m) {
    std::ofstream(folder / (name + ".onnx"), std::ios::binary) << m.bytes();
  };
  int number = 0;
  for (const Seed& seed : seeds()) write(std::to_string(number++) + "_" + seed.op, model_of(seed));
  for (const auto& [name, model] : features()) write(name, model);
  return 0;
}
