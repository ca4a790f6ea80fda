#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "algorithms/request.h"

namespace onnxray {

namespace {

std::size_t machine_memory() {
  std::size_t total =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  // cgroup v2, then v1; "max" and absurd numbers mean no limit.
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::size_t limit = 0;
    if (file >> limit && limit > 0) total = std::min(total, limit);
  }
  return total;
}

struct Bytes {
  std::size_t value = 0;
  [[nodiscard]] std::vector<const Graph*> graphs() const { return {}; }
};

}  // namespace

std::size_t default_memory_budget() {
  static const std::size_t total = machine_memory();  // reading it takes as long as preparing a request
  return total / 2;
}

ChunkLimits chunk_limits(const ComputeOptions& options, const Backend& backend) {
  ChunkLimits l;
  if (backend.device == nullptr) {
    // Caches decide on a CPU.
    l = {default_memory_budget(), std::size_t{768} << 20, 256};
  } else {
    // Far more than fills a GPU; and no array of a chunk has 2^31 elements, which kernels decline.
    const std::size_t half = backend.device->total_bytes() / 2;
    l = {half, std::min(half, (std::size_t{1} << 31) - 1), 1024};
  }
  if (options.memory_bytes > 0) l.budget = options.memory_bytes;
  return l;
}

std::size_t activation_bytes(const Model& model, const std::string& key, const std::function<Graph()>& make) {
  const auto count = [&] { return Bytes{plan_buffers(make()).bytes}; };
  return key.empty() ? count().value : model.shared<Bytes>("bytes " + key, count)->value;
}

}  // namespace onnxray
