// The CUDA backend on the simulator: another device for the engine, on every machine.
#pragma once
#include "engine/backend.h"

namespace onnxray::sim {

// "cuda-sim". Its memory lies apart from every Tensor, starts as NaN and is guarded by red zones; kernels run under the
// simulator's options. `host` takes what has no kernel; the result refers to it.
[[nodiscard]] Backend make_backend(const Backend& host);

}  // namespace onnxray::sim
