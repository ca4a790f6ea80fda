// SHA-256 (FIPS 180-4), for digests of files.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace onnxray {

// 64 hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace onnxray
