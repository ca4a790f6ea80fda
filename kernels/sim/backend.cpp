#include "kernels/sim/backend.h"

#include <cstring>

#include "kernels/cuda/cuda.h"
#include "kernels/sim/simulator.h"

namespace onnxray::sim {
namespace {

class SimulatedDevice : public Device {
 public:
  [[nodiscard]] const std::string& description() const override { return description_; }
  [[nodiscard]] std::size_t total_bytes() const override { return std::size_t{4} << 30; }
  // Few, so that small shapes take the paths that large ones take on a GPU.
  [[nodiscard]] int processors() const override { return 4; }
  [[nodiscard]] bool warpgroups() const override { return true; }

  [[nodiscard]] std::shared_ptr<void> create_stream() const override { return std::make_shared<int>(0); }
  void upload(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void zero(void* p, std::size_t bytes, Stream) const override { std::memset(p, 0, bytes); }
  void synchronise(Stream) const override {}
  // Everything is queued again, as a graph's launch would.
  [[nodiscard]] std::function<void(Stream)> record(Stream, const std::function<void()>& queue) const override {
    return [queue](Stream) { queue(); };
  }

 private:
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    if (bytes > total_bytes()) {
      throw Error(ErrorKind::kOutOfMemory,
                  detail::concat(description_, ": out of memory: ", bytes, " bytes asked, ", total_bytes(), " there"));
    }
    return {sim::allocate(bytes), sim::release};
  }

  std::string description_ = "cuda-sim:0 (simulator)";
};

}  // namespace

Backend make_backend(const Backend& host) {
  return cuda::make_backend("cuda-sim", std::make_shared<SimulatedDevice>(), host);
}

}  // namespace onnxray::sim
