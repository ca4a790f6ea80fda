#include "engine/memory_plan.h"

#include <algorithm>
#include <map>
#include <queue>

namespace onnxray {

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  constexpr std::size_t kAlign = 64;
  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::map<std::size_t, std::size_t> gaps;    // offset -> bytes, below plan.bytes
  using Event = std::pair<int, std::size_t>;  // (last, index)
  std::priority_queue<Event, std::vector<Event>, std::greater<>> live;
  const auto size_of = [&](std::size_t i) {
    return (std::max<std::size_t>(1, lifetimes[i].bytes) + kAlign - 1) / kAlign * kAlign;
  };
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
      release(plan.offsets[done], size_of(done));
    }
    const std::size_t need = size_of(i);
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

}  // namespace onnxray
