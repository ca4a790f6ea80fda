// The language our kernels are written in: CUDA, seen through a few names that also compile for the simulator
// (kernels/sim, macro ONNXRAY_SIMULATE). Rules for a kernel source:
//
//  - it is a .cuh in kernels/cuda that includes this header and no CUDA header; nvcc compiles it in a .cu there, the
//    host compiler in a .cpp of kernels/sim;
//  - kernels are ONNXRAY_KERNEL(void) name(args...) or ONNXRAY_KERNEL_BOUNDS(threads, blocks_per_sm) name(args...);
//    a struct that is indexed at run time is an ONNXRAY_CONSTANT_PARAM, which is read where it lies and not copied;
//    device functions are ONNXRAY_DEVICE T name(args...), those for both sides ONNXRAY_HOST_DEVICE;
//  - shared memory is dynamic only, ONNXRAY_SHARED(T, name): one array, at most one per kernel, cut by hand;
//  - kernels start through launch() only;
//  - no inline assembly outside this header and wgmma.cuh;
//  - indices, __syncthreads, __shfl_*_sync, atomics, float4, __ldg ... have their CUDA names.
#pragma once
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "engine/base/error.h"
#include "kernels/cuda/epilogue.h"

#ifdef ONNXRAY_SIMULATE
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/sim/device.h"
#include "kernels/sim/simulator.h"
#define ONNXRAY_KERNEL(type) [[maybe_unused]] static type
#define ONNXRAY_KERNEL_BOUNDS(threads, blocks_per_sm) [[maybe_unused]] static void
#define ONNXRAY_CONSTANT_PARAM const
#define ONNXRAY_DEVICE inline
#define ONNXRAY_HOST_DEVICE inline
#define ONNXRAY_SHARED(T, name) T* name = static_cast<T*>(::onnxray::sim::shared_memory())
#else
#include <cuda_runtime.h>
#define ONNXRAY_KERNEL(type) static __global__ type
#define ONNXRAY_KERNEL_BOUNDS(threads, blocks_per_sm) static __global__ void __launch_bounds__(threads, blocks_per_sm)
#define ONNXRAY_CONSTANT_PARAM const __grid_constant__
#define ONNXRAY_DEVICE __device__ __forceinline__
#define ONNXRAY_HOST_DEVICE __host__ __device__ __forceinline__
#define ONNXRAY_SHARED(T, name)                                     \
  extern __shared__ __align__(128) unsigned char onnxray_shared_[]; \
  T* name = reinterpret_cast<T*>(onnxray_shared_)
#endif

namespace onnxray::cuda {

inline constexpr unsigned kFullMask = 0xffffffffu;
inline constexpr std::size_t kMaxShared = 227 * 1024;  // bytes a block may ask for on sm_90; 163 KiB on sm_80

#ifdef ONNXRAY_SIMULATE
using Dim3 = sim::Dim3;

// Starts `kernel` on a grid of blocks. Throws Error where the launch is refused.
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), Dim3 grid, Dim3 block, std::size_t shared_bytes, Stream, Args... args) {
  struct Closure {
    void (*kernel)(Params...);
    std::tuple<Params...> params;
  };
  const Closure closure{kernel, std::tuple<Params...>(static_cast<Params>(args)...)};
  sim::run(
      grid, block, shared_bytes,
      [](const void* pointer) {
        const auto* c = static_cast<const Closure*>(pointer);
        std::apply(c->kernel, c->params);
      },
      &closure);
}
#else
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Starts `kernel` on a grid of blocks. Throws Error where the launch is refused.
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), Dim3 grid, Dim3 block, std::size_t shared_bytes, Stream stream, Args... args) {
  cudaError_t status = cudaSuccess;
  if (shared_bytes > 48 * 1024) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  }
  if (status == cudaSuccess) {
    std::tuple<Params...> params(static_cast<Params>(args)...);
    status = std::apply(
        [&](auto&... param) {
          void* addresses[] = {const_cast<void*>(static_cast<const void*>(&param))..., nullptr};
          return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(grid.x, grid.y, grid.z),
                                  dim3(block.x, block.y, block.z), addresses, shared_bytes,
                                  static_cast<cudaStream_t>(stream));
        },
        params);
  }
  if (status != cudaSuccess)
    fail_unsupported("CUDA: no kernel starts (grid ", grid.x, "x", grid.y, "x", grid.z, ", block ", block.x * block.y,
                     ", ", shared_bytes, " bytes of shared memory): ", cudaGetErrorString(status));
}
#endif

// --- asynchronous copies to shared memory (cp.async) ---
// 16 bytes (through L2 only) from global to shared memory, both aligned to 16 bytes; the bytes past `valid` become zero
// and their source is not read.
ONNXRAY_DEVICE void copy_async_16(void* shared, const void* global, unsigned valid = 16) {
#ifdef ONNXRAY_SIMULATE
  sim::copy_async(shared, global, 16, valid);
#else
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(valid)
      : "memory");
#endif
}

// The same for 4 bytes, aligned to 4.
ONNXRAY_DEVICE void copy_async_4(void* shared, const void* global, unsigned valid = 4) {
#ifdef ONNXRAY_SIMULATE
  sim::copy_async(shared, global, 4, valid);
#else
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(valid)
      : "memory");
#endif
}

// Closes the group of the copies this thread has issued since the last call.
ONNXRAY_DEVICE void copy_async_commit() {
#ifdef ONNXRAY_SIMULATE
  sim::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most the kGroups newest groups of this thread are pending. Other threads see the bytes after a
// barrier.
template <int kGroups>
ONNXRAY_DEVICE void copy_async_wait() {
#ifdef ONNXRAY_SIMULATE
  sim::wait_copies(kGroups);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

// x, of which the compiler knows nothing more: it then computes what depends on x where it is needed, instead of
// keeping one register for every address of an unrolled loop from one iteration to the next.
ONNXRAY_DEVICE int opaque(int x) {
#ifndef ONNXRAY_SIMULATE
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// --- number formats ---
// The nearest TF32 (10 mantissa bits, ties away from zero) as a float32.
ONNXRAY_DEVICE float round_tf32(float x) {
#ifdef ONNXRAY_SIMULATE
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  return std::bit_cast<float>((bits + 0x1000u) & 0xffffe000u);
#else
  std::uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return __uint_as_float(y);
#endif
}

// Two bfloat16, rounded to nearest even, `low` in the low half.
ONNXRAY_DEVICE std::uint32_t pack_bf16(float low, float high) {
#ifdef ONNXRAY_SIMULATE
  const auto round = [](float x) -> std::uint32_t {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
    if (x != x) return 0x7fffu;
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#else
  std::uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
#endif
}
ONNXRAY_DEVICE float bf16_low(std::uint32_t pair) { return __uint_as_float(pair << 16); }
ONNXRAY_DEVICE float bf16_high(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// --- tensor cores ---
// Fragments of one warp, in 32-bit words; g = lane / 4, q = lane % 4 (PTX ISA, mma.m16n8k8 .tf32 and mma.m16n8k16
// .bf16: the same layout with one tf32 or two bf16 to a word):
//   A [16 rows x 8 words]     a0 = (g, q)  a1 = (g + 8, q)  a2 = (g, q + 4)  a3 = (g + 8, q + 4)
//   B [8 words x 8 columns]   b0 = (q, g)  b1 = (q + 4, g)
//   C [16 rows x 8 columns]   c0 = (g, 2q) c1 = (g, 2q + 1) c2 = (g + 8, 2q) c3 = (g + 8, 2q + 1)
struct Tf32 {};
struct Bf16 {};

#ifdef ONNXRAY_SIMULATE
namespace detail {
template <int MI, int NI>
struct MmaOperand {
  float (*acc)[NI][4];
  const std::uint32_t (*a)[4];
  const std::uint32_t (*b)[2];
};
// c += a b, k ascending within one accumulator: the products of two tf32 or two bf16 are exact in float32.
template <int kRows, int kDepth, int kCols>
ONNXRAY_SIM_UNCHECKED void multiply_and_add(float (&c)[kRows][kCols], const float (&a)[kRows][kDepth],
                                            const float (&b)[kDepth][kCols]) {
  if (sim::options().truncate_sums) {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kCols; ++j) {
        double sum = c[i][j];
        for (int k = 0; k < kDepth; ++k) sum += static_cast<double>(a[i][k]) * b[k][j];
        c[i][j] = static_cast<float>(sum);
        if (std::abs(static_cast<double>(c[i][j])) > std::abs(sum)) c[i][j] = std::nextafter(c[i][j], 0.0f);
      }
    }
  } else {
    for (int i = 0; i < kRows; ++i) {
      for (int k = 0; k < kDepth; ++k) {
        const float x = a[i][k];
        for (int j = 0; j < kCols; ++j) c[i][j] += x * b[k][j];
      }
    }
  }
  sim::count_multiply_adds(static_cast<std::uint64_t>(kRows) * kCols * kDepth);
}
template <class Kind, int MI, int NI>
ONNXRAY_SIM_UNCHECKED void exchange_mma(void* const* operands, unsigned lanes) {
  constexpr int kPerWord = std::is_same_v<Kind, Bf16> ? 2 : 1;
  constexpr int kDepth = 8 * kPerWord, kRows = 16 * MI, kCols = 8 * NI;
  if (lanes != kFullMask) sim::trap("mma needs all 32 lanes");
  float a[kRows][kDepth], b[kDepth][kCols], c[kRows][kCols];
  const auto unpack = [](std::uint32_t word, int i) {
    if (kPerWord == 1) return std::bit_cast<float>(word & 0xffffe000u);  // the tensor core ignores the other bits
    return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000u);
  };
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const MmaOperand<MI, NI>*>(operands[lane]);
    const int g = lane / 4, q = lane % 4;
    for (int i = 0; i < MI; ++i) {
      for (int w = 0; w < 4; ++w) {
        for (int p = 0; p < kPerWord; ++p) {
          a[16 * i + g + 8 * (w & 1)][(q + 4 * (w >> 1)) * kPerWord + p] = unpack(o->a[i][w], p);
        }
      }
      for (int j = 0; j < NI; ++j) {
        for (int w = 0; w < 4; ++w) c[16 * i + g + 8 * (w >> 1)][8 * j + 2 * q + (w & 1)] = o->acc[i][j][w];
      }
    }
    for (int j = 0; j < NI; ++j) {
      for (int w = 0; w < 2; ++w) {
        for (int p = 0; p < kPerWord; ++p) b[(q + 4 * w) * kPerWord + p][8 * j + g] = unpack(o->b[j][w], p);
      }
    }
  }
  multiply_and_add(c, a, b);
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const MmaOperand<MI, NI>*>(operands[lane]);
    const int g = lane / 4, q = lane % 4;
    for (int i = 0; i < MI; ++i) {
      for (int j = 0; j < NI; ++j) {
        for (int w = 0; w < 4; ++w) o->acc[i][j][w] = c[16 * i + g + 8 * (w >> 1)][8 * j + 2 * q + (w & 1)];
      }
    }
  }
}
}  // namespace detail
#endif

// acc[i][j] += A_i B_j for MI x NI tiles of m16n8, all lanes of the warp together. TF32 operands should be rounded
// (round_tf32): the tensor core truncates.
template <class Kind, int MI, int NI>
ONNXRAY_DEVICE void mma(float (&acc)[MI][NI][4], const std::uint32_t (&a)[MI][4], const std::uint32_t (&b)[NI][2]) {
#ifdef ONNXRAY_SIMULATE
  detail::MmaOperand<MI, NI> operand{acc, a, b};
  sim::collective("mma", kFullMask, &operand, detail::exchange_mma<Kind, MI, NI>);
#else
#pragma unroll
  for (int i = 0; i < MI; ++i) {
#pragma unroll
    for (int j = 0; j < NI; ++j) {
      float(&c)[4] = acc[i][j];
      if constexpr (std::is_same_v<Kind, Tf32>) {
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
      } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
      }
    }
  }
#endif
}

#ifdef ONNXRAY_SIMULATE
namespace detail {
struct LdmatrixOperand {
  const std::uint32_t* row;
  std::uint32_t* result;
};
ONNXRAY_SIM_UNCHECKED inline void exchange_ldmatrix(void* const* operands, unsigned lanes) {
  if (lanes != kFullMask) sim::trap("ldmatrix needs all 32 lanes");
  // Eight lines of 16 bytes at a time: one pass where they lie in different groups of four banks.
  for (int matrix = 0; matrix < 4; ++matrix) {
    int lines[8] = {}, most = 1;
    for (int i = 0; i < 8; ++i) {
      const auto* row = static_cast<const LdmatrixOperand*>(operands[8 * matrix + i])->row;
      most = std::max(most, ++lines[reinterpret_cast<std::uintptr_t>(row) / 16 % 8]);
    }
    sim::count_bank_conflicts(static_cast<std::uint64_t>(most - 1));
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* mine = static_cast<LdmatrixOperand*>(operands[lane]);
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto* from = static_cast<const LdmatrixOperand*>(operands[8 * matrix + lane / 4]);
      mine->result[matrix] = from->row[lane % 4];
    }
  }
}
}  // namespace detail
#endif

// Four 8 x 4-word matrices: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned, in shared memory)
// and gets word lane % 4 of row lane / 4 of each.
ONNXRAY_DEVICE void load_matrix_x4(std::uint32_t (&r)[4], const void* row) {
#ifdef ONNXRAY_SIMULATE
  sim::observe_read(row, 16);
  detail::LdmatrixOperand operand{static_cast<const std::uint32_t*>(row), r};
  sim::collective("ldmatrix", kFullMask, &operand, detail::exchange_ldmatrix);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// --- reductions over a warp, the same bits in every lane ---
template <class T>
ONNXRAY_DEVICE T warp_sum(T x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullMask, x, lanes);
  return x;
}
template <class T>
ONNXRAY_DEVICE T warp_max(T x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const T y = __shfl_xor_sync(kFullMask, x, lanes);
    x = x < y ? y : x;
  }
  return x;
}

}  // namespace onnxray::cuda
