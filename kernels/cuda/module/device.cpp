#include "kernels/cuda/module/device.h"

#include <cuda_runtime_api.h>

#include <atomic>

#include "engine/base/error.h"

namespace onnxray::cuda {
namespace {

cudaStream_t native(Stream s) { return static_cast<cudaStream_t>(s); }

// Bytes allocated now and at most; outlives the device in the deleters of its memory.
struct Allocated {
  std::atomic<std::size_t> now{0}, most{0};

  void add(std::size_t bytes) {
    const std::size_t sum = now += bytes;
    std::size_t seen = most;
    while (seen < sum && !most.compare_exchange_weak(seen, sum)) {
    }
  }
};

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    use();
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, index), "reading the device's properties");
    description_ = detail::concat("cuda:", index, " (", p.name, ")");
    total_bytes_ = p.totalGlobalMem;
    processors_ = p.multiProcessorCount;
    warpgroups_ = p.major == 9 && p.minor == 0 && built_for_sm90a();
    if (!has_code_for_this_device()) {
      fail_unsupported("device ", description_, " has compute capability ", p.major, ".", p.minor,
                       ", for which this module was not built; see ONNXRAY_CUDA_ARCHITECTURES");
    }
  }

  [[nodiscard]] const std::string& description() const override { return description_; }
  [[nodiscard]] std::size_t total_bytes() const override { return total_bytes_; }
  [[nodiscard]] int processors() const override { return processors_; }
  [[nodiscard]] bool warpgroups() const override { return warpgroups_; }
  void use() const override { check(cudaSetDevice(index_), "selecting the device"); }

  // The most that was allocated at one time.
  [[nodiscard]] std::size_t peak_bytes() const { return allocated_->most; }

  [[nodiscard]] std::shared_ptr<void> allocate_pinned(std::size_t bytes) const override {
    use();
    void* p = nullptr;
    check(cudaMallocHost(&p, bytes == 0 ? 1 : bytes), "allocating pinned host memory");
    return {p, [index = index_](void* q) {
              (void)cudaSetDevice(index);
              (void)cudaFreeHost(q);
            }};
  }

  [[nodiscard]] std::shared_ptr<void> create_stream() const override {
    use();
    cudaStream_t s = nullptr;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "creating a stream");
    return {s, [index = index_](void* q) {
              (void)cudaSetDevice(index);
              (void)cudaStreamDestroy(native(q));
            }};
  }

  // From pageable memory the runtime has copied the source when it returns.
  void upload(void* device, const void* host, std::size_t bytes, Stream stream) const override {
    use();
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, native(stream)), "copying to the device");
  }
  void download(void* host, const void* device, std::size_t bytes, Stream stream) const override {
    use();
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, native(stream)), "copying from the device");
    synchronise(stream);
  }
  void queue_upload(void* device, const void* pinned, std::size_t bytes, Stream stream) const override {
    use();
    check(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, native(stream)), "copying to the device");
  }
  void queue_download(void* pinned, const void* device, std::size_t bytes, Stream stream) const override {
    use();
    check(cudaMemcpyAsync(pinned, device, bytes, cudaMemcpyDeviceToHost, native(stream)), "copying from the device");
  }
  void zero(void* device, std::size_t bytes, Stream stream) const override {
    use();
    check(cudaMemsetAsync(device, 0, bytes, native(stream)), "clearing memory");
  }
  void synchronise(Stream stream) const override {
    use();
    check(cudaStreamSynchronize(native(stream)), "running kernels");
  }

  [[nodiscard]] std::function<void(Stream)> record(Stream stream, const std::function<void()>& queue) const override {
    use();
    // Relaxed within the thread: other threads may allocate while this one records.
    check(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal), "starting to record");
    cudaGraph_t graph = nullptr;
    try {
      queue();
    } catch (...) {
      (void)cudaStreamEndCapture(native(stream), &graph);
      if (graph != nullptr) (void)cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(native(stream), &graph), "recording");
    cudaGraphExec_t made = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&made, graph, 0);
    (void)cudaGraphDestroy(graph);
    check(status, "preparing the recorded steps");
    const std::shared_ptr<CUgraphExec_st> exec(made, [index = index_](cudaGraphExec_t e) {
      (void)cudaSetDevice(index);
      (void)cudaGraphExecDestroy(e);
    });
    return [this, exec](Stream s) {
      use();
      check(cudaGraphLaunch(exec.get(), native(s)), "starting the recorded steps");
    };
  }

 private:
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    use();
    void* p = nullptr;
    const cudaError_t status = cudaMalloc(&p, bytes == 0 ? 1 : bytes);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();  // forgotten: the next call starts clean
      std::size_t free = 0, total = 0;
      (void)cudaMemGetInfo(&free, &total);
      throw Error(ErrorKind::kOutOfMemory,
                  detail::concat(description_, ": out of memory: ", bytes >> 20, " MiB asked, ", free >> 20, " of ",
                                 total >> 20, " MiB free; --memory or --chunk make it less"));
    }
    check(status, "allocating memory");
    allocated_->add(bytes);
    // Waits for everything that may still use the memory.
    return {p, [index = index_, allocated = allocated_, bytes](void* q) {
              (void)cudaSetDevice(index);
              (void)cudaFree(q);
              allocated->now -= bytes;
            }};
  }

  void check(cudaError_t status, const char* doing) const {
    if (status == cudaSuccess) return;
    const std::string name = description_.empty() ? detail::concat("cuda:", index_) : description_;
    fail_unsupported(name, ": ", doing, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  }

  int index_;
  std::string description_;
  std::size_t total_bytes_ = 0;
  int processors_ = 1;
  bool warpgroups_ = false;
  std::shared_ptr<Allocated> allocated_ = std::make_shared<Allocated>();
};

std::string version_text(int v) { return detail::concat(v / 1000, ".", v % 1000 / 10); }

}  // namespace

std::shared_ptr<const Device> open_device(int index) {
  int driver = 0, runtime = 0, count = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  if (driver == 0) fail_unsupported("device cuda: there is no NVIDIA driver on this machine (libcuda.so.1)");
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    fail_unsupported("device cuda: the NVIDIA driver supports CUDA ", version_text(driver), ", this build needs ",
                     version_text(runtime));
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    fail_unsupported("device cuda: the NVIDIA driver sees no device");
  }
  if (status != cudaSuccess) {
    fail_unsupported("device cuda: the NVIDIA driver does not answer: ", cudaGetErrorString(status), " (",
                     cudaGetErrorName(status), ")");
  }
  ONNXRAY_CHECK(index >= 0 && index < count, "device cuda:", index, ": there ", count == 1 ? "is " : "are ", count,
                count == 1 ? " device" : " devices", ", numbered from 0");
  return std::make_shared<CudaDevice>(index);
}

std::size_t peak_bytes(const Device& device) { return dynamic_cast<const CudaDevice&>(device).peak_bytes(); }

}  // namespace onnxray::cuda
