// Device: the memory and the queue of the machine that a backend's kernels run on. A backend without one runs on the
// host: its kernels read and write Tensors in place.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/error.h"

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

// Memory of a device that somebody holds for later and can do without.
class IdleMemory {
 public:
  virtual ~IdleMemory() = default;
  // Gives it back. Whether there was any.
  virtual bool release() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  // "cuda:0 (NVIDIA H200)"
  [[nodiscard]] virtual const std::string& description() const = 0;
  [[nodiscard]] virtual std::size_t total_bytes() const = 0;
  // Multiprocessors: how many blocks run at once, by which kernels choose their tiles.
  [[nodiscard]] virtual int processors() const = 0;
  // Whether kernels may multiply by warpgroups: a Hopper GPU and a build for sm_90a.
  [[nodiscard]] virtual bool warpgroups() const { return false; }
  // Makes it the calling thread's device; called before a thread queues steps.
  virtual void use() const {}

  // 256-byte aligned, contents undefined. Where nothing is free, idle memory is released and the allocation tried
  // again. Throws kOutOfMemory with what was asked and what is free.
  [[nodiscard]] std::shared_ptr<void> allocate(std::size_t bytes) const {
    try {
      return take(bytes);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kOutOfMemory || !release_idle()) throw;
    }
    return take(bytes);
  }
  // Host memory from and to which copies can be queued.
  [[nodiscard]] virtual std::shared_ptr<void> allocate_pinned(std::size_t bytes) const {
    return std::shared_ptr<std::byte[]>(new std::byte[bytes + 1]);
  }
  [[nodiscard]] virtual std::shared_ptr<void> create_stream() const = 0;
  // From now on `idle` is asked when memory is short, as long as it lives.
  void register_idle(const std::weak_ptr<IdleMemory>& idle) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(idle_, [](const auto& i) { return i.expired(); });
    idle_.push_back(idle);
  }

  // In the order of the stream. The host memory of an upload may be reused when the call returns; a download has
  // arrived when the call returns.
  virtual void upload(void* device, const void* host, std::size_t bytes, Stream stream) const = 0;
  virtual void download(void* host, const void* device, std::size_t bytes, Stream stream) const = 0;
  // The same, only queued: `pinned` is from allocate_pinned and in use until the stream has been synchronised.
  virtual void queue_upload(void* device, const void* pinned, std::size_t bytes, Stream stream) const {
    upload(device, pinned, bytes, stream);
  }
  virtual void queue_download(void* pinned, const void* device, std::size_t bytes, Stream stream) const {
    download(pinned, device, bytes, stream);
  }
  virtual void zero(void* device, std::size_t bytes, Stream stream) const = 0;
  // Waits until everything queued is done. Throws when the device reports an error.
  virtual void synchronise(Stream stream) const = 0;

  // Records what `queue` puts on the stream, without running it; the result queues it again at once. Null where the
  // device cannot record.
  [[nodiscard]] virtual std::function<void(Stream)> record(Stream stream, const std::function<void()>& queue) const {
    (void)stream, (void)queue;
    return nullptr;
  }

 private:
  // allocate() without a second try.
  [[nodiscard]] virtual std::shared_ptr<void> take(std::size_t bytes) const = 0;

  bool release_idle() const {
    std::vector<std::weak_ptr<IdleMemory>> all;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      all = idle_;
    }
    bool any = false;
    for (const auto& weak : all) {
      if (const auto idle = weak.lock()) any = idle->release() || any;
    }
    return any;
  }

  mutable std::mutex mutex_;
  mutable std::vector<std::weak_ptr<IdleMemory>> idle_;
};

}  // namespace onnxray
