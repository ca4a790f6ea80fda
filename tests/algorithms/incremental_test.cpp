// Incremental rows against whole rows: convnets of every shape that a window can meet.
#include "algorithms/incremental_rows.h"

#include <gtest/gtest.h>

#include "tests/algorithms/random_net.h"

namespace onnxray::testing {
namespace {

bool used(const Attribution& a) {
  for (const std::string& n : a.report.notices) {
    if (n.find("incrementally") != std::string::npos) return true;
  }
  return false;
}

// Both ways; whether the incremental one found something to save. A net whose rectifiers are all shut has nothing to
// say: `silent` counts those.
bool compare(const Model& model, Occlusion options, const Request& request, double tolerance, const std::string& what,
             int* silent = nullptr) {
  options.incremental = true;
  const Attribution a = attribute(model, options, request);
  options.incremental = false;
  const Attribution b = attribute(model, options, request);
  EXPECT_FALSE(used(b));
  EXPECT_LE(largest_difference(a.values, b.values), tolerance * largest(b.values)) << what;
  for (const auto& [name, t] : b.attributions) {
    const double scale = std::max(largest(b.values), largest(t.to_doubles()));
    if (largest(t.to_doubles()) == 0) {
      EXPECT_NE(silent, nullptr) << what << ": nothing is attributed";
      if (silent != nullptr) ++*silent;
    }
    EXPECT_LE(largest_difference(a.attributions.at(name).to_doubles(), t.to_doubles()), tolerance * scale) << what;
  }
  return used(a);
}

TEST(Incremental, EqualsWholeRowsOnRandomNets) {
  int incremental = 0, silent = 0;
  for (std::uint32_t seed = 0; seed < 16; ++seed) {
    const std::vector<Ints> spaces{{29, 23}, {61}, {24, 32}, {13, 11, 12}};
    const Ints& space = spaces[seed % spaces.size()];
    const Model model = random_model(seed, space, DType::f64);
    Dims dims{2, 3};
    dims.insert(dims.end(), space.begin(), space.end());
    Ints window{3}, strides{3};
    for (std::size_t i = 0; i < space.size(); ++i) {
      window.push_back(3 + static_cast<std::int64_t>((seed + i) % 3));
      strides.push_back(2 + static_cast<std::int64_t>((seed + i) % 2));  // does not divide: windows are cut at borders
    }
    if (seed % 5 == 0) window[0] = strides[0] = 2;
    Request request{.inputs = {{"x", wave(dims, seed)}}, .to = {output(0), output(1) - output(2)}};
    if (seed % 3 == 0) request.to = {output(2)};
    Occlusion options{.sliding_window_shapes = {window}, .strides = {strides}};
    options.baselines.constant = 0.25;
    incremental += compare(model, options, request, 1e-12, "seed " + std::to_string(seed), &silent);
  }
  EXPECT_GE(incremental, 8);
  EXPECT_LE(silent, 2);
}

TEST(Incremental, EqualsWholeRowsInFloat32) {
  for (const std::uint32_t seed : {1U, 2U, 6U}) {
    const Model model = random_model(seed, {48, 40}, DType::f32);
    Request request{.inputs = {{"x", wave({1, 3, 48, 40}, seed).to(DType::f32)}}, .to = {output(0)}};
    const Occlusion options{.sliding_window_shapes = {{3, 5, 5}}, .strides = {{3, 4, 4}}};
    EXPECT_TRUE(compare(model, options, request, 1e-5, "seed " + std::to_string(seed)));
  }
}

// Layers as rectangles, a residual sum, classes of rows by their distance from the border.
Model residual_model() {
  RandomNet net(5, {40, 36}, 3, DType::f64);
  net.conv(6);
  net.residual();
  net.unary("Relu");
  net.residual();
  return net.finish(4);
}

TEST(Incremental, ChunksClassesAndBaselinesDoNotMatter) {
  const Model model = residual_model();
  NamedTensors baselines{{"x", wave({3, 3, 40, 36}, 99)}};
  Scalar log_probability = scalar_of("y", {2});
  log_probability.terms[0].log_probability = true;
  Request request{.inputs = {{"x", wave({3, 3, 40, 36}, 1)}}, .to = {output(1), log_probability}};
  Occlusion options{.sliding_window_shapes = {{2, 6, 4}}, .strides = {{1, 5, 3}}};
  options.baselines = {.kind = Baselines::Kind::kTensors, .tensors = baselines};
  EXPECT_TRUE(compare(model, options, request, 1e-12, "tensors"));
  options.baselines = {.kind = Baselines::Kind::kBlur};
  EXPECT_TRUE(compare(model, options, request, 1e-12, "blur"));
  const Attribution whole = attribute(model, options, request);
  for (const std::int64_t chunk : {1, 7, 1000}) {
    request.compute.chunk = chunk;
    const Attribution a = attribute(model, options, request);
    EXPECT_TRUE(a.attributions.at("x").same_bits(whole.attributions.at("x"))) << chunk;
  }
}

TEST(Incremental, ClassesOfRowsGiveTheSameScalars) {
  const Model model = residual_model();
  const Request request{.inputs = {{"x", wave({2, 3, 40, 36}, 1)}}, .to = {output(1)}};
  const Session session(model, request, true);
  LocalRows rows{.value = 0, .count = 63};
  // Boxes of 4 by 4 on a grid, the last ones cut off.
  rows.box = [](std::int64_t k, Dims& begin, Dims& end) {
    begin = {0, k / 9 * 6, k % 9 * 4};
    end = {3, std::min<std::int64_t>(40, begin[1] + 4), std::min<std::int64_t>(36, begin[2] + 4)};
  };
  rows.mark = [&](std::int64_t k, const Dims& from, const Dims& size, bool* mask) {
    Dims begin, end;
    rows.box(k, begin, end);
    for (std::int64_t c = 0; c < 3; ++c) {
      for (std::int64_t y = begin[1]; y < end[1]; ++y) {
        for (std::int64_t x = begin[2]; x < end[2]; ++x) {
          mask[(c * size[1] + y - from[1]) * size[2] + x - from[2]] = true;
        }
      }
    }
  };
  const Tensor baseline = Tensor::zeros(DType::f64, {1, 3, 40, 36});
  const IncrementalRows one(session, rows, baseline, 1e18), many(session, rows, baseline, 0);
  ASSERT_TRUE(one.pays());
  EXPECT_EQ(one.classes(), 1U);
  EXPECT_GT(many.classes(), 1U);
  const ComputeOptions compute;
  Scheduler a(compute, "one", 128), b(compute, "many", 128);
  const auto x = one.run(a), y = many.run(b);
  EXPECT_LE(largest_difference(x.rows, y.rows), 1e-12 * largest(x.rows));
  EXPECT_EQ(x.clean, y.clean);
  ComputeReport report;
  b.report(session, report);
  EXPECT_EQ(report.rows, 128);
}

TEST(Incremental, FeaturesOfAnyForm) {
  const Model model = residual_model();
  const Request request{.inputs = {{"x", wave({2, 3, 40, 36}, 1)}}, .to = {output(1)}};
  const Session session(model, request, true);
  // Sixteen discs on a grid in two of the three channels; the rest belongs to no feature. Feature 16 is empty.
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < 3 * 40 * 36; ++i) {
    const std::int64_t c = i / 1440, y = i / 36 % 40, x = i % 36;
    const std::int64_t dy = y % 10 - 5, dx = x % 9 - 4;
    ids.push_back(c < 2 && dy * dy + dx * dx <= 6 ? y / 10 * 4 + x / 9 : -1);
  }
  constexpr std::int64_t kCount = 17;
  const Tensor baseline = wave({2, 3, 40, 36}, 50);
  const IncrementalRows rows(session, rows_of_features(0, ids, {3, 40, 36}, kCount), baseline);
  ASSERT_TRUE(rows.pays());
  const ComputeOptions compute;
  Scheduler scheduler(compute, "features", 2 * (kCount + 1));
  const auto result = rows.run(scheduler);
  // The same rows as plain inputs.
  NamedTensors inputs{{"x", Tensor(DType::f64, {2 * kCount, 3, 40, 36})}};
  const auto x = request.inputs.at("x").data<double>(), b = baseline.data<double>();
  const auto to = inputs.at("x").mutable_data<double>();
  for (std::size_t r = 0; r < 2 * kCount; ++r) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::size_t at = r / kCount * ids.size() + i;
      to[r * ids.size() + i] = ids[i] == static_cast<std::int64_t>(r % kCount) ? b[at] : x[at];
    }
  }
  const std::vector<double> all = evaluate(model, inputs, {"y"}, compute).values.at("y").to_doubles();
  std::vector<double> expected;
  for (std::size_t r = 0; r < 2 * kCount; ++r) expected.push_back(all[r * 4 + 1]);
  EXPECT_LE(largest_difference(result.rows, expected), 1e-12 * largest(expected));
  EXPECT_NEAR(result.rows[16], result.clean[0], 1e-12 * largest(expected));
  EXPECT_NE(result.rows[15], result.rows[16]);
}

// Cells of a grid: windows side by side, and whole rows.
TEST(Incremental, FeatureAblationOfLocalFeatures) {
  const Model model = residual_model();
  Request request{.inputs = {{"x", wave({2, 3, 40, 36}, 1)}}, .to = {output(1), output(0)}};
  Occlusion windows{.sliding_window_shapes = {{3, 5, 4}}, .strides = {{3, 5, 4}}, .incremental = false};
  windows.baselines.constant = 0.25;
  FeatureAblation cells;
  cells.baselines.constant = 0.25;
  Tensor ids(DType::i64, {1, 40, 36});
  const auto id = ids.mutable_data<std::int64_t>();
  for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::int64_t>(i / 36 / 5 * 9 + i % 36 / 4);
  cells.feature_mask = {.kind = FeatureMask::Kind::kTensors, .tensors = {{"x", ids}}};
  const Attribution a = attribute(model, cells, request), b = attribute(model, windows, request);
  EXPECT_TRUE(used(a));
  EXPECT_EQ(a.report.rows, b.report.rows);
  const double scale = largest(b.values);
  const auto expected = b.attributions.at("x").to_doubles();
  EXPECT_LE(largest_difference(a.attributions.at("x").to_doubles(), expected), 1e-12 * scale);
  EXPECT_LE(largest_difference(a.values, b.values), 1e-12 * scale);
  cells.incremental = false;
  const Attribution c = attribute(model, cells, request);
  EXPECT_FALSE(used(c));
  EXPECT_LE(largest_difference(c.attributions.at("x").to_doubles(), expected), 1e-12 * scale);
  // Superpixels, which differ from example to example, run as whole rows.
  cells.incremental = true;
  cells.feature_mask = {.kind = FeatureMask::Kind::kSlic, .number = 12};
  EXPECT_FALSE(used(attribute(model, cells, request)));
  request.compute.chunk = 3;
  cells.feature_mask = {.kind = FeatureMask::Kind::kTensors, .tensors = {{"x", ids}}};
  EXPECT_TRUE(attribute(model, cells, request).attributions.at("x").same_bits(a.attributions.at("x")));
}

TEST(Incremental, ChannelsLastInputsAndInnerLayers) {
  ModelBuilder m;
  m.input("x", {"N", 30, 33, 2}, DType::f64).output("y", {"N", 3}, DType::f64);
  m.initializer("w", wave({4, 2, 3, 3}, 1));
  m.initializer("v", wave({4, 4, 3, 3}, 2, 0.3));
  m.initializer("l", wave({4, 3}, 3));
  attr(m.node("Transpose", {"x"}, {"t"}), "perm", Ints{0, 3, 1, 2});
  attr(m.node("Conv", {"t", "w"}, {"a"}), "pads", Ints{1, 1, 1, 1});
  m.node("Relu", {"a"}, {"b"});
  attr(m.node("Conv", {"b", "v"}, {"c"}), "pads", Ints{1, 1, 1, 1});
  m.node("Tanh", {"c"}, {"d"});
  auto& mean = m.node("ReduceMean", {"d"}, {"e"});
  attr(mean, "axes", Ints{2, 3});
  attr(mean, "keepdims", 0);
  m.node("MatMul", {"e", "l"}, {"y"});
  const Model model = model_of(m);
  Request request{.inputs = {{"x", wave({2, 30, 33, 2}, 1)}}, .to = {output(1)}};
  EXPECT_TRUE(compare(model, {.sliding_window_shapes = {{4, 4, 2}}, .strides = {{3, 4, 2}}}, request, 1e-12, "input"));
  request.from = {"b"};
  EXPECT_TRUE(compare(model, {.sliding_window_shapes = {{4, 4, 5}}, .strides = {{4, 4, 5}}}, request, 1e-12, "layer"));
}

TEST(Incremental, StaysAwayWhereNothingIsSaved) {
  // A dense layer reads everything at once.
  ModelBuilder m;
  m.input("x", {"N", 1, 6, 6}, DType::f64).output("y", {"N", 3}, DType::f64);
  m.initializer("w", wave({36, 3}, 1));
  m.node("Flatten", {"x"}, {"f"});
  m.node("MatMul", {"f", "w"}, {"y"});
  const Request request{.inputs = {{"x", wave({1, 1, 6, 6}, 1)}}, .to = {output(1)}};
  EXPECT_FALSE(compare(model_of(m), {.sliding_window_shapes = {{1, 2, 2}}}, request, 1e-12, "dense"));
  // Windows as large as the image.
  EXPECT_FALSE(compare(residual_model(), {.sliding_window_shapes = {{3, 38, 34}}},
                       {.inputs = {{"x", wave({1, 3, 40, 36}, 1)}}, .to = {output(1)}}, 1e-12, "large"));
}

}  // namespace
}  // namespace onnxray::testing
