#include "app/report/pictures.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "app/report/svg.h"

namespace onnxray::app {
namespace {

// A picture for rows that did not come from one: the input scaled to 0..255, channels first or last.
Image picture_of(const Tensor& row, bool channels_last) {
  const Dims& d = row.dims();
  const std::int64_t c = channels_last ? d[2] : d[0], h = channels_last ? d[0] : d[1], w = channels_last ? d[1] : d[2];
  const std::vector<double> v = row.to_doubles();
  const auto [lo, hi] = std::minmax_element(v.begin(), v.end());
  const double scale = *hi > *lo ? 255 / (*hi - *lo) : 0;
  Image image(static_cast<int>(w), static_cast<int>(h));
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      for (std::int64_t k = 0; k < 3; ++k) {
        const std::int64_t channel = c == 3 ? k : 0;
        const std::int64_t at = channels_last ? (y * w + x) * c + channel : (channel * h + y) * w + x;
        image.at(static_cast<int>(x), static_cast<int>(y))[k] =
            static_cast<std::uint8_t>(std::lround((v[static_cast<std::size_t>(at)] - *lo) * scale));
      }
    }
  }
  return image;
}

bool looks_like_image(const Dims& row) {
  return row.size() == 3 && (row[0] == 1 || row[0] == 3) && row[1] >= 8 && row[2] >= 8;
}

Dims row_of(const Tensor& t) { return {t.dims().begin() + 1, t.dims().end()}; }

Tensor row_at(const Tensor& t, std::int64_t r) { return t.rows(r, r + 1).reshaped(row_of(t)); }

// Whether an h x w grid lies over a picture of the given size: the same proportions, up to a cell.
bool lies_over(std::int64_t h, std::int64_t w, std::int64_t height, std::int64_t width) {
  return h * w > 1 && h <= height && w <= width && std::abs(h * width - w * height) <= std::max(height, width);
}

// What lies above the row's smallest element.
Tensor above_smallest(const Tensor& row) {
  std::vector<double> v = row.to_doubles();
  const double lowest = *std::min_element(v.begin(), v.end());
  for (double& x : v) x -= lowest;
  return Tensor::from<double>(row.dims(), std::span<const double>(v));
}

std::string in_words(const MethodInfo& method, const std::string& value, const std::string& explained) {
  return method.title + " of " + (explained.empty() ? "the output" : explained) + " at " + value;
}

std::string outcome(const Attribution& result, std::size_t r) {
  std::string s;
  if (r < result.values.size()) s = "value " + short_number(result.values[r]);
  if (r < result.baseline_values.size()) s += ", at the baseline " + short_number(result.baseline_values[r]);
  return s;
}

// The names of a value's elements as the sidecar says them; empty where it says nothing.
const std::vector<std::string>* names_of(const LoadedInputs& inputs, const std::string& value, std::int64_t count) {
  for (const std::string& key : {value, std::string()}) {
    const auto it = inputs.features.find(key);
    if (it == inputs.features.end() || !inputs.tensors.contains(value)) continue;
    ONNXRAY_CHECK(static_cast<std::int64_t>(it->second.size()) == count, "the model's description names ",
                  it->second.size(), " features of '", value, "', which has ", count);
    return &it->second;
  }
  return nullptr;
}

// [positions, ...] summed to one number per position.
std::vector<double> per_position(const Tensor& row) {
  const std::vector<double> v = row.to_doubles();
  const auto positions = static_cast<std::size_t>(row.dims()[0]);
  std::vector<double> out(positions, 0);
  for (std::size_t i = 0; i < v.size(); ++i) out[i / (v.size() / positions)] += v[i];
  return out;
}

// A row [a, b] as channels: the longer axis counts the steps.
std::vector<std::vector<double>> channels_of(const Tensor& row) {
  const std::vector<double> v = row.to_doubles();
  const auto a = static_cast<std::size_t>(row.dims()[0]), b = static_cast<std::size_t>(row.dims()[1]);
  const bool steps_first = a > b;
  std::vector<std::vector<double>> out(steps_first ? b : a, std::vector<double>(steps_first ? a : b));
  for (std::size_t i = 0; i < a; ++i) {
    for (std::size_t j = 0; j < b; ++j) (steps_first ? out[j][i] : out[i][j]) = v[i * b + j];
  }
  return out;
}

class Drawer {
 public:
  Drawer(const LoadedInputs& inputs, const Attribution& result, const MethodInfo& method,
         const std::vector<std::string>& explained, const PictureOptions& options)
      : inputs_(inputs), result_(result), method_(method), explained_(explained), options_(options) {}

  std::vector<Picture> run() {
    const auto image_mode = options_.mode.empty() ? PictureMode::kPanel : picture_mode_of(options_.mode);
    const auto series_mode = series_mode_of(options_.mode);
    if (!options_.tokens.empty()) draw_text();
    for (const auto& [value, t] : result_.attributions) {
      if (image_mode) draw_images(*image_mode, value, t);
      if (series_mode) draw_series(*series_mode, value, t);
      if (options_.mode.empty() || options_.mode == "bars") draw_bars(value, t);
    }
    ONNXRAY_CHECK(options_.mode.empty() || !pictures_.empty(), "--picture ", options_.mode, ": nothing to draw it of; ",
                  image_mode    ? "it needs an attribution to a picture or to a layer with the picture's proportions"
                  : series_mode ? "it needs an attribution to an input of shape [channels, steps] or [steps, features]"
                                : "it needs an attribution to a value of shape [features]");
    return std::move(pictures_);
  }

 private:
  [[nodiscard]] std::size_t scalars() const { return std::max<std::size_t>(1, explained_.size()); }
  [[nodiscard]] std::string explained(std::size_t r) const {
    return explained_.empty() ? std::string() : explained_[r % scalars()];
  }
  [[nodiscard]] HeatMapOptions heat(Sign otherwise) const {
    return {.sign = options_.sign.value_or(otherwise), .outlier_percent = options_.outlier_percent};
  }
  // "bars_0", with the value's name where several values are drawn.
  [[nodiscard]] std::string stem(const std::string& kind, const std::string& value, std::size_t r, bool several) const {
    return kind + (several ? "_" + value : "") + "_" + std::to_string(r);
  }

  void draw_images(PictureMode mode, const std::string& value, const Tensor& t) {
    const auto map = ImageMap::of(inputs_, value, row_of(t));
    if (!map) return;
    const bool strength = mode == PictureMode::kMaskedImage || mode == PictureMode::kAlphaScaling;
    std::size_t drawn = 0;
    for (const auto& [other, u] : result_.attributions) drawn += ImageMap::of(inputs_, other, row_of(u)) ? 1 : 0;
    for (std::int64_t r = 0; r < t.dims()[0]; ++r) {
      const auto index = static_cast<std::size_t>(r);
      const Tensor row = method_.has_offset ? above_smallest(row_at(t, r)) : row_at(t, r);
      Image image = draw_picture(mode, map->picture(index / scalars()), row, map->channels_last(),
                                 heat(strength ? Sign::kAbsolute : Sign::kAll));
      std::string bytes = encode_png(image);
      pictures_.push_back({.stem = stem("heatmap", value, index, drawn > 1),
                           .extension = ".png",
                           .bytes = std::move(bytes),
                           .kind = "heat_map",
                           .value = value,
                           .image = std::move(image)});
    }
  }

  void draw_series(SeriesMode mode, const std::string& value, const Tensor& t) {
    const auto input = inputs_.tensors.find(value);
    if (t.rank() != 3 || input == inputs_.tensors.end() || input->second.rank() != 3) return;
    for (std::int64_t r = 0; r < t.dims()[0]; ++r) {
      const auto index = static_cast<std::size_t>(r);
      const auto example = r / static_cast<std::int64_t>(scalars());
      SeriesChart chart{.title = in_words(method_, value, explained(index)),
                        .subtitle = "example " + std::to_string(example) + ", " + outcome(result_, index),
                        .channels = {},
                        .data = channels_of(row_at(input->second, example)),
                        .attributions = channels_of(row_at(t, r)),
                        .mode = mode,
                        .heat = heat(Sign::kAll)};
      if (const auto* names = names_of(inputs_, value, static_cast<std::int64_t>(chart.data.size()))) {
        chart.channels = *names;
      }
      pictures_.push_back({.stem = stem("series", value, index, result_.attributions.size() > 1),
                           .extension = ".svg",
                           .bytes = series_chart_svg(chart),
                           .kind = "time_series",
                           .value = value,
                           .image = {}});
    }
  }

  void draw_bars(const std::string& value, const Tensor& t) {
    if (t.rank() != 2) return;
    const auto* names = names_of(inputs_, value, t.dims()[1]);
    if (names == nullptr && options_.mode != "bars") return;
    const auto input = inputs_.tensors.find(value);
    const bool known = input != inputs_.tensors.end() && input->second.rank() == 2;
    for (std::int64_t r = 0; r < t.dims()[0]; ++r) {
      const auto index = static_cast<std::size_t>(r);
      const auto example = r / static_cast<std::int64_t>(scalars());
      BarChart chart{.title = in_words(method_, value, explained(index)),
                     .subtitle = "example " + std::to_string(example) + ", " + outcome(result_, index),
                     .names = {},
                     .attributions = row_at(t, r).to_doubles(),
                     .inputs = {}};
      if (known) chart.inputs = row_at(input->second, example).to_doubles();
      if (names != nullptr) chart.names = *names;
      else
        for (std::int64_t i = 0; i < t.dims()[1]; ++i) chart.names.push_back(value + "[" + std::to_string(i) + "]");
      pictures_.push_back({.stem = stem("bars", value, index, result_.attributions.size() > 1),
                           .extension = ".svg",
                           .bytes = bar_chart_svg(chart),
                           .kind = "bars",
                           .value = value,
                           .image = {}});
    }
  }

  // Tokens belong to the first value with as many positions in a row.
  void draw_text() {
    const auto count = static_cast<std::int64_t>(options_.tokens[0].size());
    std::string shapes;
    for (const auto& [value, t] : result_.attributions) {
      shapes += (shapes.empty() ? "" : ", ") + value + " " + to_string(row_of(t));
      // A class activation map of tokens is [1, positions].
      const bool map = t.rank() == 3 && t.dims()[1] == 1;
      if (t.rank() < 2 || t.dims()[map ? 2 : 1] != count) continue;
      const std::int64_t rows = t.dims()[0];
      const auto examples = static_cast<std::size_t>(rows) / scalars();
      ONNXRAY_CHECK(options_.tokens.size() == 1 || options_.tokens.size() == examples, "got tokens of ",
                    options_.tokens.size(), " examples, the request has ", examples);
      std::vector<TextRecord> records;
      for (std::int64_t r = 0; r < rows; ++r) {
        const auto index = static_cast<std::size_t>(r);
        const std::size_t example = index / scalars();
        const auto& tokens = options_.tokens[options_.tokens.size() == 1 ? 0 : example];
        ONNXRAY_CHECK(static_cast<std::int64_t>(tokens.size()) == count, "example ", example, " has ", tokens.size(),
                      " tokens, '", value, "' has ", count, " positions");
        const Tensor row = row_at(t, r);
        records.push_back({.title = in_words(method_, value, explained(index)),
                           .subtitle = "example " + std::to_string(example) + ", " + outcome(result_, index),
                           .tokens = tokens,
                           .attributions = per_position(map ? row.reshaped({count}) : row)});
      }
      pictures_.push_back({.stem = "text",
                           .extension = ".html",
                           .bytes = text_html(records, heat(Sign::kAll)),
                           .kind = "text",
                           .value = value,
                           .image = {},
                           .terminal = text_ansi(records, heat(Sign::kAll))});
      return;
    }
    fail("--tokens gives ", count, " tokens, but no attribution has that many positions in a row: ", shapes);
  }

  const LoadedInputs& inputs_;
  const Attribution& result_;
  const MethodInfo& method_;
  const std::vector<std::string>& explained_;
  const PictureOptions& options_;
  std::vector<Picture> pictures_;
};

}  // namespace

PictureOptions picture_options(const std::string& mode, const std::string& sign, double outlier_percent) {
  ONNXRAY_CHECK(mode.empty() || mode == "bars" || picture_mode_of(mode) || series_mode_of(mode), "--picture ", mode,
                ": expected one of: panel, heat_map, blended_heat_map, original_image, masked_image, alpha_scaling, "
                "overlay_individual, overlay_combined, colored_graph, bars");
  ONNXRAY_CHECK(outlier_percent >= 0 && outlier_percent < 100, "--outlier-percentile ", outlier_percent,
                ": expected 0 to less than 100");
  PictureOptions o{.mode = mode, .sign = {}, .outlier_percent = outlier_percent, .tokens = {}};
  if (!sign.empty()) o.sign = sign_of(sign);
  ONNXRAY_CHECK(!(o.sign == Sign::kAll && (mode == "masked_image" || mode == "alpha_scaling")), "--picture ", mode,
                " shows a strength: expected --sign positive, negative or absolute_value, got all");
  return o;
}

std::optional<ImageMap> ImageMap::of(const LoadedInputs& inputs, const std::string& value, const Dims& row) {
  std::string image = inputs.image_input;
  for (const auto& [name, t] : inputs.tensors) {
    if (image.empty() && t.rank() == 4 && looks_like_image(row_of(t))) image = name;
  }
  if (image.empty() || row.size() != 3) return std::nullopt;
  const Tensor& x = inputs.tensors.at(image);
  ONNXRAY_CHECK(x.rank() >= 3, "the picture's input '", image, "' has shape ", to_string(x.dims()));
  const Dims shape(x.dims().end() - 3, x.dims().end());
  const std::int64_t height = shape[inputs.channels_last ? 0 : 1], width = shape[inputs.channels_last ? 1 : 2];
  ImageMap map;
  if (inputs.tensors.contains(value)) {
    if (value != image) return std::nullopt;
    map.channels_last_ = inputs.channels_last;
  } else if (!lies_over(row[1], row[2], height, width)) {
    if (!lies_over(row[0], row[1], height, width)) return std::nullopt;
    map.channels_last_ = true;
  }
  map.pictures_ = inputs.images;
  const std::int64_t examples = x.rank() == 4 ? x.dims()[0] : 1;
  for (auto e = static_cast<std::int64_t>(map.pictures_.size()); e < examples; ++e) {
    map.pictures_.push_back(
        picture_of(x.rank() == 4 ? x.rows(e, e + 1).reshaped(shape) : x.reshaped(shape), inputs.channels_last));
  }
  return map;
}

Tensor ImageMap::at_picture_size(const Tensor& row) const {
  const Dims& d = row.dims();
  const std::int64_t c = d[channels_last_ ? 2 : 0], h = d[channels_last_ ? 0 : 1], w = d[channels_last_ ? 1 : 2];
  const std::vector<double> v = row.to_doubles();
  HeatMap sums{static_cast<int>(h), static_cast<int>(w), std::vector<float>(static_cast<std::size_t>(h * w), 0)};
  for (std::int64_t k = 0; k < c; ++k) {
    for (std::int64_t i = 0; i < h * w; ++i) {
      sums.v[static_cast<std::size_t>(i)] +=
          static_cast<float>(v[static_cast<std::size_t>(channels_last_ ? i * c + k : k * h * w + i)]);
    }
  }
  const HeatMap large = resize(sums, pictures_.at(0).height, pictures_.at(0).width);
  Tensor out(DType::f64, {1, large.height, large.width});
  std::copy(large.v.begin(), large.v.end(), out.mutable_data<double>().begin());
  return out;
}

std::vector<Picture> pictures_of(const LoadedInputs& inputs, const Attribution& result, const MethodInfo& method,
                                 const std::vector<std::string>& explained, const PictureOptions& options) {
  return Drawer(inputs, result, method, explained, options).run();
}

}  // namespace onnxray::app
