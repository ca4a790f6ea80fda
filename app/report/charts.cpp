#include "app/report/charts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "app/report/svg.h"
#include "engine/base/error.h"

namespace onnxray::app {
namespace {

constexpr double kMargin = 16, kWidth = 760;

// Title and subtitle; returns where the drawing starts.
double heading(Svg& svg, const std::string& title, const std::string& subtitle) {
  svg.text(kMargin, kMargin + 14, shortened(title, 80), 15, Svg::Anchor::kStart, "#202020", true);
  if (subtitle.empty()) return kMargin + 30;
  svg.text(kMargin, kMargin + 34, shortened(subtitle, 110), 12, Svg::Anchor::kStart, "#606060");
  return kMargin + 50;
}

double sum_of_magnitudes(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += std::abs(x);
  return sum;
}

// Indices by falling |v|, ties in order.
std::vector<std::size_t> by_magnitude(const std::vector<double>& v) {
  std::vector<std::size_t> order(v.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(v[a]) > std::abs(v[b]); });
  return order;
}

void check_finite(const std::vector<double>& v) {
  for (const double x : v) {
    if (!std::isfinite(x)) throw Error(ErrorKind::kNonFinite, "a chart of a NaN or an infinity");
  }
}

}  // namespace

std::string bar_chart_svg(const BarChart& chart) {
  const std::size_t n = chart.attributions.size();
  ONNXRAY_CHECK(
      n > 0 && chart.names.size() == n && (chart.inputs.empty() || chart.inputs.size() == n) && chart.most >= 2,
      "a bar chart of ", n, " attributions got ", chart.names.size(), " names and ", chart.inputs.size(), " inputs");
  check_finite(chart.attributions);
  struct Bar {
    std::string name;
    double value;
  };
  std::vector<Bar> bars;
  const std::vector<std::size_t> order = by_magnitude(chart.attributions);
  const std::size_t shown = n > chart.most ? chart.most - 1 : n;
  for (std::size_t i = 0; i < shown; ++i) {
    std::string name = shortened(chart.names[order[i]], 30);
    if (!chart.inputs.empty()) name += " = " + short_number(chart.inputs[order[i]]);
    bars.push_back({std::move(name), chart.attributions[order[i]]});
  }
  if (shown < n) {
    double rest = 0;
    for (std::size_t i = shown; i < n; ++i) rest += chart.attributions[order[i]];
    bars.push_back({std::to_string(n - shown) + " others", rest});
  }
  double lo = 0, hi = 0;
  for (const Bar& b : bars) {
    lo = std::min(lo, b.value);
    hi = std::max(hi, b.value);
  }
  constexpr double kRow = 24, kNames = 250, kNumbers = 80;
  const double left = kMargin + kNames + (lo < 0 ? kNumbers : 0), right = kWidth - kMargin - (hi > 0 ? kNumbers : 0);
  const double scale = hi > lo ? (right - left) / (hi - lo) : 0, zero = left - lo * scale;
  Svg svg(kWidth, kMargin * 2 + (chart.subtitle.empty() ? 30 : 50) + kRow * static_cast<double>(bars.size()));
  double y = heading(svg, chart.title, chart.subtitle);
  svg.line(zero, y - 4, zero, y + kRow * static_cast<double>(bars.size()), "#b0b0b0");
  for (const Bar& b : bars) {
    svg.text(kMargin + kNames - 8, y + 15, b.name, 12, Svg::Anchor::kEnd);
    const double end = zero + b.value * scale;
    svg.rect(std::min(zero, end), y + 3, std::abs(end - zero), kRow - 8, hex(heat_color(b.value >= 0 ? 0.62 : -0.62)));
    svg.text(end + (b.value >= 0 ? 6 : -6), y + 15, short_number(b.value), 11,
             b.value >= 0 ? Svg::Anchor::kStart : Svg::Anchor::kEnd, "#404040");
    y += kRow;
  }
  return svg.finish();
}

std::optional<SeriesMode> series_mode_of(std::string_view name) {
  if (name == "overlay_individual") return SeriesMode::kOverlayIndividual;
  if (name == "overlay_combined") return SeriesMode::kOverlayCombined;
  if (name == "colored_graph") return SeriesMode::kColoredGraph;
  return std::nullopt;
}

namespace {

constexpr double kPlotLeft = 110, kPlotWidth = kWidth - kPlotLeft - 16, kPlotHeight = 76, kPlotGap = 12;

// One plot's frame of reference: steps to x, data to y.
struct Plot {
  Plot(double top, double height, std::size_t steps, double lo, double hi)
      : top(top), height(height), step(kPlotWidth / static_cast<double>(steps)), lo(lo), hi(hi) {}
  [[nodiscard]] double x(std::size_t t) const { return kPlotLeft + step * (static_cast<double>(t) + 0.5); }
  [[nodiscard]] double y(double v) const {
    return hi > lo ? top + height - 6 - (v - lo) / (hi - lo) * (height - 12) : top + height / 2;
  }
  double top, height, step, lo, hi;
};

// Steps that share a column of at least one pixel: [begin, end) of each.
std::vector<std::pair<std::size_t, std::size_t>> columns(std::size_t steps) {
  const std::size_t count = std::min(steps, static_cast<std::size_t>(kPlotWidth));
  std::vector<std::pair<std::size_t, std::size_t>> out;
  for (std::size_t c = 0; c < count; ++c) out.emplace_back(c * steps / count, (c + 1) * steps / count);
  return out;
}

// Behind a line: a span of colour for every column, the strongest attribution in it.
void draw_spans(Svg& svg, const Plot& plot, const std::vector<double>& a) {
  for (const auto& [begin, end] : columns(a.size())) {
    double v = 0;
    for (std::size_t t = begin; t < end; ++t) v = std::abs(a[t]) > std::abs(v) ? a[t] : v;
    if (v == 0) continue;
    svg.rect(kPlotLeft + plot.step * static_cast<double>(begin), plot.top,
             plot.step * static_cast<double>(end - begin) + 0.3, plot.height, hex(heat_color(v)), 0.7);
  }
}

// The data; columns with several steps keep their extremes.
void draw_line(Svg& svg, const Plot& plot, const std::vector<double>& data, std::string_view color, double width) {
  std::vector<std::pair<double, double>> points;
  for (const auto& [begin, end] : columns(data.size())) {
    const auto first = data.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = data.begin() + static_cast<std::ptrdiff_t>(end);
    auto [lo, hi] = std::minmax_element(first, last);
    if (hi < lo) std::swap(lo, hi);
    const auto at = [&](auto it) {
      points.emplace_back(plot.x(static_cast<std::size_t>(it - data.begin())), plot.y(*it));
    };
    at(lo);
    if (hi != lo) at(hi);
  }
  if (points.size() == 1) points.emplace_back(points[0].first + 1, points[0].second);
  svg.polyline(points, color, width);
}

// The line in the colours of the attribution, on grey so that what is white stays visible.
void draw_colored(Svg& svg, const Plot& plot, const std::vector<double>& data, const std::vector<double>& a) {
  draw_line(svg, plot, data, "#c8c8c8", 1);
  const auto parts = columns(data.size());
  for (std::size_t c = 0; c + 1 < parts.size(); ++c) {
    const std::size_t t = parts[c].first, u = parts[c + 1].first;
    const double v = std::abs(a[t]) > std::abs(a[u]) ? a[t] : a[u];
    if (std::abs(v) < 0.02) continue;
    svg.line(plot.x(t), plot.y(data[t]), plot.x(u), plot.y(data[u]), hex(heat_color(v)), 2.5);
  }
}

}  // namespace

std::string series_chart_svg(const SeriesChart& chart) {
  const std::size_t count = chart.data.size();
  ONNXRAY_CHECK(count > 0 && chart.attributions.size() == count && !chart.data[0].empty() &&
                    (chart.channels.empty() || chart.channels.size() == count),
                "a time series of ", count, " channels got ", chart.attributions.size(), " attributions and ",
                chart.channels.size(), " names");
  const std::size_t steps = chart.data[0].size();
  std::vector<double> totals;
  for (std::size_t c = 0; c < count; ++c) {
    ONNXRAY_CHECK(chart.data[c].size() == steps && chart.attributions[c].size() == steps, "channel ", c,
                  " of a time series has another length");
    check_finite(chart.data[c]);
    check_finite(chart.attributions[c]);
    totals.push_back(sum_of_magnitudes(chart.attributions[c]));
  }
  std::vector<std::size_t> shown = by_magnitude(totals);
  if (shown.size() > chart.most) shown.resize(chart.most);
  std::sort(shown.begin(), shown.end());
  std::string subtitle = chart.subtitle;
  if (shown.size() < count) {
    subtitle += (subtitle.empty() ? "" : ", ") + std::string("the ") + std::to_string(shown.size()) + " of " +
                std::to_string(count) + " channels with most attribution";
  }
  const auto name_of = [&](std::size_t c) {
    return chart.channels.empty() ? "channel " + std::to_string(c) : chart.channels[c];
  };
  // One scale for all channels, so that they compare.
  std::vector<double> flat;
  if (chart.mode == SeriesMode::kOverlayCombined) {
    flat.assign(steps, 0);
    for (const auto& a : chart.attributions) {
      for (std::size_t t = 0; t < steps; ++t) flat[t] += a[t];
    }
  } else {
    for (const auto& a : chart.attributions) flat.insert(flat.end(), a.begin(), a.end());
  }
  flat = normalised(std::move(flat), chart.heat);
  const auto range = [](const std::vector<double>& v) {
    const auto [lo, hi] = std::minmax_element(v.begin(), v.end());
    return std::pair(*lo, *hi);
  };
  const bool combined = chart.mode == SeriesMode::kOverlayCombined;
  const double plots = combined ? 3 * kPlotHeight : static_cast<double>(shown.size()) * (kPlotHeight + kPlotGap);
  const double legend = combined ? 20 * std::ceil(static_cast<double>(shown.size()) / 4) : 0;
  Svg svg(kWidth, kMargin + (subtitle.empty() ? 30 : 50) + plots + legend + 48);
  double y = heading(svg, chart.title, subtitle);
  const auto labels = [&](const Plot& plot) {
    svg.text(kPlotLeft - 8, plot.top + 12, short_number(plot.hi), 10, Svg::Anchor::kEnd, "#808080");
    svg.text(kPlotLeft - 8, plot.top + plot.height - 3, short_number(plot.lo), 10, Svg::Anchor::kEnd, "#808080");
    svg.frame(kPlotLeft, plot.top, kPlotWidth, plot.height);
  };
  if (combined) {
    // ColorBrewer's Dark2.
    static constexpr std::array<std::string_view, 8> kDark2{"#1b9e77", "#d95f02", "#7570b3", "#e7298a",
                                                            "#66a61e", "#e6ab02", "#a6761d", "#666666"};
    double lo = INFINITY, hi = -INFINITY;
    for (const std::size_t c : shown) {
      const auto [a, b] = range(chart.data[c]);
      lo = std::min(lo, a);
      hi = std::max(hi, b);
    }
    const Plot plot(y, plots, steps, lo, hi);
    draw_spans(svg, plot, flat);
    for (std::size_t i = 0; i < shown.size(); ++i) {
      draw_line(svg, plot, chart.data[shown[i]], kDark2[i % kDark2.size()], 1.6);
    }
    labels(plot);
    y += plots;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const double x = kPlotLeft + kPlotWidth / 4 * static_cast<double>(i % 4);
      const double at = y + 20 + 20 * static_cast<double>(i / 4);
      svg.line(x, at - 4, x + 18, at - 4, kDark2[i % kDark2.size()], 3);
      svg.text(x + 24, at, shortened(name_of(shown[i]), 18), 12);
    }
    y += legend + kPlotGap;
  } else {
    for (const std::size_t c : shown) {
      const auto [lo, hi] = range(chart.data[c]);
      const Plot plot(y, kPlotHeight, steps, lo, hi);
      const auto first = flat.begin() + static_cast<std::ptrdiff_t>(c * steps);
      const std::vector<double> a(first, first + static_cast<std::ptrdiff_t>(steps));
      if (chart.mode == SeriesMode::kColoredGraph) {
        draw_colored(svg, plot, chart.data[c], a);
      } else {
        draw_spans(svg, plot, a);
        draw_line(svg, plot, chart.data[c], "#202020", 1.2);
      }
      labels(plot);
      svg.text(kPlotLeft - 8, y + kPlotHeight / 2 + 4, shortened(name_of(c), 14), 12, Svg::Anchor::kEnd);
      y += kPlotHeight + kPlotGap;
    }
  }
  svg.text(kPlotLeft, y + 6, "0", 10, Svg::Anchor::kStart, "#808080");
  svg.text(kPlotLeft + kPlotWidth, y + 6, std::to_string(steps - 1), 10, Svg::Anchor::kEnd, "#808080");
  svg.color_bar(kPlotLeft + kPlotWidth / 2 - 60, y + 6, 120);
  return svg.finish();
}

}  // namespace onnxray::app
