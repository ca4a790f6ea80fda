#include <cstring>

#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {
namespace {

Step split(const PrepareCtx& c) {
  const Dims& d = c.dims(0);
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::vector<std::int64_t> sizes = c.attrs.ints("sizes");
  const auto element = static_cast<std::int64_t>(size_of(c.dtype(0)));
  const std::int64_t outer = count_of(d) == 0 ? 0 : product(d, 0, axis);
  const std::int64_t inner = product(d, axis + 1, d.size()) * element;  // bytes of one step along the axis
  const std::int64_t line = d[axis] * inner;
  return {[=](const RunArgs& a) {
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::int64_t bytes = sizes[i] * inner;
      const auto* from = static_cast<const std::byte*>(a.in[0]) + begin;
      auto* to = static_cast<std::byte*>(a.out[i]);
      begin += bytes;
      if (to == nullptr || bytes == 0) continue;
      for (std::int64_t o = 0; o < outer; ++o) std::memcpy(to + o * bytes, from + o * line, bytes);
    }
  }};
}

}  // namespace

void register_sequence(Backend& b) { b.add("split", split); }

}  // namespace onnxray::cpu
