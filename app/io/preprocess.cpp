#include "app/io/preprocess.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/io/files.h"
#include "engine/base/error.h"

namespace onnxray::app {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kMaxSide = 16384;
constexpr std::size_t kMaxConfigBytes = 1 << 26;

std::optional<Preprocess> preset(std::string_view name) {
  Preprocess p;
  if (name == "imagenet") {
    p.crop_fraction = 0.875;
    p.channels = Preprocess::Channels::kRgb;
    p.scale = 1.0 / 255;
    p.mean = {0.485, 0.456, 0.406};
    p.std = {0.229, 0.224, 0.225};
  } else if (name == "caffe") {
    p.crop_fraction = 0.875;
    p.channels = Preprocess::Channels::kBgr;
    p.mean = {103.939, 116.779, 123.68};
  } else if (name == "unit") {
    p.scale = 1.0 / 255;
  } else if (name != "raw") {
    return std::nullopt;
  }
  return p;
}

Json parse_json(std::string_view text, const std::string& name) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    fail(name, ": malformed JSON: ", e.what());
  }
}

double number(const Json& j, const std::string& what) {
  ONNXRAY_CHECK(j.is_number(), what, " must be a number, got ", j.dump());
  const double v = j.get<double>();
  ONNXRAY_CHECK(std::isfinite(v), what, " must be finite");
  return v;
}

std::vector<double> numbers(const Json& j, const std::string& what) {
  if (j.is_number()) return {number(j, what)};
  ONNXRAY_CHECK(j.is_array() && (j.size() == 1 || j.size() == 3), what, " must be a number or a list of 1 or 3");
  std::vector<double> v;
  for (const Json& e : j) v.push_back(number(e, what));
  return v;
}

// [height, width], or, where `single` allows it, one number.
std::vector<std::int64_t> sides(const Json& j, const std::string& what, bool single) {
  std::vector<std::int64_t> v;
  const auto add = [&](const Json& e) {
    ONNXRAY_CHECK(e.is_number_integer() && e.get<std::int64_t>() > 0 && e.get<std::int64_t>() <= kMaxSide, what,
                  " must be whole numbers from 1 to ", kMaxSide, ", got ", e.dump());
    v.push_back(e.get<std::int64_t>());
  };
  if (single && j.is_number()) {
    add(j);
    return v;
  }
  ONNXRAY_CHECK(j.is_array() && j.size() == 2, what, " must be [height, width]", single ? " or the shorter side" : "",
                ", got ", j.dump());
  for (const Json& e : j) add(e);
  return v;
}

template <class T>
T choice(const Json& j, const std::string& what, std::initializer_list<std::pair<const char*, T>> names) {
  std::string known;
  for (const auto& [name, value] : names) {
    if (j.is_string() && j.get<std::string>() == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail(what, " must be one of ", known, ", got ", j.dump());
}

Preprocess from_json(const Json& j, const std::string& name) {
  if (j.is_string()) {
    const auto p = preset(j.get<std::string>());
    ONNXRAY_CHECK(p.has_value(), name, ": no preprocessing named ", j.dump(), "; there are imagenet, caffe, unit, raw");
    return *p;
  }
  ONNXRAY_CHECK(j.is_object(), name, ": preprocessing must be a JSON object or a preset's name");
  Preprocess p;
  for (const auto& [key, value] : j.items()) {
    const std::string what = name + ": " + key;
    if (key == "resize") {
      p.resize = sides(value, what, true);
    } else if (key == "crop") {
      p.crop = sides(value, what, false);
    } else if (key == "crop_fraction") {
      p.crop_fraction = number(value, what);
      ONNXRAY_CHECK(*p.crop_fraction > 0.01 && *p.crop_fraction <= 1, what, " must lie in (0.01, 1]");
    } else if (key == "channels") {
      using C = Preprocess::Channels;
      p.channels = choice<C>(value, what, {{"RGB", C::kRgb}, {"BGR", C::kBgr}, {"GRAY", C::kGray}});
    } else if (key == "scale") {
      p.scale = number(value, what);
    } else if (key == "mean") {
      p.mean = numbers(value, what);
    } else if (key == "std") {
      p.std = numbers(value, what);
      for (const double s : p.std) ONNXRAY_CHECK(s != 0, what, " holds a zero");
    } else if (key == "layout") {
      using L = Preprocess::Layout;
      p.layout = choice<L>(value, what, {{"NCHW", L::kNchw}, {"NHWC", L::kNhwc}});
    } else {
      fail(what, " is unknown; there are resize, crop, crop_fraction, channels, scale, mean, std, layout");
    }
  }
  ONNXRAY_CHECK(!p.crop_fraction || (p.resize.empty() && p.crop.empty()), name,
                ": crop_fraction stands for resize and crop together");
  return p;
}

// Python's round of n / 2: halves go to the even number.
int half(int n) { return static_cast<int>(std::nearbyint(n / 2.0)); }

Image crop_centre(const Image& image, int height, int width) {
  ONNXRAY_CHECK(image.width >= width && image.height >= height, "the picture has ", image.height, " x ", image.width,
                " pixels (height x width), too few for a centre crop of ", height, " x ", width,
                "; add a resize to the preprocessing");
  return crop(image, half(image.width - width), half(image.height - height), width, height);
}

// The shorter side becomes `shorter`, the other keeps the aspect ratio (rounded down).
Image resize_shorter(const Image& image, std::int64_t shorter) {
  const bool wide = image.width > image.height;
  const std::int64_t s = std::min(image.width, image.height), l = std::max(image.width, image.height);
  const std::int64_t longer = shorter * l / s;
  ONNXRAY_CHECK(longer <= 4 * kMaxSide, "a picture of ", image.width, " x ", image.height, " pixels is too narrow");
  return resize(image, static_cast<int>(wide ? longer : shorter), static_cast<int>(wide ? shorter : longer));
}

// The model's input without the batch: its axes, and whether channels come last.
struct InputShape {
  std::int64_t channels, height, width;
  bool channels_last;
};

InputShape shape_of(const Dims& input, Preprocess::Layout layout) {
  ONNXRAY_CHECK(input.size() == 3 || input.size() == 4, "a picture is given for an input of shape ", to_string(input),
                ", expected [N, C, H, W] or [N, H, W, C]");
  const Dims d(input.end() - 3, input.end());
  const auto pictures = [](std::int64_t c) { return c == 1 || c == 3; };
  bool last = layout == Preprocess::Layout::kNhwc;
  if (layout == Preprocess::Layout::kFromInput) last = !pictures(d[0]) && pictures(d[2]);
  return last ? InputShape{d[2], d[0], d[1], true} : InputShape{d[0], d[1], d[2], false};
}

Image fit(const Image& image, const Preprocess& p, const InputShape& in) {
  const bool known = in.height > 0 && in.width > 0;
  if (p.crop_fraction) {
    const std::int64_t h = known ? in.height : 224, w = known ? in.width : 224;
    const auto shorter = static_cast<std::int64_t>(std::floor(static_cast<double>(std::max(h, w)) / *p.crop_fraction));
    return crop_centre(resize_shorter(image, shorter), static_cast<int>(h), static_cast<int>(w));
  }
  Image out = image;
  if (p.resize.size() == 1) out = resize_shorter(out, p.resize[0]);
  if (p.resize.size() == 2) out = resize(out, static_cast<int>(p.resize[1]), static_cast<int>(p.resize[0]));
  if (!p.crop.empty()) out = crop_centre(out, static_cast<int>(p.crop[0]), static_cast<int>(p.crop[1]));
  if (p.resize.empty() && p.crop.empty() && known) {
    ONNXRAY_CHECK(in.height <= kMaxSide && in.width <= kMaxSide, "the model's input has ", in.height, " x ", in.width,
                  " pixels");
    out = resize(out, static_cast<int>(in.width), static_cast<int>(in.height));
  }
  return out;
}

}  // namespace

Preprocess parse_preprocess(std::string_view json, const std::string& name) {
  return from_json(parse_json(json, name), name);
}

Preprocess preprocess_of(const std::string& name_or_file) {
  if (const auto p = preset(name_or_file)) return *p;
  std::error_code ignored;
  if (!fs::exists(name_or_file, ignored)) {
    fail("'", name_or_file, "' is neither a file nor a preprocessing; there are imagenet, caffe, unit, raw");
  }
  return parse_preprocess(read_file(name_or_file, kMaxConfigBytes), name_or_file);
}

std::vector<std::string> read_labels(const fs::path& path) {
  const std::string text = read_file(path, kMaxConfigBytes);
  std::vector<std::string> labels;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '[') {
    const Json j = parse_json(text, path.string());
    for (const Json& e : j) {
      ONNXRAY_CHECK(e.is_string(), path.string(), ": labels must be texts, got ", e.dump());
      labels.push_back(e.get<std::string>());
    }
    return labels;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    labels.push_back(line);
  }
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  return labels;
}

namespace {

std::vector<std::string> texts_of(const Json& list, const std::string& what) {
  ONNXRAY_CHECK(list.is_array(), what, " must be a list of texts");
  std::vector<std::string> out;
  for (const Json& e : list) {
    ONNXRAY_CHECK(e.is_string(), what, " must be texts, got ", e.dump());
    out.push_back(e.get<std::string>());
  }
  return out;
}

}  // namespace

Sidecar read_sidecar(const fs::path& model) {
  fs::path path = model;
  path.replace_extension(".json");
  Sidecar s;
  std::error_code ignored;
  if (path == model || !fs::is_regular_file(path, ignored)) return s;
  const Json j = parse_json(read_file(path, kMaxConfigBytes), path.string());
  ONNXRAY_CHECK(j.is_object(), path.string(), ": expected a JSON object");
  if (j.contains("preprocess")) s.preprocess = from_json(j["preprocess"], path.string());
  if (j.contains("features")) {
    const Json& features = j["features"];
    ONNXRAY_CHECK(features.is_array() || features.is_object(), path.string(),
                  ": features must be a list of texts, or such a list for each input");
    if (features.is_array()) s.features[""] = texts_of(features, path.string() + ": features");
    else
      for (const auto& [name, list] : features.items())
        s.features[name] = texts_of(list, path.string() + ": features of '" + name + "'");
  }
  if (!j.contains("labels")) return s;
  const Json& labels = j["labels"];
  if (labels.is_string()) {
    const fs::path file = labels.get<std::string>();
    // A model from somewhere else must not read files from anywhere.
    ONNXRAY_CHECK(file.has_filename() && !file.has_parent_path(), path.string(), ": labels must be in a file beside ",
                  "the model, got ", file.string());
    s.labels = read_labels(path.parent_path() / file);
    return s;
  }
  ONNXRAY_CHECK(labels.is_array(), path.string(), ": labels must be a list of texts or a file name");
  s.labels = texts_of(labels, path.string() + ": labels");
  return s;
}

Prepared image_to_tensor(const Image& image, const Preprocess& p, const Dims& input) {
  ONNXRAY_CHECK(image.width > 0 && image.height > 0, "an empty picture");
  const InputShape in = shape_of(input, p.layout);
  ONNXRAY_CHECK(in.channels <= 0 || in.channels == 1 || in.channels == 3, "a picture is given for an input of shape ",
                to_string(input), ", whose ", in.channels, " channels are neither 1 nor 3");
  using C = Preprocess::Channels;
  const C channels = p.channels != C::kFromInput ? p.channels : in.channels == 1 ? C::kGray : C::kRgb;
  const std::int64_t count = channels == C::kGray ? 1 : 3;
  ONNXRAY_CHECK(in.channels <= 0 || in.channels == count, "the preprocessing makes ", count,
                " channels, the input of shape ", to_string(input), " has ", in.channels);
  for (const auto* v : {&p.mean, &p.std}) {
    ONNXRAY_CHECK(v->size() <= 1 || static_cast<std::int64_t>(v->size()) == count, "the preprocessing gives ",
                  v->size(), " values of ", v == &p.mean ? "mean" : "std", " for ", count, " channels");
  }
  Prepared out;
  out.image = fit(image, p, in);
  out.channels_last = in.channels_last;
  const std::int64_t h = out.image.height, w = out.image.width;
  ONNXRAY_CHECK((in.height <= 0 || in.height == h) && (in.width <= 0 || in.width == w), "the preprocessing makes ", h,
                " x ", w, " pixels (height x width), the input of shape ", to_string(input), " wants ", in.height,
                " x ", in.width);
  Dims dims = in.channels_last ? Dims{h, w, count} : Dims{count, h, w};
  if (input.size() == 4) dims.insert(dims.begin(), 1);
  out.tensor = Tensor(DType::f32, dims);
  const auto values = out.tensor.mutable_data<float>();
  const auto pick = [](const std::vector<double>& v, std::int64_t c, double otherwise) {
    return v.empty() ? otherwise : v[v.size() == 1 ? 0 : static_cast<std::size_t>(c)];
  };
  for (std::int64_t c = 0; c < count; ++c) {
    const double mean = pick(p.mean, c, 0), std = pick(p.std, c, 1);
    for (std::int64_t i = 0; i < h * w; ++i) {
      const std::uint8_t* pixel = out.image.pixels.data() + i * 3;
      const double v = channels == C::kGray ? luma(pixel) : pixel[channels == C::kBgr ? 2 - c : c];
      const std::int64_t at = in.channels_last ? i * count + c : c * h * w + i;
      values[static_cast<std::size_t>(at)] = static_cast<float>((v * p.scale - mean) / std);
    }
  }
  if (channels == C::kGray) {
    for (std::int64_t i = 0; i < h * w; ++i) {
      std::uint8_t* pixel = out.image.pixels.data() + i * 3;
      pixel[0] = pixel[1] = pixel[2] = luma(pixel);
    }
  }
  return out;
}

}  // namespace onnxray::app
