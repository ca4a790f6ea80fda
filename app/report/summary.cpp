#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

#include "algorithms/session.h"
#include "app/report/result_json.h"
#include "engine/op.h"
#include "engine/work.h"

namespace onnxray::app {

ModelSummary summarize(const Graph& g) {
  ModelSummary s;
  std::set<const void*> counted;
  for (const Node& node : g.nodes()) {
    ++s.nodes;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || !g.is_constant(v)) continue;
      const Tensor& t = g.value(v).constant;
      if (is_float(t.dtype()) && counted.insert(t.raw()).second) s.parameters += t.size();
    }
    s.multiply_adds += multiply_adds(g, node);
  }
  std::vector<std::pair<ValueId, std::string>> named;
  for (const auto& [name, v] : g.names()) {
    if (!g.is_constant(v)) named.emplace_back(v, name);
  }
  std::sort(named.begin(), named.end());
  for (const auto& [v, name] : named) {
    const Node* node = g.producer(v);
    s.values.push_back(
        {name, node == nullptr ? "input" : node->op->name, std::string(name_of(g.value(v).dtype)), g.value(v).dims});
  }
  return s;
}

Predictions predict(const Model& model, const Request& request, const std::vector<std::string>& labels) {
  Predictions p;
  if (model.outputs().empty() || !is_float(model.outputs()[0].dtype)) return p;
  const std::string name = model.outputs()[0].name;
  ComputeOptions quiet = request.compute;
  quiet.progress = nullptr;
  const Tensor out = evaluate(model, request.inputs, {name}, quiet).values.at(name);
  // [N, classes], with any extents of 1 behind.
  if (out.rank() < 2 || out.dims()[0] == 0) return p;
  const std::int64_t rows = out.dims()[0], classes = out.size() / rows;
  if (classes < 2 || *std::max_element(out.dims().begin() + 1, out.dims().end()) != classes) return p;
  const std::vector<double> v = out.to_doubles();
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* x = v.data() + r * classes;
    const double sum = std::accumulate(x, x + classes, 0.0);
    const bool probabilities = std::abs(sum - 1) < 1e-2 && *std::min_element(x, x + classes) >= 0;
    const double top = *std::max_element(x, x + classes);
    double z = 0;
    for (std::int64_t c = 0; c < classes; ++c) z += std::exp(x[c] - top);
    std::vector<std::int64_t> order(static_cast<std::size_t>(classes));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return x[a] > x[b]; });
    std::vector<Predictions::Class> list;
    for (std::int64_t k = 0; k < std::min<std::int64_t>(5, classes); ++k) {
      const std::int64_t c = order[static_cast<std::size_t>(k)];
      const std::string label = static_cast<std::size_t>(c) < labels.size() ? labels[static_cast<std::size_t>(c)] : "";
      list.push_back({c, label, x[c], probabilities ? x[c] : std::exp(x[c] - top) / z});
    }
    char line[64];
    std::snprintf(line, sizeof line, ", P = %.4f", list[0].probability);
    p.lines.push_back("row " + std::to_string(r) + ": " +
                      (list[0].label.empty() ? "class " + std::to_string(list[0].index)
                                             : list[0].label + " (class " + std::to_string(list[0].index) + ")") +
                      line);
    p.rows.push_back(std::move(list));
  }
  return p;
}

}  // namespace onnxray::app
