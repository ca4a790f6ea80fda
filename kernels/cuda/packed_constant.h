// Constant operands in the form that a kernel reads, on the device, once per model.
#pragma once
#include <memory>
#include <string>

#include "engine/backend.h"

namespace onnxray::cuda {

// Constant input i of a node packed by pack(from, to, stream), device pointers to float32, into `bytes`. `form` names
// everything that the packed form depends on besides the constant.
template <class Pack>
[[nodiscard]] std::shared_ptr<const void> packed_constant(const PrepareCtx& c, std::size_t i, const std::string& form,
                                                          std::size_t bytes, Pack pack) {
  const Device& device = *c.device();
  const std::string key = detail::concat("packed on ", device.description(), ' ', bytes, ' ', form);
  return c.prepared<void>(i, key, [&]() -> std::shared_ptr<const void> {
    const Tensor w = c.constant(i);
    const std::shared_ptr<void> stream = device.create_stream(), raw = device.allocate(w.bytes());
    std::shared_ptr<void> packed = device.allocate(bytes);
    device.upload(raw.get(), w.raw(), w.bytes(), stream.get());
    device.use();
    pack(static_cast<const float*>(raw.get()), static_cast<float*>(packed.get()), stream.get());
    device.synchronise(stream.get());
    return packed;
  });
}

}  // namespace onnxray::cuda
