// The float32 kernels that oneDNN gives; nothing where it declines a shape (the caller's own loops take over).
#pragma once
#include <optional>

#include "engine/backend.h"

namespace onnxray::cpu::onednn {

[[nodiscard]] std::optional<Step> conv(const PrepareCtx& c, bool input_grad);
[[nodiscard]] std::optional<Step> matmul(const PrepareCtx& c);

}  // namespace onnxray::cpu::onednn
