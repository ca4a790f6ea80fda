#include "app/io/image.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "app/io/files.h"
#include "app/io/heatmap.h"
#include "app/io/preprocess.h"
#include "engine/base/error.h"
#include "engine/base/philox.h"
#include "tests/app/io/io_test.h"

namespace onnxray::app {
namespace {

using testing::golden;
using testing::TemporaryFolder;

Image load(const std::string& name) { return read_image(golden(name)); }

// The largest difference of two pictures in grey levels.
int worst(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return 1000;
  int w = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) w = std::max(w, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return w;
}

TEST(ReadPng, EveryColourType) {
  const Image rgb = load("rgb.png");
  ASSERT_EQ(rgb.width, 9);
  ASSERT_EQ(rgb.height, 7);
  EXPECT_EQ(worst(load("interlaced.png"), rgb), 0);
  EXPECT_EQ(worst(load("palette.png"), load("palette_rgb.png")), 0);
  const Image grey = load("grey.png");
  Image luminance = rgb;
  for (std::size_t i = 0; i < rgb.pixels.size(); i += 3) {
    const std::uint8_t l = luma(rgb.pixels.data() + i);
    luminance.pixels[i] = luminance.pixels[i + 1] = luminance.pixels[i + 2] = l;
  }
  EXPECT_EQ(worst(grey, luminance), 0);
  EXPECT_EQ(worst(load("grey16.png"), grey), 0);
  // Alpha runs from 0 to 255 over the pixels; on white.
  for (const char* name : {"rgba.png", "grey_alpha.png"}) {
    Image expected = std::string(name) == "rgba.png" ? rgb : grey;
    for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
      const double alpha = std::floor(255.0 * static_cast<double>(i / 3) / 62) / 255;
      expected.pixels[i] = static_cast<std::uint8_t>(std::lround(expected.pixels[i] * alpha + 255 * (1 - alpha)));
    }
    EXPECT_LE(worst(load(name), expected), 1) << name;
  }
  for (const std::uint8_t v : load("bilevel.png").pixels) EXPECT_TRUE(v == 0 || v == 255);
}

TEST(ReadJpeg, ColourGreyCmykProgressive) {
  for (const char* name : {"picture", "grey", "progressive", "cmyk"}) {
    EXPECT_LE(worst(load(std::string(name) + ".jpg"), load(std::string(name) + "_jpg.png")), 2) << name;
  }
}

TEST(ReadImage, RefusesWhatIsTruncatedOrElse) {
  for (const char* name :
       {"rgb.png", "interlaced.png", "palette.png", "rgba.png", "picture.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string bytes = read_file(golden(name));
    (void)decode_image(bytes, name);
    for (std::size_t n = 0; n<bytes.size() - 2; n += bytes.size()> 1000 ? 7 : 1) {
      EXPECT_THROW((void)decode_image(bytes.substr(0, n), name), Error) << name << " cut to " << n;
    }
  }
  EXPECT_THROW((void)decode_image("GIF89a", "a.gif"), Error);
  EXPECT_THROW((void)decode_image("", "nothing"), Error);
  EXPECT_THROW((void)read_image("/nowhere/at/all.png"), Error);
}

TEST(ReadImage, SurvivesDamage) {
  const Philox random{99};
  int refused = 0, total = 0;
  for (const char* name : {"rgb.png", "interlaced.png", "palette.png", "picture.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string bytes = read_file(golden(name));
    for (std::uint64_t trial = 0; trial < 300; ++trial) {
      std::string damaged = bytes;
      const Philox::Block r = random(trial, 0);
      for (std::uint32_t k = 0; k <= r[0] % 4; ++k) {
        const Philox::Block at = random(trial, k + 1);
        damaged[at[0] % damaged.size()] = static_cast<char>(at[1]);
      }
      ++total;
      try {
        const Image image = decode_image(damaged, name);
        ASSERT_EQ(image.pixels.size(),
                  static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, total / 4);
}

TEST(ReadImage, RefusesHugeClaims) {
  // The size in IHDR, with its checksum left wrong and right.
  std::string png = read_file(golden("rgb.png"));
  png.replace(16, 8, std::string("\x00\x00\x7f\xff\x00\x00\x7f\xff", 8));
  EXPECT_THROW((void)decode_image(png, "huge.png"), Error);
  std::string jpeg = read_file(golden("picture.jpg"));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  EXPECT_THROW((void)decode_image(jpeg, "huge.jpg"), Error);
}

TEST(WritePng, RoundTripsAndReplacesWholeFiles) {
  const TemporaryFolder folder;
  const Image picture = load("picture.png");
  write_png(folder.path / "a.png", Image(3, 2));
  write_png(folder.path / "a.png", picture);
  EXPECT_EQ(worst(read_image(folder.path / "a.png"), picture), 0);
  EXPECT_EQ(testing::files_in(folder.path), 1);
}

TEST(Resize, IsPillowsBilinear) {
  const Image picture = load("picture.png");
  EXPECT_LE(worst(resize(picture, 23, 17), load("picture_smaller.png")), 1);
  EXPECT_LE(worst(resize(picture, 100, 83), load("picture_larger.png")), 1);
  EXPECT_LE(worst(resize(picture, 30, 80), load("picture_mixed.png")), 1);
  EXPECT_EQ(worst(resize(picture, picture.width, picture.height), picture), 0);
  const Image one = resize(Image(1, 1, {10, 20, 30}), 5, 4);
  EXPECT_EQ(worst(one, Image(5, 4, {10, 20, 30})), 0);
}

TEST(Crop, ChecksItsBounds) {
  const Image picture = load("picture.png");
  const Image part = crop(picture, 3, 4, 5, 6);
  EXPECT_EQ(std::memcmp(part.at(0, 0), picture.at(3, 4), 15), 0);
  EXPECT_THROW((void)crop(picture, 60, 0, 2, 2), Error);
  EXPECT_THROW((void)crop(picture, -1, 0, 2, 2), Error);
  EXPECT_THROW((void)Image(0, 3), Error);
  EXPECT_THROW((void)Image(1 << 30, 1 << 30), Error);
}

// --- Preprocessing ---

TEST(Preprocess, ImagenetIsTorchvisions) {
  Image wide(300, 260);
  for (std::size_t i = 0; i < wide.pixels.size(); ++i) wide.pixels[i] = static_cast<std::uint8_t>(i % 251);
  const Prepared p = image_to_tensor(wide, preprocess_of("imagenet"), {1, 3, 224, 224});
  EXPECT_EQ(p.tensor.dims(), (Dims{1, 3, 224, 224}));
  EXPECT_EQ(p.image.width, 224);
  // 256 on the shorter side, 300 * 256 / 260 = 295 on the longer, centre.
  const Image expected = crop(resize(wide, 295, 256), 36, 16, 224, 224);
  EXPECT_EQ(worst(p.image, expected), 0);
  const auto v = p.tensor.data<float>();
  const std::uint8_t* pixel = expected.at(5, 9);
  const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(v[c * 224 * 224 + 9 * 224 + 5], (pixel[c] / 255.0 - mean[c]) / std[c], 1e-6);
  }
  EXPECT_EQ(image_to_tensor(wide, preprocess_of("imagenet"), {1, 3, 299, 299}).image.width, 299);
  EXPECT_EQ(image_to_tensor(wide, preprocess_of("imagenet"), {-1, 3, -1, -1}).image.width, 224);
}

TEST(Preprocess, LayoutsAndChannels) {
  const Image dot(1, 1, {10, 20, 40});
  const auto values = [&](const char* preset, const Dims& input) {
    return image_to_tensor(dot, preprocess_of(preset), input).tensor.to_doubles();
  };
  EXPECT_EQ(values("raw", {1, 3, 1, 1}), (std::vector<double>{10, 20, 40}));
  EXPECT_EQ(values("raw", {3, 1, 1}), (std::vector<double>{10, 20, 40}));
  EXPECT_EQ(values("raw", {1, 1, 1, 1}), (std::vector<double>{19}));  // luma
  const Prepared last = image_to_tensor(Image(2, 2, {10, 20, 40}), preprocess_of("raw"), {1, 2, 2, 3});
  EXPECT_TRUE(last.channels_last);
  EXPECT_EQ(last.tensor.dims(), (Dims{1, 2, 2, 3}));
  EXPECT_EQ(last.tensor.to_doubles(), (std::vector<double>{10, 20, 40, 10, 20, 40, 10, 20, 40, 10, 20, 40}));
  const std::vector<double> unit = values("unit", {1, 3, 1, 1});
  EXPECT_NEAR(unit[2], 40 / 255.0, 1e-7);
  const std::vector<double> caffe = values("caffe", {1, 3, 1, 1});
  EXPECT_NEAR(caffe[0], 40 - 103.939, 1e-4);
  EXPECT_NEAR(caffe[2], 10 - 123.68, 1e-4);
}

TEST(Preprocess, AmbiguousOrWrongInputs) {
  const Image dot(4, 4, {10, 20, 40});
  const auto fails = [&](const char* json, const Dims& input) {
    EXPECT_THROW((void)image_to_tensor(dot, parse_preprocess(json, "test"), input), Error) << json;
  };
  fails("\"raw\"", {1, 5, 4, 4});
  fails("\"raw\"", {1, 10});
  fails("\"imagenet\"", {1, 1, 224, 224});
  fails(R"({"crop": [5, 5]})", {1, 3, 5, 5});
  fails(R"({"resize": 8, "crop": [6, 6]})", {1, 3, 5, 5});
  fails(R"({"mean": [1, 2, 3]})", {1, 1, 4, 4});
  const auto malformed = [&](const char* json) { EXPECT_THROW((void)parse_preprocess(json, "test"), Error) << json; };
  for (const char* json :
       {"{", "[]", "3", "\"other\"", R"({"resize": 0})", R"({"resize": [1, 2, 3]})", R"({"resize": 1e9})",
        R"({"crop": 5})", R"({"crop": [5, -5]})", R"({"std": 0})", R"({"std": [1, 0, 1]})", R"({"mean": [1, 2]})",
        R"({"mean": "0.5"})", R"({"scale": null})", R"({"channels": "rgb"})", R"({"layout": "NC"})", R"({"size": 3})",
        R"({"crop_fraction": 2})", R"({"crop_fraction": 0.5, "resize": 3})"}) {
    malformed(json);
  }
  EXPECT_THROW((void)preprocess_of("no-such-preset"), Error);
}

TEST(Preprocess, ReadsTheSidecar) {
  const TemporaryFolder folder;
  const auto model = folder.path / "model.onnx";
  EXPECT_FALSE(read_sidecar(model).preprocess.has_value());
  write_file(folder.path / "names.txt", "tench\r\ngoldfish, Carassius auratus\n\n");
  const auto sidecar = [&](const std::string& json) {
    write_file(folder.path / "model.json", json);
    return read_sidecar(model);
  };
  const Sidecar s = sidecar(R"({"preprocess": {"channels": "BGR", "layout": "NHWC"}, "labels": "names.txt"})");
  EXPECT_EQ(s.labels, (std::vector<std::string>{"tench", "goldfish, Carassius auratus"}));
  EXPECT_EQ(image_to_tensor(Image(1, 1, {10, 20, 40}), *s.preprocess, {1, 1, 1, 3}).tensor.to_doubles(),
            (std::vector<double>{40, 20, 10}));
  EXPECT_EQ(sidecar(R"({"preprocess": "unit", "labels": ["a", "b"]})").labels.size(), 2U);
  EXPECT_EQ(sidecar(R"({"labels": []})").preprocess.has_value(), false);
  EXPECT_THROW((void)sidecar(R"({"labels": "../names.txt"})"), Error);
  EXPECT_THROW((void)sidecar(R"({"labels": "/etc/passwd"})"), Error);
  EXPECT_THROW((void)sidecar(R"({"labels": [1]})"), Error);
  EXPECT_THROW((void)sidecar("{"), Error);
  EXPECT_THROW((void)sidecar("[]"), Error);
}

// --- Heat maps ---

TEST(HeatMap, SumsChannelsAndClipsOutliers) {
  // Captum's rule on 100 ones and one 1000: the cumulative sum reaches 98 % only at the outlier itself.
  Tensor a = Tensor::zeros(DType::f32, {2, 1, 4});
  const std::vector<float> v{1, -2, 3, 0, 1, -1, 2, -4};
  std::memcpy(a.raw_mutable(), v.data(), a.bytes());  // sums 2, -3, 5, -4: total 14, bound 5
  HeatMap map = heat_map(a, false);
  EXPECT_EQ(map.v, (std::vector<float>{0.4F, -0.6F, 1, -0.8F}));
  map = heat_map(a, false, {.outlier_percent = 60});  // sorted 2 3 4 5, cumulative 2 5 9 14, 40 % is 5.6: bound 4
  EXPECT_EQ(map.v, (std::vector<float>{0.5F, -0.75F, 1, -1}));
  EXPECT_EQ(heat_map(a, false, {.sign = Sign::kPositive}).v, (std::vector<float>{0.4F, 0, 1, 0}));
  EXPECT_EQ(heat_map(a, false, {.sign = Sign::kNegative}).v, (std::vector<float>{0, -0.75F, 0, -1}));
  EXPECT_EQ(heat_map(a, false, {.sign = Sign::kAbsolute}).v, (std::vector<float>{0.4F, 0.6F, 1, 0.8F}));
  const HeatMap last = heat_map(Tensor::from<double>({1, 2, 1, 2}, {1, 1, -1, 0}), true);
  EXPECT_EQ(last.v, (std::vector<float>{1, -0.5F}));
  EXPECT_EQ(last.height, 2);
}

TEST(HeatMap, RefusesNanAcceptsZero) {
  EXPECT_THROW((void)heat_map(Tensor::from<double>({1, 1, 2}, {1, std::nan("")}), false), Error);
  EXPECT_THROW((void)heat_map(Tensor::from<double>({3}, {1, 2, 3}), false), Error);
  EXPECT_THROW((void)heat_map(Tensor::zeros(DType::f32, {3, 0, 2}), false), Error);
  EXPECT_THROW((void)heat_map(Tensor::zeros(DType::f32, {3, 2, 2}), false, {.outlier_percent = 100}), Error);
  const HeatMap map = heat_map(Tensor::zeros(DType::f32, {3, 2, 2}), false);
  EXPECT_EQ(map.v, std::vector<float>(4, 0));
  EXPECT_EQ(worst(render(map, Sign::kAll), Image(2, 2)), 0);
}

TEST(HeatMap, PanelsHaveOneSize) {
  const Image picture = load("picture.png");
  const Image panel = heat_map_panel(picture, Tensor::full(DType::f32, {3, 47, 61}, 1), false);
  EXPECT_EQ(panel.height, 47 * 5 + 16);
  EXPECT_EQ(panel.width, 61 * 5 * 3 + 32);
  const Image coarse = heat_map_panel(Image(224, 224), Tensor::full(DType::f32, {1, 7, 7}, -1), false);
  EXPECT_EQ(coarse.width, 224 * 3 + 32);
  // Red for positive, blue for negative.
  EXPECT_GT(panel.at(8 + 305 + 8 + 10, 20)[0], panel.at(8 + 305 + 8 + 10, 20)[2]);
  EXPECT_LT(coarse.at(8 + 224 + 8 + 10, 20)[0], coarse.at(8 + 224 + 8 + 10, 20)[2]);
}

}  // namespace
}  // namespace onnxray::app
