#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

Backend make_backend(std::string name, std::shared_ptr<const Device> device, const Backend& host) {
  Backend b(std::move(name));
  b.wants_channels_last = true;
  b.wants_packed_masks = true;
  b.device = std::move(device);
  b.fallback = &host;
  register_elementwise(b);
  register_logic(b);
  register_cast(b);
  register_map(b);
  register_layout(b);
  register_reduce(b);
  register_rows(b);
  register_index(b);
  register_pool(b);
  register_patch(b);
  register_random(b);
  register_norm(b);
  register_conv(b);
  register_matmul(b);
  register_attention(b);
  return b;
}

Precision precision_of(const PrepareCtx& c) {
  const std::string mode = c.attrs.text("mode", "exact");
  if (mode == "tf32") return Precision::kTf32;
  if (mode == "bf16") return Precision::kBf16;
  ONNXRAY_ASSERT(mode == "exact", mode);
  return Precision::kExact;
}

}  // namespace onnxray::cuda
