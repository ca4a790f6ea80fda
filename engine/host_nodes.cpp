#include "engine/host_nodes.h"

#include <cstring>

#include "engine/op.h"

namespace onnxray {
namespace {

// Host memory where a device's would be, for what kernels put there while they are prepared.
class StandIn : public Device {
 public:
  [[nodiscard]] const std::string& description() const override { return description_; }
  [[nodiscard]] std::size_t total_bytes() const override { return std::size_t{1} << 40; }
  [[nodiscard]] int processors() const override { return 1; }
  [[nodiscard]] std::shared_ptr<void> create_stream() const override { return nullptr; }
  void upload(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void zero(void* p, std::size_t bytes, Stream) const override { std::memset(p, 0, bytes); }
  void synchronise(Stream) const override {}

 private:
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    return std::shared_ptr<std::byte[]>(new std::byte[bytes]);
  }

  std::string description_ = "no device";
};

}  // namespace

std::vector<NodeId> host_nodes(const Graph& g, const Backend& backend) {
  const StandIn device;
  std::vector<NodeId> nodes;
  for (NodeId n = 0; n < static_cast<NodeId>(g.nodes().size()); ++n) {
    const Node& node = g.node(n);
    if (node.op->traits.view && !g.is_constant(node.inputs[0])) continue;
    const PrepareFn prepare = backend.find(node.op->name);
    if (prepare != nullptr) {
      // Constants are held back: a kernel packs them on the device, and must not decline for what they hold.
      const PrepareCtx context(g, node, std::vector<Tensor>(node.inputs.size()),
                               std::vector<char>(node.outputs.size(), 1), nullptr, &device);
      if (prepare(context).run) continue;
    }
    nodes.push_back(n);
  }
  return nodes;
}

}  // namespace onnxray
