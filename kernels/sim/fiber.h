// Contexts that hand the processor to one another by hand, for the simulator. With the address or thread sanitizer
// every switch is announced to it.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || defined(ONNXRAY_SIM_UCONTEXT)
#include <ucontext.h>
#define ONNXRAY_SIM_PORTABLE_FIBERS 1
#else
#define ONNXRAY_SIM_PORTABLE_FIBERS 0
#endif
// ONNXRAY_SIM_TSAN is set by CMake: the simulator itself is not instrumented where the kernels are.
#ifndef ONNXRAY_SIM_TSAN
#define ONNXRAY_SIM_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ONNXRAY_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONNXRAY_SIM_ASAN 1
#endif
#endif
#ifndef ONNXRAY_SIM_ASAN
#define ONNXRAY_SIM_ASAN 0
#endif

namespace onnxray::sim {

inline constexpr bool kThreadSanitizer = ONNXRAY_SIM_TSAN != 0;

// Memory for fibers to run on; the lowest page is a guard.
struct Stack {
  std::byte* low = nullptr;  // the first usable byte
  std::size_t size = 0;      // usable bytes
};

// One page-aligned mapping cut into equal stacks with a guard page each.
class StackBlock {
 public:
  StackBlock(std::size_t stacks, std::size_t bytes_each);
  ~StackBlock();
  StackBlock(const StackBlock&) = delete;
  StackBlock& operator=(const StackBlock&) = delete;
  [[nodiscard]] Stack at(std::size_t index) const;
  [[nodiscard]] std::size_t size() const { return stacks_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t stacks_, stride_;
};

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes this a fiber that will begin with entry() on `stack`. `colour` shifts its first frame, since frames of many
  // threads at equal offsets compete for the same cache sets.
  void prepare(Stack stack, unsigned colour, void (*entry)());
  // Makes this stand for the calling OS thread.
  void adopt_thread();
  // Suspends `this`, which is running, and continues `to`. `last`: this fiber never continues.
  void switch_to(Fiber& to, bool last = false);
  // To be called first by entry().
  static void entered();

  // The thread sanitizer's view of the fiber; made and destroyed by the caller.
  void* tsan = nullptr;

 private:
#if ONNXRAY_SIM_PORTABLE_FIBERS
  ucontext_t context_{};
#else
  void* stack_pointer_ = nullptr;
#endif
#if ONNXRAY_SIM_ASAN
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
#endif
};

}  // namespace onnxray::sim
