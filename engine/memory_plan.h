// Places buffers with known lifetimes in one arena: the better of best fit in the order of time and the largest first.
#pragma once
#include <cstddef>
#include <vector>

namespace onnxray {

struct Lifetime {
  std::size_t bytes = 0;
  int first = 0;  // step that writes it
  int last = 0;   // last step that reads it
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  // one per lifetime, multiples of 64
  std::size_t bytes = 0;             // size of the arena
};

// Lifetimes are sorted by `first`. No two that overlap in time overlap in memory.
[[nodiscard]] MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes);

}  // namespace onnxray
