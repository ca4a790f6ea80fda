#include "kernels/sim/memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "engine/base/error.h"
#include "kernels/sim/simulator.h"

namespace onnxray::sim {
namespace {

// The first byte that is not as fill() left it, or `count`.
std::size_t first_change(const std::byte* bytes, std::size_t count, std::uint32_t word) {
  std::byte expected[4];
  std::memcpy(expected, &word, 4);
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes[i] != expected[i % 4]) return i;
  }
  return count;
}

struct Allocations {
  std::mutex mutex;
  std::map<const std::byte*, std::size_t> sizes;  // by the pointer handed out

  static Allocations& get() {
    static auto* all = new Allocations;  // outlives every static that releases memory
    return *all;
  }
};

}  // namespace

void fill(std::byte* bytes, std::size_t count, std::uint32_t word) {
  for (std::size_t i = 0; i + 4 <= count; i += 4) std::memcpy(bytes + i, &word, 4);
  std::memcpy(bytes + count / 4 * 4, &word, count % 4);
}

void fill_between_red_zones(std::byte* bytes, std::size_t count) {
  fill(bytes - kRedZone, kRedZone, kRedWord);
  fill(bytes, count, kPoison);
  fill(bytes + count, kRedZone, kRedWord);
}

std::string red_zone_damage(const std::byte* bytes, std::size_t count, const char* what) {
  const std::size_t before = first_change(bytes - kRedZone, kRedZone, kRedWord);
  if (before < kRedZone) {
    return onnxray::detail::concat("a write ", kRedZone - before, " bytes before ", what, " of ", count, " bytes");
  }
  const std::size_t after = first_change(bytes + count, kRedZone, kRedWord);
  if (after < kRedZone) {
    return onnxray::detail::concat("a write ", after, " bytes past the end of ", what, " of ", count, " bytes");
  }
  return "";
}

std::string check_allocations() {
  Allocations& all = Allocations::get();
  const std::lock_guard lock(all.mutex);
  for (const auto& [pointer, size] : all.sizes) {
    std::string text = red_zone_damage(pointer, size, "device memory");
    if (text.empty()) continue;
    auto* bytes = const_cast<std::byte*>(pointer);
    fill(bytes - kRedZone, kRedZone, kRedWord);
    fill(bytes + size, kRedZone, kRedWord);
    return text;
  }
  return "";
}

bool leaves_allocation(const void* pointer, std::size_t bytes) {
  Allocations& all = Allocations::get();
  const std::lock_guard lock(all.mutex);
  const auto* from = static_cast<const std::byte*>(pointer);
  auto next = all.sizes.upper_bound(from);
  if (next != all.sizes.end() && from + bytes > next->first - kRedZone) return true;
  if (next == all.sizes.begin()) return false;
  const auto& [begin, size] = *--next;
  return from < begin + size + kRedZone && from + bytes > begin + size;
}

void* allocate(std::size_t bytes) {
  const std::size_t whole = (bytes + 2 * kRedZone + 255) / 256 * 256;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(256, whole));
  ONNXRAY_CHECK(memory != nullptr, "simulator: no memory for ", bytes, " bytes");
  std::byte* pointer = memory + kRedZone;
  fill_between_red_zones(pointer, bytes);
  Allocations& all = Allocations::get();
  const std::lock_guard lock(all.mutex);
  all.sizes.emplace(pointer, bytes);
  return pointer;
}

void release(void* pointer) {
  if (pointer == nullptr) return;
  std::string damage;
  auto* bytes = static_cast<std::byte*>(pointer);
  {
    Allocations& all = Allocations::get();
    const std::lock_guard lock(all.mutex);
    const auto found = all.sizes.find(bytes);
    ONNXRAY_ASSERT(found != all.sizes.end(), "simulator: release of a pointer that allocate did not give");
    damage = red_zone_damage(bytes, found->second, "device memory");
    all.sizes.erase(found);
  }
  std::free(bytes - kRedZone);
  ONNXRAY_ASSERT(damage.empty(), "simulator: ", damage);
}

}  // namespace onnxray::sim
