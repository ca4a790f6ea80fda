// Device: the memory and the queue of the machine that a backend's kernels run on. A backend without one runs on the
// host: its kernels read and write Tensors in place.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace onnxray {

// A queue of work in order; opaque to everybody but the device.
using Stream = void*;

// What a kernel found wrong where it could not throw, in the device's memory: the first one wins. Checked whenever
// results are copied to the host.
struct Fault {
  std::int32_t step;  // 1 + the plan's step; 0: none
  std::int32_t unused;
  std::int64_t value;  // the index that is out of range
};

class Device {
 public:
  virtual ~Device() = default;
  // "cuda:0 (NVIDIA H200)"
  [[nodiscard]] virtual const std::string& description() const = 0;
  [[nodiscard]] virtual std::size_t total_bytes() const = 0;
  // Multiprocessors: how many blocks run at once, by which kernels choose their tiles.
  [[nodiscard]] virtual int processors() const = 0;
  // Makes it the calling thread's device; called before a thread queues steps.
  virtual void use() const {}

  // 256-byte aligned, contents undefined. Throws kOutOfMemory with what was asked and what is free.
  [[nodiscard]] virtual std::shared_ptr<void> allocate(std::size_t bytes) const = 0;
  [[nodiscard]] virtual std::shared_ptr<void> create_stream() const = 0;

  // In the order of the stream. The host memory of an upload may be reused when the call returns; a download has
  // arrived when the call returns.
  virtual void upload(void* device, const void* host, std::size_t bytes, Stream stream) const = 0;
  virtual void download(void* host, const void* device, std::size_t bytes, Stream stream) const = 0;
  virtual void zero(void* device, std::size_t bytes, Stream stream) const = 0;
  // Waits until everything queued is done. Throws when the device reports an error.
  virtual void synchronise(Stream stream) const = 0;

  // Records what `queue` puts on the stream, without running it; the result queues it again at once. Null where the
  // device cannot record.
  [[nodiscard]] virtual std::function<void(Stream)> record(Stream stream, const std::function<void()>& queue) const {
    (void)stream, (void)queue;
    return nullptr;
  }
};

}  // namespace onnxray
