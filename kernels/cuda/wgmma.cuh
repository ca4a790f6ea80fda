// Products of a warpgroup (four warps) on Hopper's tensor cores, wgmma: A from registers, B from shared memory. Only
// sm_90a has them; elsewhere these wrappers trap, and choose_tile does not take the kernels that use them. Like
// portable.cuh, the only place of its assembly.
//
// The simulator multiplies at once, warp by warp, with the rows that each warp holds; that results must not be read
// before warpgroup_wait, nor B overwritten, it does not see.
#pragma once
#include "kernels/cuda/portable.cuh"

namespace onnxray::cuda {

// A slice of B in shared memory, 32 depths of each column.
//
// TF32: for each column 32 words along the sum, 128 bytes, eight columns to 1,024 aligned bytes in which the 16-byte
// chunks are exchanged (PTX ISA, "Shared Memory Matrix Layout", K-major with 128-byte swizzle). The word of depth k of
// a column:
inline constexpr int kSwizzledLine = 32, kSwizzledAlignment = 1024;
ONNXRAY_HOST_DEVICE constexpr int swizzled_word(int column, int k) {
  return column * kSwizzledLine + ((k / 4) ^ (column % 8)) * 4 + k % 4;
}
// bfloat16: core matrices of eight columns with eight depths each, 16 bytes to a column, 128 contiguous bytes (the same
// section, K-major without swizzle); four of them along the sum, then the next eight columns. The word of depths k and
// k + 1, k even, of a column:
inline constexpr int kCoreLine = 16, kCoreWords = 32, kCoresDeep = 4;
ONNXRAY_HOST_DEVICE constexpr int core_word(int column, int k) {
  return (column / 8 * kCoresDeep + k / 8) * kCoreWords + column % 8 * 4 + k % 8 / 2;
}

// Of one product: the depths that it multiplies, where those from k on begin in a slice, in bytes, and the matrix
// descriptor of B but for its address (PTX ISA, "Matrix Descriptor Format"). In units of 16 bytes from bit 16 the step
// between core matrices along the sum (without swizzle only), from bit 32 the step between groups of eight columns;
// from bit 62 the swizzle, 1 for 128 bytes.
template <class Kind>
inline constexpr int kProductDepth = std::is_same_v<Kind, Bf16> ? 16 : 8;
template <class Kind>
ONNXRAY_HOST_DEVICE constexpr unsigned product_begin(int k) {
  return static_cast<unsigned>(4 * (std::is_same_v<Kind, Bf16> ? core_word(0, k) : k));
}
template <class Kind>
inline constexpr std::uint64_t kMatrixSteps =
    std::is_same_v<Kind, Bf16>
        ? std::uint64_t{kCoreWords / 4} << 16 | std::uint64_t{kCoresDeep * kCoreWords / 4} << 32
        : std::uint64_t{1} << 16 | std::uint64_t{8 * kSwizzledLine / 4} << 32 | std::uint64_t{1} << 62;

// Before the first product, and whenever accumulators or A were written by other instructions since the last one. What
// defines A stays before it: between the products of a group it would make them wait for one another.
template <int K>
ONNXRAY_DEVICE void warpgroup_fence(std::uint32_t (&a)[K][4]) {
#if !defined(ONNXRAY_SIMULATE) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#pragma unroll
  for (int k = 0; k < K; ++k) asm volatile("" : "+r"(a[k][0]), "+r"(a[k][1]), "+r"(a[k][2]), "+r"(a[k][3])::"memory");
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  (void)a;
#endif
}

// Shared memory that this thread has written or copied, and waited for, becomes visible to products that follow a
// barrier.
ONNXRAY_DEVICE void warpgroup_publish() {
#if !defined(ONNXRAY_SIMULATE) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

ONNXRAY_DEVICE void warpgroup_commit() {
#if !defined(ONNXRAY_SIMULATE) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Waits for all products; only then may the accumulators be read, and A and B be overwritten.
template <int NI>
ONNXRAY_DEVICE void warpgroup_wait(float (&acc)[NI][4]) {
#if !defined(ONNXRAY_SIMULATE) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
  for (int j = 0; j < NI; ++j) {  // no register of acc is touched before
    asm volatile("" : "+f"(acc[j][0]), "+f"(acc[j][1]), "+f"(acc[j][2]), "+f"(acc[j][3])::"memory");
  }
#else
  (void)acc;
#endif
}

#ifdef ONNXRAY_SIMULATE
namespace detail {
template <int NI>
struct WarpgroupOperand {
  float (*acc)[4];
  const std::uint32_t* a;
  const float* b;
  int k;
  bool add;
};
template <class Kind, int NI>
ONNXRAY_SIM_UNCHECKED void exchange_warpgroup(void* const* operands, unsigned lanes) {
  if (lanes != kFullMask) sim::trap("wgmma needs all 32 lanes");
  constexpr bool kPairs = std::is_same_v<Kind, Bf16>;
  constexpr int kCols = 8 * NI, kDepth = kProductDepth<Kind>;
  float a[16][kDepth], b[kDepth][kCols], c[16][kCols];
  const auto unpack = [](std::uint32_t word, int i) {
    if (!kPairs) return std::bit_cast<float>(word & 0xffffe000u);
    return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000u);
  };
  const auto* first = static_cast<const WarpgroupOperand<NI>*>(operands[0]);
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const WarpgroupOperand<NI>*>(operands[lane]);
    if (o->b != first->b || o->k != first->k || o->add != first->add) sim::trap("wgmma: the lanes differ in B");
    const int g = lane / 4, q = lane % 4;
    for (int w = 0; w < 4; ++w) {
      for (int i = 0; i < kDepth / 8; ++i) {
        a[g + 8 * (w & 1)][(q + 4 * (w >> 1)) * (kDepth / 8) + i] = unpack(o->a[w], i);
      }
    }
    for (int j = 0; j < NI; ++j) {
      for (int w = 0; w < 4; ++w) c[g + 8 * (w >> 1)][8 * j + 2 * q + (w & 1)] = o->add ? o->acc[j][w] : 0.0f;
    }
  }
  // B as the tensor core finds it: by the descriptor, whatever the layout was meant to be.
  constexpr std::uint64_t kSteps = kMatrixSteps<Kind>;
  constexpr unsigned kDeep = (kSteps >> 16 & 0x3fff) * 16, kAcross = (kSteps >> 32 & 0x3fff) * 16;
  constexpr bool kSwizzle = kSteps >> 62 == 1;
  const unsigned begin = product_begin<Kind>(first->k);
  for (unsigned column = 0; column < kCols; ++column) {
    for (unsigned k = 0; k < kDepth; ++k) {
      const unsigned along = k * 32 / kDepth;  // bytes: a product has 32 of each column
      unsigned at = begin + column / 8 * kAcross;
      at += kSwizzle ? column % 8 * 128 + along : column % 8 * 16 + along / 16 * kDeep + along % 16;
      if (kSwizzle) at ^= (at >> 7 & 7) << 4;
      b[k][column] = unpack(std::bit_cast<std::uint32_t>(first->b[at / 4]), k % 2);
    }
  }
  multiply_and_add(c, a, b);
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const WarpgroupOperand<NI>*>(operands[lane]);
    const int g = lane / 4, q = lane % 4;
    for (int j = 0; j < NI; ++j) {
      for (int w = 0; w < 4; ++w) o->acc[j][w] = c[g + 8 * (w >> 1)][8 * j + 2 * q + (w & 1)];
    }
  }
}
}  // namespace detail
#endif

// Of the instruction: the accumulators' registers, its shape and what follows `p` in it.
#define ONNXRAY_ACC_32                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define ONNXRAY_ACC_64                                                               \
  ONNXRAY_ACC_32                                                                     \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ONNXRAY_ACC_128                                                                          \
  ONNXRAY_ACC_64                                                                                 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"             \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"             \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define ONNXRAY_ACC(j) "+f"(acc[j][0]), "+f"(acc[j][1]), "+f"(acc[j][2]), "+f"(acc[j][3])
#define ONNXRAY_ACC4(j) ONNXRAY_ACC(j), ONNXRAY_ACC(j + 1), ONNXRAY_ACC(j + 2), ONNXRAY_ACC(j + 3)
#define ONNXRAY_ACC8(j) ONNXRAY_ACC4(j), ONNXRAY_ACC4(j + 4)
// a0 to a3, b and p: the numbers of the operands after the accumulators.
#define ONNXRAY_WGMMA(shape, immediates, list, a0, a1, a2, a3, descriptor, p, ...)                       \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %" #p                                                      \
               ", 0;"                                                                                    \
               "wgmma.mma_async.sync.aligned." shape " {" list "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 \
               "}, %" #descriptor ", p, " immediates ";}"                                                \
               : __VA_ARGS__                                                                             \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(matrix), "r"(static_cast<int>(add)))

// acc (+)= A B for the 64 rows of a warpgroup, 16 to a warp, 8 NI columns and the kProductDepth<Kind> depths of a slice
// of B that begin at k. Each warp gives its rows of A and gets those of acc as in mma (PTX ISA, "Matrix Fragments for
// wgmma.mma_async.m64nNk8" and "..m64nNk16"). NI: 8, 16 or 32. `b` is aligned to kSwizzledAlignment.
template <class Kind, int NI>
ONNXRAY_DEVICE void warpgroup_multiply(float (&acc)[NI][4], const std::uint32_t (&a)[4], const float* b, int k,
                                       bool add = true) {
  static_assert(NI == 8 || NI == 16 || NI == 32);
#ifdef ONNXRAY_SIMULATE
  if (reinterpret_cast<std::uintptr_t>(b) % kSwizzledAlignment != 0) sim::trap("wgmma: B is misaligned");
  // The lanes share the reads between them.
  if constexpr (std::is_same_v<Kind, Bf16>) {
    for (int column = 8 * static_cast<int>(sim::lane()); column < 8 * NI; column += 256) {
      sim::observe_read(b + core_word(column, k), 2 * kCoreWords * sizeof(float));
    }
  } else {
    for (unsigned column = sim::lane(); column < 8 * NI; column += 32) {
      sim::observe_read(b + column * kSwizzledLine, 128);
    }
  }
  detail::WarpgroupOperand<NI> operand{acc, a, b, k, add};
  sim::collective("wgmma", kFullMask, &operand, detail::exchange_warpgroup<Kind, NI>);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(b)) + product_begin<Kind>(k);
  const std::uint64_t matrix = (address & 0x3ffffu) >> 4 | kMatrixSteps<Kind>;
  if constexpr (std::is_same_v<Kind, Bf16>) {
    if constexpr (NI == 8) {
      ONNXRAY_WGMMA("m64n64k16.f32.bf16.bf16", "1, 1, 0", ONNXRAY_ACC_32, 32, 33, 34, 35, 36, 37, ONNXRAY_ACC8(0));
    } else if constexpr (NI == 16) {
      ONNXRAY_WGMMA("m64n128k16.f32.bf16.bf16", "1, 1, 0", ONNXRAY_ACC_64, 64, 65, 66, 67, 68, 69, ONNXRAY_ACC8(0),
                    ONNXRAY_ACC8(8));
    } else {
      ONNXRAY_WGMMA("m64n256k16.f32.bf16.bf16", "1, 1, 0", ONNXRAY_ACC_128, 128, 129, 130, 131, 132, 133,
                    ONNXRAY_ACC8(0), ONNXRAY_ACC8(8), ONNXRAY_ACC8(16), ONNXRAY_ACC8(24));
    }
  } else {
    if constexpr (NI == 8) {
      ONNXRAY_WGMMA("m64n64k8.f32.tf32.tf32", "1, 1", ONNXRAY_ACC_32, 32, 33, 34, 35, 36, 37, ONNXRAY_ACC8(0));
    } else if constexpr (NI == 16) {
      ONNXRAY_WGMMA("m64n128k8.f32.tf32.tf32", "1, 1", ONNXRAY_ACC_64, 64, 65, 66, 67, 68, 69, ONNXRAY_ACC8(0),
                    ONNXRAY_ACC8(8));
    } else {
      ONNXRAY_WGMMA("m64n256k8.f32.tf32.tf32", "1, 1", ONNXRAY_ACC_128, 128, 129, 130, 131, 132, 133, ONNXRAY_ACC8(0),
                    ONNXRAY_ACC8(8), ONNXRAY_ACC8(16), ONNXRAY_ACC8(24));
    }
  }
#else
  (void)acc, (void)a, (void)b, (void)k, (void)add;
  __trap();
#endif
}
#undef ONNXRAY_WGMMA
#undef ONNXRAY_ACC8
#undef ONNXRAY_ACC4
#undef ONNXRAY_ACC
#undef ONNXRAY_ACC_128
#undef ONNXRAY_ACC_64
#undef ONNXRAY_ACC_32

}  // namespace onnxray::cuda
