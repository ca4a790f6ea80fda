// Products of a warpgroup (four warps) on Hopper's tensor cores, wgmma: A from registers, B from shared memory. Only
// sm_90a has them; elsewhere these wrappers trap, and choose_tile does not take the kernels that use them. Like
// portable.cuh, the only place of its assembly.
//
// The simulator multiplies at once, warp by warp, with the rows that each warp holds; that results must not be read
// before warpgroup_wait, nor B overwritten, it does not see.
#pragma once
#include "kernels/cuda/portable.cuh"

namespace onnxray::cuda {

// A slice of B in shared memory: for each column 32 words along the sum, 128 bytes, eight columns to 1,024 aligned
// bytes in which the 16-byte chunks are exchanged (PTX ISA, K-major with 128-byte swizzle). The word of depth k of a
// column:
inline constexpr int kSwizzledLine = 32, kSwizzledAlignment = 1024;
ONNXRAY_HOST_DEVICE constexpr int swizzled_word(int column, int k) {
  return column * kSwizzledLine + ((k / 4) ^ (column % 8)) * 4 + k % 4;
}

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
template <int NI>
ONNXRAY_SIM_UNCHECKED void exchange_warpgroup(void* const* operands, unsigned lanes) {
  if (lanes != kFullMask) sim::trap("wgmma needs all 32 lanes");
  constexpr int kCols = 8 * NI;
  float a[16][8], b[8][kCols], c[16][kCols];
  const auto tf32 = [](std::uint32_t word) { return std::bit_cast<float>(word & 0xffffe000u); };
  const auto* first = static_cast<const WarpgroupOperand<NI>*>(operands[0]);
  for (int lane = 0; lane < 32; ++lane) {
    const auto* o = static_cast<const WarpgroupOperand<NI>*>(operands[lane]);
    if (o->b != first->b || o->k != first->k || o->add != first->add) sim::trap("wgmma: the lanes differ in B");
    const int g = lane / 4, q = lane % 4;
    for (int w = 0; w < 4; ++w) a[g + 8 * (w & 1)][q + 4 * (w >> 1)] = tf32(o->a[w]);
    for (int j = 0; j < NI; ++j) {
      for (int w = 0; w < 4; ++w) c[g + 8 * (w >> 1)][8 * j + 2 * q + (w & 1)] = o->add ? o->acc[j][w] : 0.0f;
    }
  }
  for (int column = 0; column < kCols; ++column) {
    for (int k = 0; k < 8; ++k) {
      b[k][column] = tf32(std::bit_cast<std::uint32_t>(first->b[swizzled_word(column, first->k + k)]));
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

// acc (+)= A B for the 64 rows of a warpgroup, 16 to a warp, 8 NI columns and depths [k, k + 8) of a slice of B; TF32.
// Each warp gives its rows of A and gets those of acc as in mma. NI: 8, 16 or 32. `b` is aligned to kSwizzledAlignment.
template <int NI>
ONNXRAY_DEVICE void warpgroup_multiply(float (&acc)[NI][4], const std::uint32_t (&a)[4], const float* b, int k,
                                       bool add = true) {
  static_assert(NI == 8 || NI == 16 || NI == 32);
#ifdef ONNXRAY_SIMULATE
  if (reinterpret_cast<std::uintptr_t>(b) % kSwizzledAlignment != 0) sim::trap("wgmma: B is misaligned");
  // The lanes share the reads between them.
  for (unsigned column = sim::lane(); column < 8 * NI; column += 32) sim::observe_read(b + column * kSwizzledLine, 128);
  detail::WarpgroupOperand<NI> operand{acc, a, b, k, add};
  sim::collective("wgmma", kFullMask, &operand, detail::exchange_warpgroup<NI>);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  // Matrix descriptor: address and step between groups of eight columns (1,024 bytes) in 16 bytes, 128-byte swizzle.
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(b)) + 4u * static_cast<unsigned>(k);
  const std::uint64_t descriptor =
      static_cast<std::uint64_t>((address & 0x3ffffu) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
#define ONNXRAY_ACC4(j) "+f"(acc[j][0]), "+f"(acc[j][1]), "+f"(acc[j][2]), "+f"(acc[j][3])
  if constexpr (NI == 8) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %37, 0;"
        "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "
        "%13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, p, 1, 1;}"
        : ONNXRAY_ACC4(0), ONNXRAY_ACC4(1), ONNXRAY_ACC4(2), ONNXRAY_ACC4(3), ONNXRAY_ACC4(4), ONNXRAY_ACC4(5),
          ONNXRAY_ACC4(6), ONNXRAY_ACC4(7)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor), "r"(static_cast<int>(add)));
  } else if constexpr (NI == 32) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %133, 0;"
        "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "
        "%13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "{%128, %129, %130, %131}, %132, p, 1, 1;}"
        : ONNXRAY_ACC4(0), ONNXRAY_ACC4(1), ONNXRAY_ACC4(2), ONNXRAY_ACC4(3), ONNXRAY_ACC4(4), ONNXRAY_ACC4(5),
          ONNXRAY_ACC4(6), ONNXRAY_ACC4(7), ONNXRAY_ACC4(8), ONNXRAY_ACC4(9), ONNXRAY_ACC4(10), ONNXRAY_ACC4(11),
          ONNXRAY_ACC4(12), ONNXRAY_ACC4(13), ONNXRAY_ACC4(14), ONNXRAY_ACC4(15), ONNXRAY_ACC4(16), ONNXRAY_ACC4(17),
          ONNXRAY_ACC4(18), ONNXRAY_ACC4(19), ONNXRAY_ACC4(20), ONNXRAY_ACC4(21), ONNXRAY_ACC4(22), ONNXRAY_ACC4(23),
          ONNXRAY_ACC4(24), ONNXRAY_ACC4(25), ONNXRAY_ACC4(26), ONNXRAY_ACC4(27), ONNXRAY_ACC4(28), ONNXRAY_ACC4(29),
          ONNXRAY_ACC4(30), ONNXRAY_ACC4(31)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor), "r"(static_cast<int>(add)));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %69, 0;"
        "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "
        "%13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "{%64, %65, %66, %67}, %68, p, 1, 1;}"
        : ONNXRAY_ACC4(0), ONNXRAY_ACC4(1), ONNXRAY_ACC4(2), ONNXRAY_ACC4(3), ONNXRAY_ACC4(4), ONNXRAY_ACC4(5),
          ONNXRAY_ACC4(6), ONNXRAY_ACC4(7), ONNXRAY_ACC4(8), ONNXRAY_ACC4(9), ONNXRAY_ACC4(10), ONNXRAY_ACC4(11),
          ONNXRAY_ACC4(12), ONNXRAY_ACC4(13), ONNXRAY_ACC4(14), ONNXRAY_ACC4(15)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor), "r"(static_cast<int>(add)));
  }
#undef ONNXRAY_ACC4
#else
  (void)acc, (void)a, (void)b, (void)k, (void)add;
  __trap();
#endif
}

}  // namespace onnxray::cuda
