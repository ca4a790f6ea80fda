// Converters of the layout and index families where ONNX's node tests are silent: old opset versions, clamping rules,
// attributes a hostile file could hold. A node on constants folds, so its outputs can be read off the graph.
#include "engine/backend.h"
#include "kernels/cpu/cpu.h"
#include "onnx_import/specialise.h"
#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

using testing::attr;
using testing::expect_error;
using testing::ModelBuilder;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

// 0, 1, 2, ...
Tensor counting(Dims dims, DType dtype = DType::f32) {
  Tensor t(DType::f64, std::move(dims));
  double next = 0;
  for (double& v : t.mutable_data<double>()) v = next++;
  return t.to(dtype);
}

Tensor ints(const Ints& v) { return Tensor::ints(v); }

// The outputs of one node of that opset; an undefined input is absent.
template <class Attributes>
std::vector<Tensor> run(std::int64_t opset, const std::string& op, const std::vector<Tensor>& inputs,
                        Attributes&& attributes, std::size_t outputs = 1) {
  ModelBuilder m(opset);
  testing::Names in, out;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    in.push_back(inputs[i].defined() ? "x" + std::to_string(i) : "");
    if (inputs[i].defined()) m.initializer(in.back(), inputs[i]);
  }
  for (std::size_t i = 0; i < outputs; ++i) {
    out.push_back("y" + std::to_string(i));
    m.output(out.back());
  }
  attributes(m.node(op, in, out));
  const Specialised s = specialise(m.load(), {}, evaluator_of(cpu_backend()));
  std::vector<Tensor> results;
  for (const ValueId v : s.graph.outputs()) results.push_back(s.graph.value(v).constant);
  return results;
}

std::vector<Tensor> run(std::int64_t opset, const std::string& op, const std::vector<Tensor>& inputs) {
  return run(opset, op, inputs, [](wire::NodeProto&) {});
}

void expect_values(const Tensor& got, const Dims& dims, const Doubles& want) {
  ASSERT_TRUE(got.defined());
  EXPECT_EQ(got.dims(), dims);
  EXPECT_EQ(got.to_doubles(), want);
}

TEST(Reshape, ShapeAsAttributeBeforeOpset5) {
  const auto y = run(1, "Reshape", {counting({2, 3})}, [](auto& n) { attr(n, "shape", Ints{0, -1, 1}); });
  EXPECT_EQ(y[0].dims(), (Dims{2, 3, 1}));
}

TEST(Reshape, ZeroCopiesUnlessAllowed) {
  EXPECT_EQ(run(13, "Reshape", {counting({2, 3}), ints({3, -1})})[0].dims(), (Dims{3, 2}));
  EXPECT_EQ(run(14, "Reshape", {counting({0, 3}), ints({0, 1, 3})})[0].dims(), (Dims{0, 1, 3}));
  const auto allowed = run(14, "Reshape", {counting({3, 0}), ints({0, 7})}, [](auto& n) { attr(n, "allowzero", 1); });
  EXPECT_EQ(allowed[0].dims(), (Dims{0, 7}));
  const auto ignored = run(13, "Reshape", {counting({3, 0}), ints({0, 0})}, [](auto& n) { attr(n, "allowzero", 1); });
  EXPECT_EQ(ignored[0].dims(), (Dims{3, 0}));
}

TEST(Reshape, Refuses) {
  const auto reshape = [](const Ints& shape) { (void)run(13, "Reshape", {counting({2, 3}), ints(shape)}); };
  expect_error([&] { reshape({-1, -1}); }, "-1 twice");
  expect_error([&] { reshape({4, -1}); }, "cannot become");
  expect_error([&] { reshape({-2, 3}); }, "negative");
  expect_error([&] { reshape({1, 1, 0}); }, "copies extent 2");
  expect_error([&] { reshape({std::int64_t{1} << 40, std::int64_t{1} << 40, -1}); }, "too many elements");
}

TEST(Squeeze, AxesAsAttributeBeforeOpset13) {
  const auto some = run(11, "Squeeze", {counting({1, 3, 1})}, [](auto& n) { attr(n, "axes", Ints{-1}); });
  EXPECT_EQ(some[0].dims(), (Dims{1, 3}));
  EXPECT_EQ(run(11, "Squeeze", {counting({1, 3, 1})})[0].dims(), (Dims{3}));
  expect_error([] { (void)run(13, "Squeeze", {counting({1, 3}), ints({1})}); }, "cannot be squeezed");
  const auto more = run(11, "Unsqueeze", {counting({3})}, [](auto& n) { attr(n, "axes", Ints{-1, 0}); });
  EXPECT_EQ(more[0].dims(), (Dims{1, 3, 1}));
  expect_error([] { (void)run(13, "Unsqueeze", {counting({3}), ints({0, -3})}); }, "twice");
}

TEST(Concat, AxisDefaultBeforeOpset4) {
  EXPECT_EQ(run(3, "Concat", {counting({2, 1}), counting({2, 2})})[0].dims(), (Dims{2, 3}));
  expect_error([] { (void)run(4, "Concat", {counting({2}), counting({2})}); }, "'axis' is missing");
}

TEST(Split, SizesFromEveryPlace) {
  const auto sizes = [](const std::vector<Tensor>& parts) {
    Ints n;
    for (const Tensor& t : parts) n.push_back(t.dims()[0]);
    return n;
  };
  const Tensor x = counting({7});
  const auto none = [](wire::NodeProto&) {};
  const auto attribute = [](wire::NodeProto& n) { attr(n, "split", Ints{3, 4}); };
  EXPECT_EQ(sizes(run(2, "Split", {x}, attribute, 2)), (Ints{3, 4}));
  EXPECT_EQ(sizes(run(1, "Split", {x, ints({5, 2})}, none, 2)), (Ints{5, 2}));
  EXPECT_EQ(sizes(run(13, "Split", {x, ints({0, 7})}, none, 2)), (Ints{0, 7}));
  EXPECT_EQ(sizes(run(
                18, "Split", {x}, [](wire::NodeProto& n) { attr(n, "num_outputs", 3); }, 3)),
            (Ints{3, 3, 1}));
  EXPECT_EQ(sizes(run(
                18, "Split", {counting({5})}, [](wire::NodeProto& n) { attr(n, "num_outputs", 4); }, 4)),
            (Ints{2, 2, 1, 0}));
  expect_error([&] { (void)run(13, "Split", {x}, none, 2); }, "equal parts");
  expect_error([&] { (void)run(13, "Split", {x, ints({3, 3})}, none, 2); }, "do not add up");
  expect_error([&] { (void)run(13, "Split", {x, ints({-1, 8})}, none, 2); }, "do not add up");
  expect_error([&] { (void)run(13, "Split", {x, ints({kMax, 8})}, none, 2); }, "do not add up");
}

TEST(Slice, BoundsAsAttributesBeforeOpset10) {
  const auto y = run(1, "Slice", {counting({3, 4})}, [](auto& n) {
    attr(n, "starts", Ints{1});
    attr(n, "ends", Ints{kMax});
    attr(n, "axes", Ints{-1});
  });
  expect_values(y[0], {3, 3}, {1, 2, 3, 5, 6, 7, 9, 10, 11});
}

TEST(Slice, ClampsLikeOnnx) {
  const auto slice = [](std::int64_t start, std::int64_t end, std::int64_t step) {
    return run(13, "Slice", {counting({5}), ints({start}), ints({end}), ints({0}), ints({step})})[0].to_doubles();
  };
  EXPECT_EQ(slice(kMin, kMax, 1), (Doubles{0, 1, 2, 3, 4}));
  EXPECT_EQ(slice(kMax, kMin, -1), (Doubles{4, 3, 2, 1, 0}));
  EXPECT_EQ(slice(-1, -6, -2), (Doubles{4, 2, 0}));
  EXPECT_EQ(slice(3, 0, -1), (Doubles{3, 2, 1}));
  EXPECT_EQ(slice(-100, kMin, -1), (Doubles{0}));  // start is clamped to 0 for a negative step
  EXPECT_EQ(slice(1, 4, kMax), (Doubles{1}));
  EXPECT_EQ(slice(4, kMin, kMin), (Doubles{4}));
  EXPECT_EQ(slice(3, 1, 1), Doubles{});
  EXPECT_EQ(slice(9, 20, 1), Doubles{});
  expect_error([&] { (void)slice(0, 1, 0); }, "step");
}

TEST(Tile, OneAxisBeforeOpset6) {
  const auto y =
      run(1, "Tile", {counting({2, 2}), Tensor::scalar(2.0f).reshaped({1}), Tensor::scalar(1.0f).reshaped({1})});
  expect_values(y[0], {2, 4}, {0, 1, 0, 1, 2, 3, 2, 3});
  EXPECT_EQ(run(13, "Tile", {counting({2, 3}), ints({0, 2})})[0].dims(), (Dims{0, 6}));
  expect_error([] { (void)run(13, "Tile", {counting({2}), ints({-1})}); }, "negative");
  expect_error([] { (void)run(13, "Tile", {counting({2}), ints({kMax})}); }, "too many elements");
}

TEST(Pad, OldNamesAndNegativePads) {
  const auto version1 = run(1, "Pad", {counting({3})}, [](auto& n) {
    attr(n, "paddings", Ints{1, 2});
    attr(n, "value", 9.0f);
  });
  expect_values(version1[0], {6}, {9, 0, 1, 2, 9, 9});
  const auto version2 = run(2, "Pad", {counting({3})}, [](auto& n) {
    attr(n, "pads", Ints{2, 3});
    attr(n, "mode", "reflect");
  });
  expect_values(version2[0], {8}, {2, 1, 0, 1, 2, 1, 0, 1});
  expect_values(run(13, "Pad", {counting({5}), ints({-1, 2}), Tensor::scalar(7.0f)})[0], {6}, {1, 2, 3, 4, 7, 7});
  expect_values(run(13, "Pad", {counting({3}), ints({-5, 4}), Tensor::scalar(7.0f)})[0], {2}, {7, 7});
  const auto edge = run(13, "Pad", {counting({4}), ints({-2, 2})}, [](auto& n) { attr(n, "mode", "edge"); });
  expect_values(edge[0], {4}, {2, 3, 3, 3});
  const auto wrap = run(19, "Pad", {counting({3}), ints({4, 1})}, [](auto& n) { attr(n, "mode", "wrap"); });
  expect_values(wrap[0], {8}, {2, 0, 1, 2, 0, 1, 2, 0});
  expect_error([] { (void)run(13, "Pad", {counting({3}), ints({-2, -2})}); }, "leave nothing");
  expect_error([] { (void)run(13, "Pad", {counting({3}), ints({kMax, kMax})}); }, "huge");
  expect_error([] { (void)run(13, "Pad", {counting({3}), ints({kMin, 0})}); }, "huge");
  expect_error(
      [] {
        (void)run(13, "Pad", {counting({0}), ints({1, 0})}, [](auto& n) { attr(n, "mode", "edge"); });
      },
      "needs elements");
}

TEST(Upsample, EveryVersion) {
  const Tensor x = counting({1, 1, 1, 2});
  const Doubles twice{0, 0, 1, 1, 0, 0, 1, 1};
  const auto version1 = run(1, "Upsample", {x}, [](auto& n) {
    attr(n, "height_scale", 2.0f);
    attr(n, "width_scale", 2.0f);
  });
  expect_values(version1[0], {1, 1, 2, 4}, twice);
  const auto version7 = run(7, "Upsample", {x}, [](auto& n) { attr(n, "scales", Floats{1, 1, 2, 2}); });
  expect_values(version7[0], {1, 1, 2, 4}, twice);
  const Tensor scales = Tensor::from<float>({4}, {1, 1, 1, 2});
  const auto linear = run(9, "Upsample", {x, scales}, [](auto& n) { attr(n, "mode", "linear"); });
  expect_values(linear[0], {1, 1, 1, 4}, {0, 0.5, 1, 1});  // asymmetric: at 0, 1/2, 1, 3/2
}

TEST(Resize, Version10DownsamplesByCeiling) {
  const Tensor scales = Tensor::from<float>({1}, {0.6F});
  expect_values(run(10, "Resize", {counting({4}), scales})[0], {2}, {0, 2});
  const auto linear =
      run(10, "Resize", {counting({4}), Tensor::from<float>({1}, {0.5F})}, [](auto& n) { attr(n, "mode", "linear"); });
  expect_values(linear[0], {2}, {0, 2});
}

TEST(Resize, Version11Modes) {
  const auto resize = [](const char* coordinates, const char* nearest) {
    return run(11, "Resize", {counting({3}), Tensor::from<float>({0}, {}), Tensor::from<float>({0}, {}), ints({5})},
               [&](auto& n) {
                 attr(n, "coordinate_transformation_mode", coordinates);
                 attr(n, "nearest_mode", nearest);
               })[0]
        .to_doubles();
  };
  EXPECT_EQ(resize("tf_half_pixel_for_nn", "floor"), (Doubles{0, 0, 1, 2, 2}));
  EXPECT_EQ(resize("asymmetric", "ceil"), (Doubles{0, 1, 2, 2, 2}));
  EXPECT_EQ(resize("align_corners", "round_prefer_ceil"), (Doubles{0, 1, 1, 2, 2}));
  EXPECT_EQ(resize("align_corners", "round_prefer_floor"), (Doubles{0, 0, 1, 1, 2}));
  // Whatever an integer dtype holds is copied.
  const auto bytes = run(13, "Resize", {counting({2}, DType::u8), Tensor(), Tensor::from<float>({1}, {2})});
  EXPECT_EQ(bytes[0].dtype(), DType::u8);
  expect_values(bytes[0], {4}, {0, 0, 1, 1});
}

TEST(Resize, Refuses) {
  const auto scaled = [](float scale) {
    (void)run(13, "Resize", {counting({3}), Tensor(), Tensor::from<float>({1}, {scale})});
  };
  expect_error([&] { scaled(0); }, "scale");
  expect_error([&] { scaled(-1); }, "scale");
  expect_error([&] { scaled(std::numeric_limits<float>::quiet_NaN()); }, "scale");
  expect_error([&] { scaled(1e30F); }, "scale");
  expect_error([] { (void)run(13, "Resize", {counting({3}), Tensor(), Tensor(), ints({kMax})}); }, "too long");
  expect_error([] { (void)run(13, "Resize", {counting({3}), Tensor(), Tensor(), ints({5'000'000})}); }, "the longest");
  expect_error([] { (void)run(13, "Resize", {counting({3}), Tensor(), Tensor(), ints({-1})}); }, "negative");
  expect_error([] { (void)run(13, "Resize", {counting({0}), Tensor(), Tensor(), ints({2})}); }, "empty axis");
  expect_error([] { (void)run(13, "Resize", {counting({3})}); }, "neither scales nor sizes");
  expect_error(
      [] {
        (void)run(18, "Resize",
                  {counting({3}), Tensor::from<float>({2}, {0, 1e30F}), Tensor::from<float>({1}, {1e-30F})},
                  [](auto& n) {
                    attr(n, "coordinate_transformation_mode", "tf_crop_and_resize");
                    attr(n, "antialias", 1);
                    attr(n, "mode", "linear");
                  });
      },
      "too many elements");
}

TEST(Gather, ConstantIndexOutsideTheAxis) {
  expect_error([] { (void)run(13, "Gather", {counting({3}), ints({3})}); }, "index 3");
  expect_error([] { (void)run(13, "Gather", {counting({3}), ints({kMin})}); }, "index -9223372036854775808");
  expect_error([] { (void)run(13, "GatherElements", {counting({3}), ints({-4})}); }, "outside [-3, 3)");
  expect_error([] { (void)run(13, "GatherND", {counting({3}), ints({3}).reshaped({1, 1})}); }, "outside [-3, 3)");
  expect_error([] { (void)run(13, "ScatterElements", {counting({3}), ints({5}), counting({1})}); }, "outside [-3, 3)");
}

TEST(Gather, OnlyElementOfAnAxisIsAView) {
  ModelBuilder m;
  m.input("x", {2, 1, 3}).output("y").initializer("i", Tensor::scalar(std::int64_t{-1}));
  attr(m.node("Gather", {"x", "i"}, {"y"}), "axis", 1);
  const Specialised s = specialise(m.load(), {.input_dims = {{"x", {2, 1, 3}}}}, evaluator_of(cpu_backend()));
  ASSERT_EQ(s.graph.nodes().size(), 1u);
  EXPECT_EQ(s.graph.node(0).op->name, "reshape");
}

TEST(Scatter, Version9AndNoReductionBefore16) {
  expect_values(run(9, "Scatter", {counting({3}), ints({1}), Tensor::from<float>({1}, {9})})[0], {3}, {0, 9, 2});
  const auto ignored = run(13, "ScatterND", {counting({3}), ints({1}).reshaped({1, 1}), Tensor::from<float>({1}, {9})},
                           [](auto& n) { attr(n, "reduction", "add"); });
  expect_values(ignored[0], {3}, {0, 9, 2});
  expect_error(
      [] {
        (void)run(16, "ScatterElements", {counting({3}), ints({1}), counting({1})},
                  [](auto& n) { attr(n, "reduction", "max"); });
      },
      "unknown reduction 'max'");
}

TEST(TopK, EveryVersion) {
  const Tensor x = Tensor::from<float>({4}, {3, 1, 4, 1});
  const auto version1 = run(
      1, "TopK", {x}, [](auto& n) { attr(n, "k", 2); }, 2);
  expect_values(version1[0], {2}, {4, 3});
  expect_values(version1[1], {2}, {2, 0});
  const auto none = [](wire::NodeProto&) {};
  expect_values(run(10, "TopK", {x, ints({1})}, none, 2)[1], {1}, {2});
  const auto smallest = run(
      11, "TopK", {x, ints({2})}, [](auto& n) { attr(n, "largest", 0); }, 2);
  expect_values(smallest[0], {2}, {1, 1});
  expect_values(smallest[1], {2}, {1, 3});
  expect_error([&] { (void)run(11, "TopK", {x, ints({5})}, none, 2); }, "k is 5");
  const Tensor nan = Tensor::from<float>({3}, {1, std::numeric_limits<float>::quiet_NaN(), 2});
  expect_values(run(11, "TopK", {nan, ints({3})}, none, 2)[1], {3}, {1, 2, 0});
}

TEST(OneHot, IndicesOutsideAreOff) {
  const Tensor values = Tensor::from<float>({2}, {-1, 5});
  expect_values(run(11, "OneHot", {ints({1, -1, 3, -4}), ints({3}), values})[0], {4, 3},
                {-1, 5, -1, -1, -1, 5, -1, -1, -1, -1, -1, -1});
  expect_error([&] { (void)run(11, "OneHot", {ints({1}), ints({kMax}), values}); }, "too long");
  expect_error([&] { (void)run(11, "OneHot", {ints({1}), ints({0}), values}); }, "depth is 0");
}

TEST(NonZero, ScalarHasNoIndexRows) {
  EXPECT_EQ(run(13, "NonZero", {Tensor::scalar(3.0f)})[0].dims(), (Dims{0, 1}));
  expect_values(run(13, "NonZero", {Tensor::from<float>({2, 2}, {0, 1, 2, 0})})[0], {2, 2}, {0, 1, 1, 0});
}

TEST(DepthToSpace, Refuses) {
  const auto block = [](int s) { return [s](wire::NodeProto& n) { attr(n, "blocksize", s); }; };
  expect_error([&] { (void)run(13, "DepthToSpace", {counting({1, 4, 2, 2})}, block(0)); }, "blocksize");
  expect_error([&] { (void)run(13, "DepthToSpace", {counting({1, 3, 2, 2})}, block(2)); }, "does not divide");
  expect_error([&] { (void)run(13, "DepthToSpace", {counting({4, 2, 2})}, block(2)); }, "expected a shape");
}

}  // namespace
}  // namespace onnxray::onnx_import
