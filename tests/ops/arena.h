// Memory with red zones on both sides, for kernels that might write or read past the end.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace onnxray::testing {

class GuardedBuffer {
 public:
  // `bytes` of memory filled with `pattern`, like the zones around it. The first byte is 64-byte aligned plus `shift`.
  GuardedBuffer(std::size_t bytes, std::byte pattern, std::size_t shift = 0);

  [[nodiscard]] std::byte* data() { return memory_.data() + begin_; }
  [[nodiscard]] const std::byte* data() const { return memory_.data() + begin_; }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  // Empty, or which byte next to the buffer was overwritten.
  [[nodiscard]] std::string damage() const;

 private:
  std::vector<std::byte> memory_;
  std::size_t begin_ = 0, bytes_ = 0;
  std::byte pattern_;
};

}  // namespace onnxray::testing
