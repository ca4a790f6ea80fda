#include "app/io/resample.h"

#include <algorithm>
#include <cmath>

#include "app/io/image.h"
#include "engine/base/error.h"

namespace onnxray::app {

Resampling::Resampling(int from, int to) {
  ONNXRAY_CHECK(from > 0 && to > 0, "cannot resize ", from, " to ", to);
  const double scale = static_cast<double>(from) / to, support = std::max(1.0, scale);
  most = static_cast<int>(std::ceil(support)) * 2 + 1;
  weight.assign(static_cast<std::size_t>(to) * static_cast<std::size_t>(most), 0);
  for (int i = 0; i < to; ++i) {
    // The triangle is cut off at the border and its weights sum to one all the same.
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int last = std::min(from, static_cast<int>(centre + support + 0.5));
    float* w = weight.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(most);
    double sum = 0;
    for (int j = first; j < last; ++j) sum += std::max(0.0, 1 - std::abs(j - centre + 0.5) / support);
    for (int j = first; j < last; ++j) {
      w[j - first] = static_cast<float>(std::max(0.0, 1 - std::abs(j - centre + 0.5) / support) / sum);
    }
    begin.push_back(first);
    count.push_back(last - first);
  }
}

namespace {

std::uint8_t rounded(float v) { return static_cast<std::uint8_t>(std::clamp(v + 0.5F, 0.0F, 255.0F)); }

Image resize_rows(const Image& image, int width) {
  const Resampling r(image.width, width);
  Image out(width, image.height);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto i = static_cast<std::size_t>(x);
      const std::uint8_t* from = image.at(r.begin[i], y);
      const float* w = r.weight.data() + i * static_cast<std::size_t>(r.most);
      float sum[3] = {0, 0, 0};
      for (int k = 0; k < r.count[i]; ++k) {
        for (int c = 0; c < 3; ++c) sum[c] += w[k] * static_cast<float>(from[k * 3 + c]);
      }
      for (int c = 0; c < 3; ++c) out.at(x, y)[c] = rounded(sum[c]);
    }
  }
  return out;
}

Image resize_columns(const Image& image, int height) {
  const Resampling r(image.height, height);
  Image out(image.width, height);
  const std::size_t row = static_cast<std::size_t>(image.width) * 3;
  std::vector<float> sum(row);
  for (int y = 0; y < height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    std::fill(sum.begin(), sum.end(), 0.0F);
    for (int k = 0; k < r.count[i]; ++k) {
      const std::uint8_t* from = image.at(0, r.begin[i] + k);
      const float w = r.weight[i * static_cast<std::size_t>(r.most) + static_cast<std::size_t>(k)];
      for (std::size_t x = 0; x < row; ++x) sum[x] += w * static_cast<float>(from[x]);
    }
    std::uint8_t* to = out.at(0, y);
    for (std::size_t x = 0; x < row; ++x) to[x] = rounded(sum[x]);
  }
  return out;
}

}  // namespace

// Columns after rows, rounded to 8 bits in between like Pillow.
Image resize(const Image& image, int width, int height) {
  ONNXRAY_CHECK(image.width > 0 && image.height > 0, "an empty picture");
  const Image rows = width == image.width ? image : resize_rows(image, width);
  return height == image.height ? rows : resize_columns(rows, height);
}

}  // namespace onnxray::app
