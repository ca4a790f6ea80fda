// Pictures, charts and coloured text: what is drawn where, in which colours, and that nothing in a text gets out.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "app/report/charts.h"
#include "app/report/grid.h"
#include "app/report/pictures.h"
#include "app/report/svg.h"
#include "app/report/text.h"

namespace onnxray::app {
namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// Every `<` has its `>`, every `&` starts an entity, every element is closed.
void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t i = 0; i < xml.size(); ++i) {
    if (xml[i] == '&') {
      const std::size_t end = xml.find(';', i);
      ASSERT_TRUE(end != std::string::npos && end - i <= 6) << xml.substr(i, 20);
    }
    ASSERT_NE(xml[i], '>') << xml.substr(i > 20 ? i - 20 : 0, 40);
    if (xml[i] != '<') continue;
    const std::size_t end = xml.find('>', i);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = xml.substr(i + 1, end - i - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    i = end;
  }
  EXPECT_TRUE(open.empty());
}

TEST(Markup, NothingGetsOut) {
  EXPECT_EQ(escape_markup("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape_markup("\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"), "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80");
  const std::string unknown = "\xEF\xBF\xBD";
  EXPECT_EQ(escape_markup(std::string("a\0b\x1b", 4)), "a" + unknown + "b" + unknown);
  EXPECT_EQ(escape_markup("\xC0\xBC"), unknown + unknown);                // an overlong <
  EXPECT_EQ(escape_markup("\xED\xA0\x80"), unknown + unknown + unknown);  // a surrogate
  EXPECT_EQ(escape_markup("\xE2\x82"), unknown + unknown);                // cut off
  EXPECT_EQ(escape_markup("\xF5\x80\x80\x80").size(), 4 * unknown.size());
}

TEST(Markup, Base64AndShortening) {
  // RFC 4648, section 10.
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(shortened("abcd", 4), "abcd");
  EXPECT_EQ(shortened("abcde", 4), "abc\xE2\x80\xA6");
  EXPECT_EQ(shortened("\xC3\xA4\xC3\xA4\xC3\xA4", 2), "\xC3\xA4\xE2\x80\xA6");
}

// Captum's scaling: the sorted value at which the cumulative sum reaches 100 - outlier_percent of the total.
TEST(Modes, SignsAndScaling) {
  const std::vector<double> a = {-4, 1, 2, 3};
  const auto of = [&](Sign sign, double percent) { return normalised(a, {.sign = sign, .outlier_percent = percent}); };
  EXPECT_EQ(of(Sign::kAll, 0), (std::vector<double>{-1, 0.25, 0.5, 0.75}));
  EXPECT_EQ(of(Sign::kAbsolute, 0), (std::vector<double>{1, 0.25, 0.5, 0.75}));
  EXPECT_EQ(of(Sign::kPositive, 0), (std::vector<double>{0, 1.0 / 3, 2.0 / 3, 1}));
  EXPECT_EQ(of(Sign::kNegative, 0), (std::vector<double>{-1, 0, 0, 0}));
  // Sums 1, 3, 6, 10: 50 % of 10 is reached at 3.
  EXPECT_EQ(of(Sign::kAll, 50), (std::vector<double>{-1, 1.0 / 3, 2.0 / 3, 1}));
  EXPECT_EQ(normalised({0, 0}, {}), (std::vector<double>{0, 0}));
  EXPECT_THROW((void)normalised({1, NAN}, {}), Error);
  EXPECT_THROW((void)normalised({1}, {.outlier_percent = 100}), Error);
  EXPECT_THROW((void)sign_of("both"), Error);
  for (const char* name : {"all", "positive", "negative", "absolute_value"}) (void)sign_of(name);
  EXPECT_FALSE(picture_mode_of("mask"));
}

TEST(Modes, MaskedAndAlphaScaledPixels) {
  Image picture(2, 1);
  for (int x = 0; x < 2; ++x) {
    for (int k = 0; k < 3; ++k) picture.at(x, 0)[k] = static_cast<std::uint8_t>(100 + 40 * x + 10 * k);
  }
  const Tensor a = Tensor::from<double>({1, 1, 2}, {-2, 1});
  const HeatMapOptions heat{.sign = Sign::kAbsolute, .outlier_percent = 0, .min_side = 1};
  const Image masked = draw_picture(PictureMode::kMaskedImage, picture, a, false, heat);
  const Image scaled = draw_picture(PictureMode::kAlphaScaling, picture, a, false, heat);
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(masked.at(0, 0)[k], picture.at(0, 0)[k]);
    EXPECT_EQ(masked.at(1, 0)[k], std::lround(picture.at(1, 0)[k] * 0.5));
    EXPECT_EQ(scaled.at(0, 0)[k], picture.at(0, 0)[k]);
    EXPECT_EQ(scaled.at(1, 0)[k], std::lround(picture.at(1, 0)[k] * 0.5 + 255 * 0.5));
  }
  EXPECT_EQ(draw_picture(PictureMode::kOriginalImage, picture, a, false, heat).pixels, picture.pixels);
  const Image map = draw_picture(PictureMode::kHeatMap, picture, a, false, {.outlier_percent = 0, .min_side = 1});
  EXPECT_GT(map.at(0, 0)[2], map.at(0, 0)[0]);  // against: blue
  EXPECT_GT(map.at(1, 0)[0], map.at(1, 0)[2]);  // for: red
  EXPECT_THROW((void)draw_picture(PictureMode::kMaskedImage, picture, a, false, {}), Error);
}

TEST(Bars, LargestFirstAndTheRestInOne) {
  BarChart chart{.title = "a < b",
                 .subtitle = {},
                 .names = {"small", "large & red", "blue", "tiny"},
                 .attributions = {0.5, 3, -2, 0.25},
                 .inputs = {1, 2, 3, 4},
                 .most = 3};
  const std::string svg = bar_chart_svg(chart);
  expect_well_formed(svg);
  const std::size_t red = svg.find("large &amp; red = 2"), blue = svg.find("blue = 3"), rest = svg.find("2 others");
  EXPECT_LT(red, blue);
  EXPECT_LT(blue, rest);
  EXPECT_NE(rest, std::string::npos);
  EXPECT_NE(svg.find(">0.75<", rest), std::string::npos) << "the others' sum";
  EXPECT_EQ(svg.find("tiny"), std::string::npos);
  chart.names.pop_back();
  EXPECT_THROW((void)bar_chart_svg(chart), Error);
}

TEST(Series, APlotForEachChannelOrOneForAll) {
  SeriesChart chart{.title = "t", .subtitle = {}, .channels = {}, .data = {}, .attributions = {}};
  for (int c = 0; c < 20; ++c) {
    std::vector<double> x, a;
    for (int t = 0; t < 1000; ++t) {
      x.push_back(std::sin(0.1 * t + c));
      a.push_back(c == 7 && t == 500 ? -1 : 0.001 * c);
    }
    chart.data.push_back(x);
    chart.attributions.push_back(a);
  }
  const std::string each = series_chart_svg(chart);
  expect_well_formed(each);
  EXPECT_EQ(count(each, "<polyline"), 16u);
  EXPECT_NE(each.find("16 of 20 channels"), std::string::npos);
  EXPECT_EQ(each.find(">channel 0<"), std::string::npos) << "it has no attribution";
  EXPECT_NE(each.find(">channel 7<"), std::string::npos);
  chart.mode = SeriesMode::kOverlayCombined;
  chart.most = 20;
  const std::string all = series_chart_svg(chart);
  expect_well_formed(all);
  EXPECT_EQ(count(all, "<polyline"), 20u);
  chart.mode = SeriesMode::kColoredGraph;
  expect_well_formed(series_chart_svg(chart));
  chart.attributions[3].pop_back();
  EXPECT_THROW((void)series_chart_svg(chart), Error);
  EXPECT_FALSE(series_mode_of("combined"));
}

TEST(Text, IsEscapedAndColoured) {
  const std::vector<TextRecord> records = {{.title = "<b>",
                                            .subtitle = "a & b",
                                            .tokens = {"<script>", "good", "bad", "", "\n", "\x1b[2J"},
                                            .attributions = {0, 2, -2, 0, 0, 0}}};
  const std::string html = text_html(records);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(html.find("background:" + hex(heat_color(1)) + ";color:#fff\" title=\"2\">good<"), std::string::npos);
  EXPECT_NE(html.find("background:" + hex(heat_color(-1)) + ";color:#fff\" title=\"-2\">bad<"), std::string::npos);
  const std::string ansi = text_ansi(records);
  EXPECT_EQ(count(ansi, "\x1b["), 3u * 6) << "background, foreground, reset; nothing of the tokens' own";
  EXPECT_EQ(count(ansi, "\x1b[2J"), 0u);
  auto wrong = records;
  wrong[0].tokens.pop_back();
  EXPECT_THROW((void)text_html(wrong), Error);
}

TEST(Text, TokensFromFiles) {
  const auto folder = std::filesystem::temp_directory_path() / "onnxray_report_test";
  std::filesystem::create_directories(folder);
  const auto tokens = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return read_tokens(folder / name);
  };
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(tokens("a.txt", "one\r\n\ntwo\n"), (Rows{{"one", "", "two"}}));
  EXPECT_EQ(tokens("a.json", R"(["one", "two"])"), (Rows{{"one", "two"}}));
  EXPECT_EQ(tokens("b.json", R"([["one"], ["two", "three"]])"), (Rows{{"one"}, {"two", "three"}}));
  EXPECT_THROW((void)tokens("c.json", "[1, 2]"), Error);
  EXPECT_THROW((void)tokens("d.json", "{}"), Error);
  EXPECT_THROW((void)tokens("e.txt", ""), Error);
  std::filesystem::remove_all(folder);
}

TEST(Grid, HoldsItsPictures) {
  PictureGrid grid{.title = "m.onnx",
                   .subtitle = "s",
                   .columns = {"picture", "A & B"},
                   .rows = {"one", "two"},
                   .images = {{Image(4, 4), Image(4, 4)}, {Image(4, 2), Image(4, 2)}}};
  const std::string svg = grid_svg(grid);
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "data:image/png;base64,iVBOR"), 4u);
  EXPECT_NE(svg.find("A &amp; B"), std::string::npos);
  grid.images[1].pop_back();
  EXPECT_THROW((void)grid_svg(grid), Error);
}

// A model that sees pictures 8 x 16: maps lie over it by their proportions.
TEST(Pictures, AreChosenByTheKindOfTheValue) {
  LoadedInputs inputs;
  inputs.tensors["image"] = Tensor::zeros(DType::f32, {1, 3, 8, 16});
  inputs.image_input = "image";
  inputs.images.emplace_back(16, 8);
  EXPECT_TRUE(ImageMap::of(inputs, "image", {3, 8, 16}));
  const auto first = ImageMap::of(inputs, "layer", {5, 2, 4});
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->channels_last());
  const auto last = ImageMap::of(inputs, "layer", {2, 4, 5});
  ASSERT_TRUE(last);
  EXPECT_TRUE(last->channels_last());
  EXPECT_FALSE(ImageMap::of(inputs, "layer", {5, 7, 7}));
  EXPECT_FALSE(ImageMap::of(inputs, "layer", {5, 1, 1}));
  EXPECT_FALSE(ImageMap::of(inputs, "layer", {10}));
  // Constant maps stay what they are when enlarged.
  const Tensor large = first->at_picture_size(Tensor::full(DType::f64, {5, 2, 4}, 0.5));
  EXPECT_EQ(large.dims(), (Dims{1, 8, 16}));
  for (const double v : large.to_doubles()) EXPECT_NEAR(v, 2.5, 1e-6);

  const MethodInfo& saliency = method("saliency");
  Attribution a;
  a.attributions["layer"] = Tensor::full(DType::f64, {2, 5, 2, 4}, 1);
  a.values = {1, 2};
  const auto drawn = pictures_of(inputs, a, saliency, {"y:0", "y:1"}, {});
  ASSERT_EQ(drawn.size(), 2u);
  EXPECT_EQ(drawn[0].stem, "heatmap_0");
  EXPECT_EQ(drawn[1].kind, "heat_map");
  EXPECT_THROW((void)pictures_of(inputs, a, saliency, {"y:0", "y:1"}, picture_options("bars", "", 2)), Error);
  EXPECT_THROW((void)pictures_of(inputs, a, saliency, {"y:0", "y:1"}, {.mode = {}, .tokens = {{"a", "b"}}}), Error);

  // The constant in RISE's maps hides nothing.
  const auto map_of = [&](const char* name, double offset) {
    Attribution map;
    map.attributions["image"] = Tensor::full(DType::f64, {1, 3, 8, 16}, offset);
    map.attributions["image"].mutable_data<double>()[5] += 1;
    return pictures_of(inputs, map, method(name), {"y:0"}, {}).at(0).bytes;
  };
  EXPECT_EQ(map_of("rise", 8), map_of("rise", 0));
  EXPECT_NE(map_of("saliency", 8), map_of("saliency", 0));

  LoadedInputs table;
  table.tensors["x"] = Tensor::from<float>({2, 2}, {1, 2, 3, 4});
  Attribution b;
  b.attributions["x"] = Tensor::from<double>({2, 2}, {1, 2, 3, 4});
  EXPECT_TRUE(pictures_of(table, b, saliency, {""}, {}).empty()) << "no names, nobody asked";
  EXPECT_EQ(pictures_of(table, b, saliency, {""}, picture_options("bars", "", 2)).size(), 2u);
  table.features[""] = {"age", "income"};
  const auto bars = pictures_of(table, b, saliency, {""}, {});
  ASSERT_EQ(bars.size(), 2u);
  EXPECT_NE(bars[1].bytes.find("income = 4"), std::string::npos);
  table.features[""].push_back("third");
  EXPECT_THROW((void)pictures_of(table, b, saliency, {""}, {}), Error);

  for (const char* bad : {"pie", "masked"}) EXPECT_THROW((void)picture_options(bad, "", 2), Error);
  EXPECT_THROW((void)picture_options("masked_image", "all", 2), Error);
  EXPECT_THROW((void)picture_options("", "", 100), Error);
}

}  // namespace
}  // namespace onnxray::app
