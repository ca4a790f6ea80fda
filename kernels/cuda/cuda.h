// The CUDA backend's table: one registration function per op family. The same sources make two backends: the device's
// (compiled by nvcc into the module, kernels/cuda/module) and the simulator's (kernels/sim).
#pragma once
#include <optional>

#include "engine/backend.h"
#include "engine/ops/packed_mask.h"
#include "kernels/cuda/epilogue.h"

namespace onnxray::cuda {

void register_elementwise(Backend& b);  // elementwise.cuh
void register_logic(Backend& b);        // logic.cuh: comparisons, selection
void register_cast(Backend& b);         // cast.cuh
void register_map(Backend& b);          // map.cuh
void register_layout(Backend& b);       // layout.cuh
void register_reduce(Backend& b);       // reduce.cuh
void register_rows(Backend& b);         // rows.cuh
void register_index(Backend& b);        // index.cuh
void register_pool(Backend& b);         // pool.cuh
void register_patch(Backend& b);        // patch.cuh: rectangles per row
void register_random(Backend& b);       // random.cuh
void register_norm(Backend& b);         // norm.cuh
void register_conv(Backend& b);         // conv_step.cpp
void register_matmul(Backend& b);       // matmul_step.cpp
void register_attention(Backend& b);    // attention.cuh

// All of them. `host` computes what has no kernel here, and constants.
[[nodiscard]] Backend make_backend(std::string name, std::shared_ptr<const Device> device, const Backend& host);

// How a convolution or matrix product multiplies: the node's attribute `mode` ("tf32", "bf16"; absent: exact), which
// passes/compute_mode.cpp sets.
[[nodiscard]] Precision precision_of(const PrepareCtx& c);

// Where nobody reads a node's result but its mask, the result goes to scratch memory: bytes of it, and the place.
[[nodiscard]] inline std::size_t unread_result_bytes(const PrepareCtx& c) {
  if (!gives_mask_output(c.attrs) || c.output_read(0)) return 0;
  return static_cast<std::size_t>(count_of(c.out_dims())) * size_of(c.out_dtype());
}
template <class T>
[[nodiscard]] T* result_at(const RunArgs& a, std::size_t scratch_offset) {
  return a.out[0] != nullptr ? static_cast<T*>(a.out[0]) : reinterpret_cast<T*>(a.scratch + scratch_offset);
}

}  // namespace onnxray::cuda
