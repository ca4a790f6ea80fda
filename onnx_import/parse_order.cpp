#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>

#include "engine/base/error.h"
#include "onnx_import/parse.h"

namespace onnxray::onnx_import {
namespace {

// For every node the nodes of the same graph whose outputs it or its bodies read.
std::vector<std::vector<std::size_t>> predecessors(const OnnxGraph& graph) {
  std::unordered_map<std::string_view, std::size_t> producer;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const std::string& name : graph.nodes[n].outputs) {
      if (!name.empty()) producer.emplace(name, n);
    }
  }
  std::vector<std::vector<std::size_t>> out(graph.nodes.size());
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto read = [&](const std::string& name) {
      if (const auto it = producer.find(name); it != producer.end()) out[n].push_back(it->second);
    };
    std::for_each(graph.nodes[n].inputs.begin(), graph.nodes[n].inputs.end(), read);
    for (const auto& [key, attr] : graph.nodes[n].attrs) {
      const auto* body = std::get_if<std::shared_ptr<const OnnxGraph>>(&attr);
      if (body != nullptr) std::for_each((*body)->captures.begin(), (*body)->captures.end(), read);
    }
  }
  return out;
}

// Walks back from a node that was left over, whose predecessors include another such node, until one repeats.
[[noreturn]] void fail_cycle(const OnnxGraph& graph, const std::vector<std::vector<std::size_t>>& before,
                             const std::vector<std::size_t>& waiting) {
  std::size_t n = 0;
  while (waiting[n] == 0) ++n;
  std::vector<std::size_t> path;
  std::vector<char> seen(graph.nodes.size(), 0);
  while (seen[n] == 0) {
    seen[n] = 1;
    path.push_back(n);
    n = *std::find_if(before[n].begin(), before[n].end(), [&](std::size_t p) { return waiting[p] != 0; });
  }
  path.erase(path.begin(), std::find(path.begin(), path.end(), n));
  std::string text = graph.nodes[n].label;
  std::size_t shown = 0;
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    if (++shown > 5 && it + 1 != path.rend()) {
      if (shown == 6) text += " -> ...";
      continue;
    }
    text += " -> " + graph.nodes[*it].label;
  }
  fail("the graph has a cycle: ", text);
}

}  // namespace

void sort_nodes(OnnxGraph& graph) {
  const std::vector<std::vector<std::size_t>> before = predecessors(graph);
  std::vector<std::vector<std::size_t>> after(before.size());
  std::vector<std::size_t> waiting(before.size(), 0);  // predecessors not yet placed
  bool ordered = true;
  for (std::size_t n = 0; n < before.size(); ++n) {
    waiting[n] = before[n].size();
    for (const std::size_t p : before[n]) {
      after[p].push_back(n);
      ordered = ordered && p < n;
    }
  }
  if (ordered) return;
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t n = 0; n < waiting.size(); ++n) {
    if (waiting[n] == 0) ready.push(n);
  }
  std::vector<OnnxNode> sorted;
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    const std::size_t n = ready.top();
    ready.pop();
    order.push_back(n);
    for (const std::size_t s : after[n]) {
      if (--waiting[s] == 0) ready.push(s);
    }
  }
  if (order.size() != before.size()) fail_cycle(graph, before, waiting);
  sorted.reserve(order.size());
  for (const std::size_t n : order) sorted.push_back(std::move(graph.nodes[n]));
  graph.nodes = std::move(sorted);
}

}  // namespace onnxray::onnx_import
