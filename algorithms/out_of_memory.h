// What chunks do where somebody else uses a device's memory: fewer rows than planned, announced, never silently.
#pragma once
#include <cstdint>
#include <string>

#include "engine/base/error.h"

namespace onnxray {

[[nodiscard]] inline std::string out_of_memory_notice(std::int64_t chunk, std::int64_t planned) {
  return detail::concat("the device is out of memory: ", chunk, " rows at a time instead of ", planned);
}

}  // namespace onnxray
