// What the index kernels share.
#pragma once
#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {

// An index as ONNX means it: negative counts from the end. Throws outside [-n, n).
inline std::int64_t wrapped_index(std::int64_t i, std::int64_t n) {
  ONNXRAY_CHECK(i >= -n && i < n, "index ", i, " is outside [", -n, ", ", n, ")");
  return i < 0 ? i + n : i;
}

void register_index_elements(Backend& b);  // gather_elements, scatter_elements, gather_nd, scatter_nd
void register_index_select(Backend& b);    // top_k
void register_resample(Backend& b);

}  // namespace onnxray::cpu
