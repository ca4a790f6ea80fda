// Feature masks: built-in segmentations, given ids, and what is refused.
#include "algorithms/features.h"

#include <gtest/gtest.h>

#include <set>

#include "algorithms/segments.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::ModelBuilder;
using testing::thrown_by;
using testing::wave;
using Ids = std::vector<std::int64_t>;

// y = sum of a [N, 2, 4, 6] plus sum of b [N, 3].
const Model& two_inputs() {
  static const Model model = [] {
    ModelBuilder m;
    m.input("a", {"N", 2, 4, 6}, DType::f64).input("b", {"N", 3}, DType::f64).output("y", {"N"}, DType::f64);
    testing::attr(m.node("ReduceMean", {"a"}, {"p"}), "axes", Ids{1, 2, 3});
    testing::attr(*m.graph().mutable_node(0), "keepdims", 0);
    testing::attr(m.node("ReduceMean", {"b"}, {"q"}), "axes", Ids{1});
    testing::attr(*m.graph().mutable_node(1), "keepdims", 0);
    m.node("Add", {"p", "q"}, {"y"});
    return testing::model_of(m);
  }();
  return model;
}

Request request() { return {.inputs = {{"a", wave({2, 2, 4, 6}, 1)}, {"b", wave({2, 3}, 2)}}, .from = {"a", "b"}}; }

struct Made {
  Request asked = request();
  Session session{two_inputs(), asked, true, true};
  Features features;
  explicit Made(const FeatureMask& mask) : features(session, mask) {}
};

FeatureMask given(Tensor a, Tensor b) {
  FeatureMask m{.kind = FeatureMask::Kind::kTensors};
  m.tensors["a"] = std::move(a);
  m.tensors["b"] = std::move(b);
  return m;
}

TEST(Features, ElementsAreNumberedThroughAllValues) {
  const Made m{FeatureMask{}};
  EXPECT_EQ(m.features.count(0), 48 + 3);
  EXPECT_EQ(m.features.of_elements(0, 1)[47], 47);
  EXPECT_EQ(m.features.of_elements(1, 1), (Ids{48, 49, 50}));
  EXPECT_TRUE(m.features.shared());
}

TEST(Features, Axis) {
  const Made m{*parse_feature_mask("axis:0")};
  EXPECT_EQ(m.features.count(0), 2 + 3);
  Ids want(24, 0);
  want.insert(want.end(), 24, 1);
  EXPECT_EQ(m.features.of_elements(0, 0), want);
  EXPECT_EQ(m.features.of_elements(1, 0), (Ids{2, 3, 4}));
}

TEST(Features, GridCoversAPictureForAllChannels) {
  const Made m{*parse_feature_mask("grid:3")};
  const Ids plane = {0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8};
  Ids want = plane;
  want.insert(want.end(), plane.begin(), plane.end());
  EXPECT_EQ(m.features.of_elements(0, 0), want);
  EXPECT_EQ(m.features.of_elements(1, 0), (Ids{9, 10, 11}));
  EXPECT_EQ(m.features.count(0), 12);
  EXPECT_TRUE(m.session.notices().empty());
  const Made coarse{*parse_feature_mask("grid:5")};
  EXPECT_EQ(coarse.features.count(1), 4 * 5 + 3);
  EXPECT_EQ(coarse.session.notices().size(), 2u);
}

TEST(Features, GivenIdsBroadcastAndAreNumberedAnew) {
  const Made m{given(Tensor::from<std::int64_t>({2, 1, 1}, {7, -2}), Tensor::from<std::int64_t>({3}, {7, 9, 9}))};
  EXPECT_EQ(m.features.count(0), 3);
  Ids want(24, 1);
  want.insert(want.end(), 24, 0);
  EXPECT_EQ(m.features.of_elements(0, 0), want);
  EXPECT_EQ(m.features.of_elements(1, 0), (Ids{1, 2, 2}));
  ASSERT_EQ(m.session.notices().size(), 1u);
  EXPECT_NE(m.session.notices()[0].find("from -2 to 9 but only 3"), std::string::npos) << m.session.notices()[0];
}

TEST(Features, EachExampleItsOwn) {
  const Made m{
      given(Tensor::from<std::int64_t>({1, 1, 1}, {0}), Tensor::from<std::int64_t>({2, 3}, {0, 1, 2, 1, 1, 0}))};
  EXPECT_FALSE(m.features.shared());
  EXPECT_EQ(m.features.count(0), 3);
  EXPECT_EQ(m.features.count(1), 2);
  EXPECT_EQ(m.features.of_elements(1, 1), (Ids{1, 1, 0}));
  const Tensor b = m.features.spread(1, {{5, 6, 7}, {8, 9}}, 1);
  EXPECT_EQ(b.dims(), (Dims{2, 3}));
  EXPECT_EQ(b.to_doubles(), (std::vector<double>{5, 6, 7, 9, 9, 8}));
}

TEST(Features, RefusesWhatDoesNotFit) {
  const Tensor good = Tensor::zeros(DType::i64, {4, 6}), three = Tensor::zeros(DType::i64, {3});
  FeatureMask one{.kind = FeatureMask::Kind::kTensors};
  one.tensors["a"] = good;
  FeatureMask stranger = given(good, three);
  stranger.tensors["c"] = three;
  const std::vector<std::pair<FeatureMask, std::vector<const char*>>> cases = {
      {given(Tensor::zeros(DType::i64, {4, 5}), three), {"feature mask for 'a'", "[4, 5]", "[2, 4, 6]"}},
      {given(Tensor::zeros(DType::i64, {3, 2, 4, 6}), three), {"feature mask for 'a'", "[3, 2, 4, 6]", "1 or 2"}},
      {given(Tensor::zeros(DType::i64, {1, 1, 1, 4, 6}), three), {"feature mask for 'a'"}},
      {given(Tensor::full(DType::f64, {4, 6}, 0.5), three), {"feature mask for 'a' holds 0.5", "integer"}},
      {one, {"no feature mask for 'b'"}},
      {stranger, {"feature mask for 'c'", "not attributed"}},
      {*parse_feature_mask("axis:1"), {"axis:1", "'b'", "[3]"}},
      {*parse_feature_mask("slic:4"), {"slic:4", "'b'", "pictures"}},
  };
  for (const auto& [mask, says] : cases) {
    const auto e = thrown_by([&, m = mask] { (void)Made{m}; });
    EXPECT_EQ(e.kind, ErrorKind::kBadInput) << e.text;
    for (const char* part : says) EXPECT_NE(e.text.find(part), std::string::npos) << e.text;
  }
  for (const char* text : {"grid:0", "grid:", "grid", "slic:-1", "axis:x"}) {
    EXPECT_NE(thrown_by([&] { (void)parse_feature_mask(text); }).text.find("expected a number"), std::string::npos)
        << text;
  }
  EXPECT_FALSE(parse_feature_mask("mask.npy").has_value());
}

TEST(Segments, PictureAxes) {
  const auto axes = [](const Dims& d) {
    const PictureAxes a = picture_axes(d);
    return std::tuple(a.any, a.y, a.x);
  };
  EXPECT_EQ(axes({}), std::tuple(false, 0u, 0u));
  EXPECT_EQ(axes({5}), std::tuple(true, 0u, 0u));
  EXPECT_EQ(axes({5, 6}), std::tuple(true, 0u, 1u));
  EXPECT_EQ(axes({3, 32, 32}), std::tuple(true, 1u, 2u));
  EXPECT_EQ(axes({32, 32, 3}), std::tuple(true, 0u, 1u));
  EXPECT_EQ(axes({2, 3, 8, 8}), std::tuple(true, 2u, 3u));
}

// Two colours with a slanted border: superpixels are connected and keep to one side.
TEST(Segments, SuperpixelsAreConnectedAndFollowEdges) {
  constexpr std::int64_t kH = 40, kW = 60;
  std::vector<double> pixels;
  for (std::int64_t y = 0; y < kH; ++y) {
    for (std::int64_t x = 0; x < kW; ++x) {
      const double side = 2 * x > kW + y ? 1 : 0;
      for (int c = 0; c < 3; ++c) pixels.push_back(side);
    }
  }
  const Ids labels = slic(pixels, kH, kW, 3, 24);
  const auto side_of = [&](std::int64_t at) { return pixels[static_cast<std::size_t>(3 * at)]; };
  const std::int64_t count = 1 + *std::max_element(labels.begin(), labels.end());
  EXPECT_GE(count, 18);
  EXPECT_LE(count, 32);
  std::set<std::int64_t> reached;
  for (std::int64_t first = 0; first < kH * kW; ++first) {
    const std::int64_t label = labels[static_cast<std::size_t>(first)];
    ASSERT_GE(label, 0);
    if (reached.contains(label)) continue;
    // Labels are numbered by their first pixel; everything with this label is connected to it, on its side.
    EXPECT_EQ(label, static_cast<std::int64_t>(reached.size()));
    reached.insert(label);
    std::set<std::int64_t> seen = {first};
    Ids queue = {first};
    while (!queue.empty()) {
      const std::int64_t at = queue.back();
      queue.pop_back();
      EXPECT_EQ(side_of(at), side_of(first));
      for (const std::int64_t next : {at - kW, at + kW, at % kW > 0 ? at - 1 : -1, at % kW + 1 < kW ? at + 1 : -1}) {
        if (next < 0 || next >= kH * kW || labels[static_cast<std::size_t>(next)] != label) continue;
        if (seen.insert(next).second) queue.push_back(next);
      }
    }
    EXPECT_EQ(static_cast<std::int64_t>(seen.size()), std::count(labels.begin(), labels.end(), label));
  }
  EXPECT_EQ(static_cast<std::int64_t>(reached.size()), count);
  EXPECT_EQ(slic(pixels, kH, kW, 3, 24), labels);
}

TEST(Segments, SuperpixelsOfExamplesDiffer) {
  Request r{.inputs = {{"a", wave({2, 2, 4, 6}, 1)}, {"b", wave({2, 3}, 2)}}, .from = {"a"}};
  Session session(two_inputs(), r, true, true);
  const Features f(session, *parse_feature_mask("slic:6"));
  EXPECT_FALSE(f.shared());
  EXPECT_NE(f.of_elements(0, 0), f.of_elements(0, 1));
  const FeatureAblation ablation{.feature_mask = *parse_feature_mask("slic:6")};
  const Attribution both = attribute(two_inputs(), ablation, r);
  for (std::int64_t e = 0; e < 2; ++e) {
    Request one = r;
    for (auto& [name, t] : one.inputs) t = t.rows(e, e + 1);
    EXPECT_TRUE(attribute(two_inputs(), ablation, one)
                    .attributions.at("a")
                    .same_bits(both.attributions.at("a").rows(e, e + 1)));
  }
  EXPECT_NE(thrown_by([&] { (void)slic({}, 0, 3, 1, 1); }).text.find("empty"), std::string::npos);
  EXPECT_NE(thrown_by([&] { (void)slic(std::vector<double>(6), 2, 3, 1, 7); }).text.find("slic:7"), std::string::npos);
}

}  // namespace
}  // namespace onnxray
