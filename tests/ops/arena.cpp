#include "tests/ops/arena.h"

#include <cstdint>

namespace onnxray::testing {

namespace {
constexpr std::size_t kZone = 512;
constexpr std::size_t kAlign = 64;
}  // namespace

GuardedBuffer::GuardedBuffer(std::size_t bytes, std::byte pattern, std::size_t shift)
    : memory_(bytes + 2 * kZone + kAlign + shift, pattern), bytes_(bytes), pattern_(pattern) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data()) + kZone;
  begin_ = kZone + (kAlign - address % kAlign) % kAlign + shift;
}

std::string GuardedBuffer::damage() const {
  for (std::size_t i = 0; i < memory_.size(); ++i) {
    if (i >= begin_ && i < begin_ + bytes_) continue;
    if (memory_[i] == pattern_) continue;
    return i < begin_ ? std::to_string(begin_ - i) + " bytes before the begin"
                      : std::to_string(i - begin_ - bytes_) + " bytes past the end";
  }
  return {};
}

}  // namespace onnxray::testing
