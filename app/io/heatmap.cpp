#include "app/io/heatmap.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/io/resample.h"
#include "engine/base/error.h"

namespace onnxray::app {
namespace {

using Color = std::array<double, 3>;

// Colours at equal steps of |v| from 0 to 1, light to dark, about equally light on both sides of zero.
constexpr std::array<Color, 6> kPositive{
    {{255, 255, 255}, {254, 224, 210}, {252, 164, 134}, {244, 96, 70}, {212, 32, 36}, {140, 4, 20}}};
constexpr std::array<Color, 6> kNegative{
    {{255, 255, 255}, {214, 230, 246}, {148, 196, 226}, {74, 148, 204}, {24, 98, 172}, {8, 48, 108}}};
// Over a grey picture: full colours, the strength goes into the opacity.
constexpr Color kPositiveInk{226, 24, 28};
constexpr Color kNegativeInk{24, 100, 230};

Color shade(const std::array<Color, 6>& scale, double t) {
  const double at = std::clamp(t, 0.0, 1.0) * (scale.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(at), scale.size() - 2);
  const double f = at - static_cast<double>(i);
  Color c;
  for (std::size_t k = 0; k < 3; ++k) c[k] = scale[i][k] * (1 - f) + scale[i + 1][k] * f;
  return c;
}

void put(std::uint8_t* to, const Color& c) {
  for (std::size_t k = 0; k < 3; ++k) to[k] = static_cast<std::uint8_t>(std::lround(std::clamp(c[k], 0.0, 255.0)));
}

bool is_red(float v, Sign sign) { return sign == Sign::kNegative ? false : v >= 0; }

// Captum's rule: the sorted value at which the cumulative sum reaches this share of the total.
double outlier_bound(std::vector<double> magnitudes, double percent) {
  std::sort(magnitudes.begin(), magnitudes.end());
  double total = 0;
  for (const double m : magnitudes) total += m;
  const double threshold = total * (1 - percent / 100);
  double sum = 0;
  for (const double m : magnitudes) {
    sum += m;
    if (sum >= threshold) return m;
  }
  return magnitudes.empty() ? 0 : magnitudes.back();
}

// With a thin grey frame, since maps are mostly white.
void paste(Image& to, const Image& from, int left, int top) {
  constexpr Color kFrame{208, 208, 208};
  for (int x = left - 1; x <= left + from.width; ++x) {
    put(to.at(x, top - 1), kFrame);
    put(to.at(x, top + from.height), kFrame);
  }
  for (int y = 0; y < from.height; ++y) {
    put(to.at(left - 1, top + y), kFrame);
    put(to.at(left + from.width, top + y), kFrame);
    std::copy_n(from.at(0, y), static_cast<std::size_t>(from.width) * 3, to.at(left, top + y));
  }
}

}  // namespace

Sign sign_of(std::string_view name) {
  if (name == "all") return Sign::kAll;
  if (name == "positive") return Sign::kPositive;
  if (name == "negative") return Sign::kNegative;
  if (name == "absolute_value") return Sign::kAbsolute;
  fail("unknown sign '", name, "', expected one of: all, positive, negative, absolute_value");
}

std::optional<PictureMode> picture_mode_of(std::string_view name) {
  if (name == "panel") return PictureMode::kPanel;
  if (name == "heat_map") return PictureMode::kHeatMap;
  if (name == "blended_heat_map") return PictureMode::kBlendedHeatMap;
  if (name == "original_image") return PictureMode::kOriginalImage;
  if (name == "masked_image") return PictureMode::kMaskedImage;
  if (name == "alpha_scaling") return PictureMode::kAlphaScaling;
  return std::nullopt;
}

std::vector<double> normalised(std::vector<double> a, const HeatMapOptions& options) {
  ONNXRAY_CHECK(options.outlier_percent >= 0 && options.outlier_percent < 100, "outlier_percent must lie in [0, 100)");
  std::vector<double> magnitudes;
  for (double& v : a) {
    if (!std::isfinite(v)) throw Error(ErrorKind::kNonFinite, "the attribution holds NaN or infinity: no heat map");
    if (options.sign == Sign::kAbsolute) v = std::abs(v);
    if (options.sign == Sign::kPositive) v = std::max(v, 0.0);
    if (options.sign == Sign::kNegative) v = std::min(v, 0.0);
    magnitudes.push_back(std::abs(v));
  }
  const double bound = outlier_bound(std::move(magnitudes), options.outlier_percent);
  for (double& v : a) v = bound > 0 ? std::clamp(v / bound, -1.0, 1.0) : 0;
  return a;
}

Rgb heat_color(double v) {
  Rgb out;
  put(out.data(), shade(v >= 0 ? kPositive : kNegative, std::abs(v)));
  return out;
}

HeatMap heat_map(const Tensor& attribution, bool channels_last, const HeatMapOptions& options) {
  Dims d = attribution.dims();
  while (d.size() > 3 && d[0] == 1) d.erase(d.begin());
  if (d.size() == 2) d.insert(channels_last ? d.end() : d.begin(), 1);
  ONNXRAY_CHECK(d.size() == 3 && count_of(d) > 0 && d[0] <= 1 << 15 && d[1] <= 1 << 15 && d[2] <= 1 << 24,
                "no heat map of an attribution of shape ", to_string(attribution.dims()), ", expected [C, H, W]");
  const std::int64_t channels = d[channels_last ? 2 : 0];
  HeatMap map;
  map.height = static_cast<int>(d[channels_last ? 0 : 1]);
  map.width = static_cast<int>(d[channels_last ? 1 : 2]);
  const std::vector<double> a = attribution.to_doubles();
  const std::int64_t pixels = std::int64_t{map.height} * map.width;
  std::vector<double> sums(static_cast<std::size_t>(pixels), 0);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t i = 0; i < pixels; ++i) {
      sums[static_cast<std::size_t>(i)] +=
          a[static_cast<std::size_t>(channels_last ? i * channels + c : c * pixels + i)];
    }
  }
  for (const double v : normalised(std::move(sums), options)) map.v.push_back(static_cast<float>(v));
  return map;
}

HeatMap resize(const HeatMap& map, int height, int width) {
  ONNXRAY_CHECK(height > 0 && width > 0, "a heat map of ", height, " x ", width);
  if (height == map.height && width == map.width) return map;
  HeatMap out{height, width, {}};
  const Resampling columns(map.width, width), rows(map.height, height);
  const auto at = [](int y, int w, int x) {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(w) + static_cast<std::size_t>(x);
  };
  std::vector<float> half(static_cast<std::size_t>(map.height) * static_cast<std::size_t>(width), 0);
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto i = static_cast<std::size_t>(x);
      for (int k = 0; k < columns.count[i]; ++k) {
        half[at(y, width, x)] += columns.weight[at(x, columns.most, k)] * map.v[at(y, map.width, columns.begin[i] + k)];
      }
    }
  }
  out.v.assign(static_cast<std::size_t>(height) * static_cast<std::size_t>(width), 0);
  for (int y = 0; y < height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    for (int k = 0; k < rows.count[i]; ++k) {
      const float w = rows.weight[at(y, rows.most, k)];
      for (int x = 0; x < width; ++x) out.v[at(y, width, x)] += w * half[at(rows.begin[i] + k, width, x)];
    }
  }
  return out;
}

Image render(const HeatMap& map, Sign sign) {
  Image out(map.width, map.height);
  for (std::size_t i = 0; i < map.v.size(); ++i) {
    put(out.pixels.data() + i * 3, shade(is_red(map.v[i], sign) ? kPositive : kNegative, std::abs(map.v[i])));
  }
  return out;
}

Image overlay(const HeatMap& map, Sign sign, const Image& picture) {
  ONNXRAY_CHECK(picture.width == map.width && picture.height == map.height, "the heat map has ", map.width, " x ",
                map.height, " points, the picture ", picture.width, " x ", picture.height, " pixels");
  Image out(map.width, map.height);
  for (std::size_t i = 0; i < map.v.size(); ++i) {
    // Lighter grey with less contrast, so that the colours stand out.
    const double grey = 96 + 0.6 * luma(picture.pixels.data() + i * 3);
    const double alpha = 0.92 * std::pow(std::abs(map.v[i]), 0.6);
    const Color& ink = is_red(map.v[i], sign) ? kPositiveInk : kNegativeInk;
    Color c;
    for (std::size_t k = 0; k < 3; ++k) c[k] = grey * (1 - alpha) + ink[k] * alpha;
    put(out.pixels.data() + i * 3, c);
  }
  return out;
}

namespace {

// The picture and its map, both enlarged to one size.
std::pair<Image, HeatMap> brought_together(const Image& picture, const Tensor& attribution, bool channels_last,
                                           const HeatMapOptions& options) {
  HeatMap map = heat_map(attribution, channels_last, options);
  const int side = std::min(picture.width, picture.height);
  const int factor = std::max(1, (options.min_side + side - 1) / side);
  Image shown = factor > 1 ? enlarge(picture, factor) : picture;
  // A map as fine as the picture keeps its pixels; a coarser one is smoothed.
  if (map.width == picture.width && map.height == picture.height && factor > 1) {
    HeatMap larger{shown.height, shown.width, {}};
    for (int y = 0; y < shown.height; ++y) {
      for (int x = 0; x < shown.width; ++x) {
        larger.v.push_back(map.v[static_cast<std::size_t>(y / factor) * static_cast<std::size_t>(map.width) +
                                 static_cast<std::size_t>(x / factor)]);
      }
    }
    map = std::move(larger);
  } else {
    map = resize(map, shown.height, shown.width);
  }
  return {std::move(shown), std::move(map)};
}

// The picture weighted by the strength |map|, over a background.
Image weighted(const Image& picture, const HeatMap& map, double background) {
  Image out(map.width, map.height);
  for (std::size_t i = 0; i < map.v.size(); ++i) {
    const double alpha = std::min(1.0F, std::abs(map.v[i]));
    Color c;
    for (std::size_t k = 0; k < 3; ++k) c[k] = alpha * picture.pixels[i * 3 + k] + (1 - alpha) * background;
    put(out.pixels.data() + i * 3, c);
  }
  return out;
}

}  // namespace

Image draw_picture(PictureMode mode, const Image& picture, const Tensor& attribution, bool channels_last,
                   const HeatMapOptions& options) {
  const bool strength = mode == PictureMode::kMaskedImage || mode == PictureMode::kAlphaScaling;
  ONNXRAY_CHECK(!strength || options.sign != Sign::kAll,
                "masked_image and alpha_scaling show a strength: expected the sign positive, negative or "
                "absolute_value, got all");
  if (mode == PictureMode::kPanel) return heat_map_panel(picture, attribution, channels_last, options);
  const auto [shown, map] = brought_together(picture, attribution, channels_last, options);
  switch (mode) {
    case PictureMode::kHeatMap: return render(map, options.sign);
    case PictureMode::kBlendedHeatMap: return overlay(map, options.sign, shown);
    case PictureMode::kMaskedImage: return weighted(shown, map, 0);
    case PictureMode::kAlphaScaling: return weighted(shown, map, 255);
    case PictureMode::kOriginalImage:
    case PictureMode::kPanel: break;
  }
  return shown;
}

Image heat_map_panel(const Image& picture, const Tensor& attribution, bool channels_last,
                     const HeatMapOptions& options) {
  const auto [shown, map] = brought_together(picture, attribution, channels_last, options);
  constexpr int kGap = 8;
  Image panel(3 * shown.width + 4 * kGap, shown.height + 2 * kGap);
  paste(panel, shown, kGap, kGap);
  paste(panel, render(map, options.sign), shown.width + 2 * kGap, kGap);
  paste(panel, overlay(map, options.sign, shown), 2 * shown.width + 3 * kGap, kGap);
  return panel;
}

}  // namespace onnxray::app
