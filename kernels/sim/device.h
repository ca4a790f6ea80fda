// What a kernel sees when it is compiled for the simulator: the CUDA names of indices, barriers, warp functions,
// atomics, vectors and intrinsics, as far as our kernels use them.
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};

// Set on every switch to another CUDA thread.
extern thread_local uint3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

// For what one thread does with the operands of others while these wait.
#define ONNXRAY_SIM_UNCHECKED __attribute__((noinline, no_sanitize("thread")))

namespace onnxray::sim {

void* shared_memory();  // of the running block, 128-byte aligned

// Waits until every thread of the block is here. Returns how many passed true.
int barrier(bool predicate, const char* file, unsigned line);

// The lanes of `mask` meet; the last one calls exchange(operands, lanes) with every lane's operand, then all go on.
// `orders`: also orders memory, as __syncwarp does and shuffles do not.
using Exchange = void (*)(void* const* operands, unsigned lanes);
void collective(const char* name, unsigned mask, void* operand, Exchange exchange, bool orders = false);

unsigned lane();
void fence();
void count_multiply_adds(std::uint64_t count);
void count_bank_conflicts(std::uint64_t count);
[[noreturn]] void trap(const char* what);

// cp.async of 4, 8 or 16 bytes, of which the first `valid` are read and the others become zero.
void copy_async(void* shared, const void* global, unsigned bytes, unsigned valid);
void commit_copies();
void wait_copies(unsigned groups_left);

// Tells the thread sanitizer of a read that a wrapper does on behalf of the calling thread.
void observe_read(const void* pointer, std::size_t bytes);

namespace detail {
template <class T>
struct Shuffle {
  T value;
  T result;
  unsigned source;  // lane
};
template <class T>
ONNXRAY_SIM_UNCHECKED void exchange_shuffle(void* const* operands, unsigned lanes) {
  for (unsigned i = 0; i < 32; ++i) {
    if (!(lanes >> i & 1)) continue;
    auto* mine = static_cast<Shuffle<T>*>(operands[i]);
    if (lanes >> mine->source & 1) {
      mine->result = static_cast<const Shuffle<T>*>(operands[mine->source])->value;
    } else {
      std::memset(&mine->result, 0xff, sizeof(T));  // undefined on the GPU: NaN or -1 here
    }
  }
}
template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source) {
  Shuffle<T> operand{value, value, source};
  collective(name, mask, &operand, exchange_shuffle<T>);
  return operand.result;
}
struct Vote {
  bool predicate;
  unsigned ballot;
};
ONNXRAY_SIM_UNCHECKED inline void exchange_vote(void* const* operands, unsigned lanes) {
  unsigned ballot = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes >> i & 1) ballot |= static_cast<unsigned>(static_cast<const Vote*>(operands[i])->predicate) << i;
  }
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes >> i & 1) static_cast<Vote*>(operands[i])->ballot = ballot;
  }
}
inline unsigned vote(const char* name, unsigned mask, bool predicate) {
  Vote operand{predicate, 0};
  collective(name, mask, &operand, exchange_vote);
  return operand.ballot;
}
inline void exchange_nothing(void* const*, unsigned) {}
}  // namespace detail
}  // namespace onnxray::sim

// --- barriers ---
inline void __syncthreads(std::source_location at = std::source_location::current()) {
  onnxray::sim::barrier(false, at.file_name(), at.line());
}
inline int __syncthreads_count(int predicate, std::source_location at = std::source_location::current()) {
  return onnxray::sim::barrier(predicate != 0, at.file_name(), at.line());
}
inline int __syncthreads_or(int predicate, std::source_location at = std::source_location::current()) {
  return onnxray::sim::barrier(predicate != 0, at.file_name(), at.line()) != 0;
}
inline int __syncthreads_and(int predicate, std::source_location at = std::source_location::current()) {
  return onnxray::sim::barrier(predicate == 0, at.file_name(), at.line()) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  onnxray::sim::collective("__syncwarp", mask, nullptr, onnxray::sim::detail::exchange_nothing, true);
}
inline void __threadfence() { onnxray::sim::fence(); }
inline void __threadfence_block() { onnxray::sim::fence(); }
[[noreturn]] inline void __trap() { onnxray::sim::trap("__trap"); }

// --- warp functions ---
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned first = onnxray::sim::lane() & ~static_cast<unsigned>(width - 1);
  return onnxray::sim::detail::shuffle("__shfl_sync", mask, value, first + static_cast<unsigned>(source & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned me = onnxray::sim::lane(), other = me ^ static_cast<unsigned>(lanes);
  const bool inside = other < ((me | static_cast<unsigned>(width - 1)) + 1);
  return onnxray::sim::detail::shuffle("__shfl_xor_sync", mask, value, inside ? other : me);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned me = onnxray::sim::lane(), first = me & ~static_cast<unsigned>(width - 1);
  return onnxray::sim::detail::shuffle("__shfl_up_sync", mask, value, me >= first + delta ? me - delta : me);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned me = onnxray::sim::lane(), last = me | static_cast<unsigned>(width - 1);
  return onnxray::sim::detail::shuffle("__shfl_down_sync", mask, value, me + delta <= last ? me + delta : me);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return onnxray::sim::detail::vote("__ballot_sync", mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  return onnxray::sim::detail::vote("__any_sync", mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return onnxray::sim::detail::vote("__all_sync", mask, predicate == 0) == 0;
}

// --- atomics (relaxed, like CUDA's) ---
namespace onnxray::sim::detail {
template <class T, class F>
T update(T* address, F next) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  for (;;) {
    T desired = next(old);
    if (__atomic_compare_exchange(address, &old, &desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}
}  // namespace onnxray::sim::detail
template <class T>
T atomicAdd(T* address, T value) {
  return onnxray::sim::detail::update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, T value) {
  return onnxray::sim::detail::update(address, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* address, T value) {
  return onnxray::sim::detail::update(address, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicOr(T* address, T value) {
  return onnxray::sim::detail::update(address, [=](T old) { return static_cast<T>(old | value); });
}
template <class T>
T atomicExch(T* address, T value) {
  return onnxray::sim::detail::update(address, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* address, T compare, T value) {
  return onnxray::sim::detail::update(address, [=](T old) { return old == compare ? value : old; });
}

// --- vectors ---
#define ONNXRAY_SIM_VECTORS(T, name)                           \
  struct alignas(2 * sizeof(T)) name##2 {                      \
    T x, y;                                                    \
  };                                                           \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) name##4 { \
    T x, y, z, w;                                              \
  };                                                           \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }   \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
using uchar = unsigned char;
ONNXRAY_SIM_VECTORS(float, float)
ONNXRAY_SIM_VECTORS(double, double)
ONNXRAY_SIM_VECTORS(int, int)
ONNXRAY_SIM_VECTORS(unsigned, uint)
ONNXRAY_SIM_VECTORS(unsigned char, uchar)
#undef ONNXRAY_SIM_VECTORS

// --- intrinsics ---
template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }
