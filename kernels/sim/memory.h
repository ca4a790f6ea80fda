// Memory of the simulator: patterns that show what was not written or what should not have been.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace onnxray::sim {

inline constexpr std::size_t kRedZone = 512;           // bytes on either side
inline constexpr std::uint32_t kPoison = 0x7fc0dead;   // not yet written: a quiet NaN
inline constexpr std::uint32_t kRedWord = 0xfee1dead;  // nobody's: a huge negative number

void fill(std::byte* bytes, std::size_t count, std::uint32_t word);
// A red zone, what [bytes, + count) should be, a red zone.
void fill_between_red_zones(std::byte* bytes, std::size_t count);
// "" where the red zones around [bytes, + count) are whole, else where and how far from it somebody wrote.
[[nodiscard]] std::string red_zone_damage(const std::byte* bytes, std::size_t count, const char* what);

// The first damage around memory from allocate(), which is mended; "" without any.
[[nodiscard]] std::string check_allocations();
// Whether [pointer, + bytes) leaves the allocation that it begins in or whose red zone it touches.
[[nodiscard]] bool leaves_allocation(const void* pointer, std::size_t bytes);

}  // namespace onnxray::sim
