// The CPU backend: one registration function per op family; backend.cpp calls them all.
#pragma once
#include "engine/backend.h"
#include "engine/base/parallel.h"

namespace onnxray {

// float32 (oneDNN and vectorised loops) and float64 (plain loops, the reference) on the host.
[[nodiscard]] const Backend& cpu_backend();

namespace cpu {
void register_elementwise(Backend& b);
void register_activation(Backend& b);
void register_matmul(Backend& b);
void register_conv(Backend& b);
void register_max_pool(Backend& b);
void register_average_pool(Backend& b);
void register_norm(Backend& b);
void register_reduce(Backend& b);
void register_layout(Backend& b);
void register_index(Backend& b);
void register_sequence(Backend& b);
void register_rows(Backend& b);
void register_random(Backend& b);
void register_patch(Backend& b);
void register_packed_masks(Backend& b);  // wraps what the others registered

// Elements a parallel_for piece should have at least, so that threads pay off.
inline constexpr std::int64_t kGrain = 1 << 14;
}  // namespace cpu
}  // namespace onnxray
