#include "algorithms/attribution/guided_grad_cam.h"

#include <algorithm>

#include "algorithms/attribution/gradient_cams.h"
#include "algorithms/attribution/rules/guided.h"

namespace onnxray {
namespace {

// Two passes with as many rows each, reported as one.
Attribution run_part(const Model& model, const auto& options, Request request, const ComputeOptions& whole, bool second,
                     double& seconds) {
  if (whole.progress) {
    const double before = seconds;
    request.compute.progress = [&whole, second, before](const Progress& part) {
      Progress p = part;
      p.phase = "guided-grad-cam";
      p.done += second ? part.total : 0;
      p.total *= 2;
      p.seconds += before;
      p.remaining_seconds = p.seconds / static_cast<double>(p.done) * static_cast<double>(p.total - p.done);
      return whole.progress(p);
    };
  }
  Attribution out = run_method(model, options, request);
  seconds += out.report.seconds;
  return out;
}

// Axes of a row's positions: all but the channels, which stand first, or last in a picture [H, W, up to 4].
std::pair<std::size_t, Dims> positions_of(const Dims& row) {
  if (row.size() < 2) return {0, {}};
  const bool last = row.size() == 3 && row[2] <= 4 && row[0] > 4;
  return last ? std::pair(std::size_t{2}, Dims(row.begin(), row.end() - 1))
              : std::pair(std::size_t{0}, Dims(row.begin() + 1, row.end()));
}

}  // namespace

Attribution run_method(const Model& model, const GuidedGradCam& options, const Request& request) {
  for (const std::string& name : request.from) {
    const bool input =
        std::any_of(model.inputs().begin(), model.inputs().end(), [&](const ValueInfo& in) { return in.name == name; });
    ONNXRAY_CHECK(input, "guided-grad-cam attributes to inputs, got from '", name,
                  "'; the map's layer is named with --layer");
  }
  Request at_layer = request;
  at_layer.from.clear();
  if (!options.layer.empty()) at_layer.from.push_back(options.layer);
  const GradCam cam{.relu_attributions = true, .grid = options.grid};
  double seconds = 0;
  const Attribution map = run_part(model, cam, at_layer, request.compute, false, seconds);
  Attribution out = run_part(model, GuidedBackprop{}, request, request.compute, true, seconds);
  const auto& [layer, m] = *map.attributions.begin();
  const std::size_t axes = m.rank() - 2;
  for (auto it = out.attributions.begin(); it != out.attributions.end();) {
    Tensor& a = it->second;
    const auto [channel, size] = positions_of({a.dims().begin() + 1, a.dims().end()});
    if (size.size() != axes || axes == 0) {
      out.report.notices.push_back("'" + it->first + "' has " + std::to_string(size.size()) + " axes of positions, '" +
                                   layer + "' has " + std::to_string(axes) + ": it gets no attribution");
      it = out.attributions.erase(it);
      continue;
    }
    const Tensor large = interpolate(m, size, options.interpolate_mode);  // [rows, 1, positions...]
    const std::int64_t positions = count_of(size), per_row = a.size() / a.dims()[0], channels = per_row / positions;
    const auto v = a.mutable_data<double>();
    const auto w = large.data<double>();
    for (std::int64_t i = 0; i < a.size(); ++i) {
      const std::int64_t row = i / per_row, rest = i % per_row;
      const std::int64_t position = channel == 0 ? rest % positions : rest / channels;
      v[static_cast<std::size_t>(i)] *= w[static_cast<std::size_t>(row * positions + position)];
    }
    ++it;
  }
  ONNXRAY_CHECK(!out.attributions.empty(), "guided-grad-cam: no input has positions like the layer '", layer, "' ",
                to_string(Dims(m.dims().begin() + 2, m.dims().end())));
  out.report.rows += map.report.rows;
  out.report.seconds += map.report.seconds;
  out.report.setup_seconds += map.report.setup_seconds;
  out.report.peak_bytes = std::max(out.report.peak_bytes, map.report.peak_bytes);
  for (const std::string& n : map.report.notices) {
    auto& list = out.report.notices;
    if (std::find(list.begin(), list.end(), n) == list.end()) list.push_back(n);
  }
  return out;
}

}  // namespace onnxray
