// What a device leaves to the host, known without the device: for `onnxray doctor`.
#pragma once
#include <vector>

#include "engine/backend.h"
#include "engine/graph.h"

namespace onnxray {

// The nodes of a lowered graph that a plan on `backend` would run on the host: those without a kernel, and those whose
// kernel declines their shapes or dtypes. Nothing runs, so the backend need not have a device.
[[nodiscard]] std::vector<NodeId> host_nodes(const Graph& g, const Backend& backend);

}  // namespace onnxray
