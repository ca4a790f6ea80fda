#include "kernels/sim/fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "engine/base/error.h"

#if ONNXRAY_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if ONNXRAY_SIM_TSAN
extern "C" void __tsan_switch_to_fiber(void* fiber, unsigned flags);
#endif

#if !ONNXRAY_SIM_PORTABLE_FIBERS
// void onnxray_sim_switch(void** save, void* load): pushes what the System V ABI wants preserved, exchanges the stacks.
extern "C" void onnxray_sim_switch(void** save, void* load);
asm(R"(
.text
.globl onnxray_sim_switch
.hidden onnxray_sim_switch
.type onnxray_sim_switch,@function
.p2align 4
onnxray_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size onnxray_sim_switch,.-onnxray_sim_switch
)");
#endif

namespace onnxray::sim {
namespace {

std::size_t page() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

#if ONNXRAY_SIM_ASAN
#endif

}  // namespace

StackBlock::StackBlock(std::size_t stacks, std::size_t bytes_each) : stacks_(stacks) {
  const std::size_t usable = (bytes_each + page() - 1) / page() * page();
  stride_ = usable + page();
  void* memory =
      mmap(nullptr, stride_ * stacks_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ONNXRAY_CHECK(memory != MAP_FAILED, "simulator: no memory for ", stacks, " stacks of ", bytes_each, " bytes");
  memory_ = static_cast<std::byte*>(memory);
  for (std::size_t i = 0; i < stacks_; ++i) mprotect(memory_ + i * stride_, page(), PROT_NONE);
}

StackBlock::~StackBlock() { munmap(memory_, stride_ * stacks_); }

Stack StackBlock::at(std::size_t index) const { return {memory_ + index * stride_ + page(), stride_ - page()}; }

void Fiber::prepare(Stack stack, unsigned colour, void (*entry)()) {
  const std::size_t shift = (colour % 16) * 192;
#if ONNXRAY_SIM_ASAN
  bottom_ = stack.low;
  size_ = stack.size;
  __asan_unpoison_memory_region(stack.low, stack.size);  // of frames that never returned
#endif
#if ONNXRAY_SIM_PORTABLE_FIBERS
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack.low;
  context_.uc_stack.ss_size = stack.size - shift;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#else
  // What onnxray_sim_switch pops: six registers and the return address. At entry() the stack pointer is 8 mod 16, as
  // after a call, and its return address is null.
  auto* top = reinterpret_cast<std::uintptr_t*>(stack.low + stack.size - shift);
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  stack_pointer_ = top;
#endif
}

void Fiber::adopt_thread() {
#if ONNXRAY_SIM_ASAN
  pthread_attr_t attributes;
  void* low = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &low, &size_);
  pthread_attr_destroy(&attributes);
  bottom_ = low;
#endif
}

void Fiber::switch_to(Fiber& to, [[maybe_unused]] bool last) {
#if ONNXRAY_SIM_TSAN
  constexpr unsigned kNoSync = 1;
  __tsan_switch_to_fiber(to.tsan, kNoSync);
#endif
#if ONNXRAY_SIM_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(last ? nullptr : &fake, to.bottom_, to.size_);
#endif
#if ONNXRAY_SIM_PORTABLE_FIBERS
  swapcontext(&context_, &to.context_);
#else
  onnxray_sim_switch(&stack_pointer_, to.stack_pointer_);
#endif
#if ONNXRAY_SIM_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::entered() {
#if ONNXRAY_SIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

}  // namespace onnxray::sim
