#include "app/report/grid.h"

#include <algorithm>

#include "app/report/svg.h"
#include "engine/base/error.h"

namespace onnxray::app {

std::string grid_svg(const PictureGrid& grid) {
  constexpr double kMargin = 16, kGap = 10, kSide = 200, kTitles = 22;
  const std::size_t columns = grid.columns.size();
  ONNXRAY_CHECK(columns > 0 && !grid.images.empty() && (grid.rows.empty() || grid.rows.size() == grid.images.size()),
                "a grid of ", grid.images.size(), " rows and ", columns, " columns got ", grid.rows.size(), " titles");
  std::vector<double> heights;
  for (const auto& row : grid.images) {
    ONNXRAY_CHECK(row.size() == columns, "a grid of ", columns, " columns got a row of ", row.size(), " pictures");
    double height = 0;
    for (const Image& i : row) height = std::max(height, kSide * i.height / std::max(1, i.width));
    heights.push_back(height);
  }
  const double names = grid.rows.empty() ? 0 : 90;
  double height = kMargin + 24 + (grid.subtitle.empty() ? 0 : 20) + kTitles + (grid.color_bar ? 30 : 0) + kMargin;
  for (const double h : heights) height += h + kGap;
  const double width = std::max(2 * kMargin + names + (kSide + kGap) * static_cast<double>(columns) - kGap, 360.0);
  Svg svg(width, height);
  double y = kMargin + 14;
  const auto fits = [&](double size) { return static_cast<std::size_t>((width - 2 * kMargin) / (0.55 * size)); };
  svg.text(kMargin, y, shortened(grid.title, fits(15)), 15, Svg::Anchor::kStart, "#202020", true);
  if (!grid.subtitle.empty()) {
    y += 20;
    svg.text(kMargin, y, shortened(grid.subtitle, fits(12)), 12, Svg::Anchor::kStart, "#606060");
  }
  y += 10 + kTitles;
  const auto left = [&](std::size_t c) { return kMargin + names + (kSide + kGap) * static_cast<double>(c); };
  for (std::size_t c = 0; c < columns; ++c) {
    svg.text(left(c) + kSide / 2, y - 7, shortened(grid.columns[c], 30), 12, Svg::Anchor::kMiddle);
  }
  for (std::size_t r = 0; r < grid.images.size(); ++r) {
    if (!grid.rows.empty()) svg.text(kMargin, y + heights[r] / 2, shortened(grid.rows[r], 14), 12);
    for (std::size_t c = 0; c < columns; ++c) {
      const Image& image = grid.images[r][c];
      const double h = kSide * image.height / std::max(1, image.width);
      svg.image(left(c), y, kSide, h, image);
      svg.frame(left(c), y, kSide, h);
    }
    y += heights[r] + kGap;
  }
  if (grid.color_bar) svg.color_bar(width / 2 - 60, y + 4, 120);
  return svg.finish();
}

}  // namespace onnxray::app
