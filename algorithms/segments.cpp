#include "algorithms/segments.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"

namespace onnxray {
namespace {

constexpr int kIterations = 10;

struct Center {
  double y = 0, x = 0;
  std::vector<double> color;
};

class Slic {
 public:
  Slic(std::span<const double> pixels, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t count,
       double compactness)
      : h_(h), w_(w), c_(c), pixels_(pixels.begin(), pixels.end()) {
    const auto [lo, hi] = std::minmax_element(pixels_.begin(), pixels_.end());
    const double scale = *hi > *lo ? 100 / (*hi - *lo) : 0;
    for (double& v : pixels_) v *= scale;
    const double area = static_cast<double>(h * w) / static_cast<double>(count);
    step_ = std::sqrt(area);
    place_ = compactness * compactness / area;
    smallest_ = static_cast<std::size_t>(area / 4);
    const auto rows = std::clamp<std::int64_t>(std::llround(static_cast<double>(h) / step_), 1, h);
    const auto columns = std::clamp<std::int64_t>((count + rows - 1) / rows, 1, w);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        centers_.push_back(calmest((2 * i + 1) * h / (2 * rows), (2 * j + 1) * w / (2 * columns)));
      }
    }
  }

  std::vector<std::int64_t> run() {
    for (int i = 0; i < kIterations; ++i) {
      assign();
      move();
    }
    return connected();
  }

 private:
  const double* pixel(std::int64_t y, std::int64_t x) const { return pixels_.data() + (y * w_ + x) * c_; }
  double squared_distance(const double* a, const double* b) const {
    double d = 0;
    for (std::int64_t k = 0; k < c_; ++k) d += (a[k] - b[k]) * (a[k] - b[k]);
    return d;
  }

  // The place of the smallest gradient in the 3 x 3 neighbourhood: no center starts on an edge.
  Center calmest(std::int64_t cy, std::int64_t cx) const {
    double best = std::numeric_limits<double>::infinity();
    std::int64_t at_y = cy, at_x = cx;
    for (std::int64_t y = std::max<std::int64_t>(1, cy - 1); y <= std::min(h_ - 2, cy + 1); ++y) {
      for (std::int64_t x = std::max<std::int64_t>(1, cx - 1); x <= std::min(w_ - 2, cx + 1); ++x) {
        const double g =
            squared_distance(pixel(y + 1, x), pixel(y - 1, x)) + squared_distance(pixel(y, x + 1), pixel(y, x - 1));
        if (g < best) best = g, at_y = y, at_x = x;
      }
    }
    const double* p = pixel(at_y, at_x);
    return {static_cast<double>(at_y), static_cast<double>(at_x), std::vector<double>(p, p + c_)};
  }

  void assign() {
    const auto n = static_cast<std::size_t>(h_ * w_);
    labels_.assign(n, -1);
    std::vector<double> nearest(n, std::numeric_limits<double>::infinity());
    for (std::size_t k = 0; k < centers_.size(); ++k) {
      const Center& c = centers_[k];
      const auto y0 = std::max<std::int64_t>(0, std::llround(c.y - 2 * step_));
      const auto y1 = std::min<std::int64_t>(h_ - 1, std::llround(c.y + 2 * step_));
      const auto x0 = std::max<std::int64_t>(0, std::llround(c.x - 2 * step_));
      const auto x1 = std::min<std::int64_t>(w_ - 1, std::llround(c.x + 2 * step_));
      for (std::int64_t y = y0; y <= y1; ++y) {
        for (std::int64_t x = x0; x <= x1; ++x) {
          const double dy = static_cast<double>(y) - c.y, dx = static_cast<double>(x) - c.x;
          const double d = squared_distance(pixel(y, x), c.color.data()) + place_ * (dy * dy + dx * dx);
          const auto at = static_cast<std::size_t>(y * w_ + x);
          if (d < nearest[at]) nearest[at] = d, labels_[at] = static_cast<std::int64_t>(k);
        }
      }
    }
  }

  // Every center to the mean of its pixels.
  void move() {
    std::vector<double> counts(centers_.size(), 0);
    std::vector<Center> sums(centers_.size(), Center{0, 0, std::vector<double>(static_cast<std::size_t>(c_), 0)});
    for (std::int64_t at = 0; at < h_ * w_; ++at) {
      if (labels_[static_cast<std::size_t>(at)] < 0) continue;
      const auto k = static_cast<std::size_t>(labels_[static_cast<std::size_t>(at)]);
      ++counts[k];
      sums[k].y += static_cast<double>(at / w_);
      sums[k].x += static_cast<double>(at % w_);
      for (std::int64_t j = 0; j < c_; ++j) {
        sums[k].color[static_cast<std::size_t>(j)] += pixels_[static_cast<std::size_t>(at * c_ + j)];
      }
    }
    for (std::size_t k = 0; k < centers_.size(); ++k) {
      if (counts[k] == 0) continue;
      centers_[k].y = sums[k].y / counts[k];
      centers_[k].x = sums[k].x / counts[k];
      for (std::size_t j = 0; j < sums[k].color.size(); ++j) centers_[k].color[j] = sums[k].color[j] / counts[k];
    }
  }

  // Connected pieces in raster order; a small one takes the label of the piece above or to the left of its first pixel.
  std::vector<std::int64_t> connected() const {
    std::vector<std::int64_t> out(labels_.size(), -1);
    std::int64_t next = 0;
    std::vector<std::int64_t> piece;
    for (std::int64_t first = 0; first < h_ * w_; ++first) {
      if (out[static_cast<std::size_t>(first)] >= 0) continue;
      std::int64_t neighbour = -1;
      if (first >= w_) neighbour = out[static_cast<std::size_t>(first - w_)];
      else if (first % w_ > 0) neighbour = out[static_cast<std::size_t>(first - 1)];
      const std::int64_t label = labels_[static_cast<std::size_t>(first)];
      piece.assign(1, first);
      out[static_cast<std::size_t>(first)] = next;
      for (std::size_t i = 0; i < piece.size(); ++i) {
        const std::int64_t y = piece[i] / w_, x = piece[i] % w_;
        const std::pair<std::int64_t, std::int64_t> around[] = {{y - 1, x}, {y, x - 1}, {y, x + 1}, {y + 1, x}};
        for (const auto& [ny, nx] : around) {
          if (ny < 0 || nx < 0 || ny >= h_ || nx >= w_) continue;
          const auto at = static_cast<std::size_t>(ny * w_ + nx);
          if (out[at] >= 0 || labels_[at] != label) continue;
          out[at] = next;
          piece.push_back(ny * w_ + nx);
        }
      }
      if (piece.size() < smallest_ && neighbour >= 0) {
        for (const std::int64_t at : piece) out[static_cast<std::size_t>(at)] = neighbour;
      } else {
        ++next;
      }
    }
    return out;
  }

  std::int64_t h_, w_, c_;
  std::vector<double> pixels_;
  double step_ = 1, place_ = 1;
  std::size_t smallest_ = 0;
  std::vector<Center> centers_;
  std::vector<std::int64_t> labels_;
};

}  // namespace

PictureAxes picture_axes(const Dims& row_dims) {
  const std::size_t rank = row_dims.size();
  if (rank == 0) return {};
  if (rank == 1) return {true, 0, 0};
  if (rank == 3 && row_dims[2] <= 4 && row_dims[0] > 4) return {true, 0, 1};
  return {true, rank - 2, rank - 1};
}

std::vector<std::int64_t> slic(std::span<const double> pixels, std::int64_t height, std::int64_t width,
                               std::int64_t channels, std::int64_t count, double compactness) {
  ONNXRAY_CHECK(height > 0 && width > 0 && channels > 0, "superpixels of an empty picture");
  ONNXRAY_CHECK(count >= 1 && count <= height * width, "slic:", count, " on a picture of ", height, " x ", width,
                " pixels, expected 1 to ", height * width, " superpixels");
  ONNXRAY_ASSERT(static_cast<std::int64_t>(pixels.size()) == height * width * channels);
  return Slic(pixels, height, width, channels, count, compactness).run();
}

}  // namespace onnxray
