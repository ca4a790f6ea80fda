// Attributions of tabular features and of time series as SVG.
#pragma once
#include <string>
#include <vector>

#include "app/io/heatmap.h"
#include "engine/tensor.h"

namespace onnxray::app {

// Horizontal bars, the largest |a| first; what does not fit becomes one bar of the others' sum.
struct BarChart {
  std::string title, subtitle;
  std::vector<std::string> names;    // one per feature
  std::vector<double> attributions;  // likewise
  std::vector<double> inputs;        // likewise, or empty: shown beside the names
  std::size_t most = 20;             // bars
};
[[nodiscard]] std::string bar_chart_svg(const BarChart& chart);

// Captum's visualize_timeseries_attr.
enum class SeriesMode {
  kOverlayIndividual,  // a plot for each channel over its own attribution
  kOverlayCombined,    // all channels in one plot over the attribution summed over channels
  kColoredGraph,       // a plot for each channel, the line coloured
};
// "overlay_individual", "overlay_combined", "colored_graph".
[[nodiscard]] std::optional<SeriesMode> series_mode_of(std::string_view name);

struct SeriesChart {
  std::string title, subtitle;
  std::vector<std::string> channels;              // names; empty: numbered
  std::vector<std::vector<double>> data;          // [channels][steps]
  std::vector<std::vector<double>> attributions;  // likewise
  SeriesMode mode = SeriesMode::kOverlayIndividual;
  HeatMapOptions heat;
  std::size_t most = 16;  // channels, those with the largest sum of |a|
};
[[nodiscard]] std::string series_chart_svg(const SeriesChart& chart);

}  // namespace onnxray::app
