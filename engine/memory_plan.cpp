#include "engine/memory_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <queue>

namespace onnxray {

namespace {

constexpr std::size_t kAlign = 64;
std::size_t size_of(const Lifetime& l) { return (std::max<std::size_t>(1, l.bytes) + kAlign - 1) / kAlign * kAlign; }

// Best fit as time goes on: memory that was just used is used again.
MemoryPlan place_in_order(const std::vector<Lifetime>& lifetimes) {
  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::map<std::size_t, std::size_t> gaps;    // offset -> bytes, below plan.bytes
  using Event = std::pair<int, std::size_t>;  // (last, index)
  std::priority_queue<Event, std::vector<Event>, std::greater<>> live;
  const auto release = [&](std::size_t offset, std::size_t bytes) {
    auto next = gaps.lower_bound(offset);
    if (next != gaps.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        offset = previous->first;
        bytes += previous->second;
        gaps.erase(previous);
      }
    }
    if (next != gaps.end() && offset + bytes == next->first) {
      bytes += next->second;
      gaps.erase(next);
    }
    gaps[offset] = bytes;
  };
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    while (!live.empty() && live.top().first < lifetimes[i].first) {
      const std::size_t done = live.top().second;
      live.pop();
      release(plan.offsets[done], size_of(lifetimes[done]));
    }
    const std::size_t need = size_of(lifetimes[i]);
    auto best = gaps.end();
    for (auto it = gaps.begin(); it != gaps.end(); ++it) {
      if (it->second >= need && (best == gaps.end() || it->second < best->second)) best = it;
    }
    if (best != gaps.end()) {
      plan.offsets[i] = best->first;
      const std::size_t left = best->second - need;
      const std::size_t rest = best->first + need;
      gaps.erase(best);
      if (left > 0) gaps[rest] = left;
    } else {
      // Grow; a gap at the very end is used up first.
      std::size_t offset = plan.bytes;
      if (!gaps.empty() && gaps.rbegin()->first + gaps.rbegin()->second == plan.bytes) {
        offset = gaps.rbegin()->first;
        gaps.erase(offset);
      }
      plan.offsets[i] = offset;
      plan.bytes = offset + need;
    }
    live.emplace(lifetimes[i].last, i);
  }
  return plan;
}

// The largest first, each into the smallest gap between those that are alive with it: Y. Pisarchyk, J. Lee, "Efficient
// memory management for deep neural net inference", arXiv 2001.03288, "greedy by size".
MemoryPlan place_by_size(const std::vector<Lifetime>& lifetimes) {
  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::vector<std::size_t> order(lifetimes.size()), placed;  // placed: by offset
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of(lifetimes[a]) > size_of(lifetimes[b]); });
  for (const std::size_t i : order) {
    const Lifetime& own = lifetimes[i];
    const std::size_t need = size_of(own);
    std::size_t best = 0, best_gap = 0, end = 0;  // of those alive with it, so far
    for (const std::size_t j : placed) {
      if (lifetimes[j].first > own.last || own.first > lifetimes[j].last) continue;
      const std::size_t offset = plan.offsets[j];
      const std::size_t gap = offset > end ? offset - end : 0;
      if (gap >= need && (best_gap == 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, offset + size_of(lifetimes[j]));
    }
    plan.offsets[i] = best_gap != 0 ? best : end;
    plan.bytes = std::max(plan.bytes, plan.offsets[i] + need);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), plan.offsets[i],
                                   [&](std::size_t offset, std::size_t j) { return offset < plan.offsets[j]; }),
                  i);
  }
  return plan;
}

}  // namespace

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  constexpr std::size_t kMost = 5000;  // by size costs a comparison for each pair
  MemoryPlan plan = place_in_order(lifetimes);
  if (lifetimes.size() > kMost) return plan;
  MemoryPlan other = place_by_size(lifetimes);
  return other.bytes < plan.bytes - plan.bytes / 32 ? other : plan;
}

}  // namespace onnxray
