/*
 * wgmma.cuh - Hopper's matrix instruction, 64 rows times shared memory, as attention and products of coded weights use
 * it.
 *
 * For a warpgroup: a is 64 x 16, in shared memory or in registers, where each warp has its 16 rows as mma.m16n8k16 has
 * them; b is 16 x N in shared memory; both there as cores of 8 x 16 bytes without swizzle. c lies as mma.m16n8k16's
 * accumulators, N / 8 of them.
 */
#ifndef IMP_COMPUTE_CUDA_WGMMA_CUH
#define IMP_COMPUTE_CUDA_WGMMA_CUH

#include "compute/cuda/hopper.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* Where a matrix lies: bytes between cores next to one another along k and along the other dimension. */
__device__ __forceinline__ uint64_t wgmma_cores(uint32_t address, uint32_t k_stride, uint32_t stride)
{
    return (uint64_t)((address & 0x3FFFFu) >> 4) | (uint64_t)(k_stride >> 4) << 16 | (uint64_t)(stride >> 4) << 32;
}

/* Accumulators are written behind the compiler's back until the wait: nothing may read them earlier. */
template <int N> __device__ __forceinline__ void wgmma_settle(float (&c)[N][4])
{
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) asm volatile("" : "+f"(c[i][j])::"memory");
}

/* What ordinary stores wrote to shared memory becomes visible to products and bulk copies. */
__device__ __forceinline__ void wgmma_see_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#define WGMMA_FOUR(c, i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define WGMMA_32(c, i)                                                                                                 \
    WGMMA_FOUR(c, i), WGMMA_FOUR(c, i + 1), WGMMA_FOUR(c, i + 2), WGMMA_FOUR(c, i + 3), WGMMA_FOUR(c, i + 4),          \
        WGMMA_FOUR(c, i + 5), WGMMA_FOUR(c, i + 6), WGMMA_FOUR(c, i + 7)
#define WGMMA_REGISTERS_32                                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_REGISTERS_64                                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                 \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_REGISTERS_128                                                                                            \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                 \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                                 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                                 \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                                 \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "                     \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

/* c = a b, or c += a b with `keep`: a too from shared memory, 64 x 16, cores' rows along its rows. */
template <bool BF16>
__device__ __forceinline__ void wgmma_scores(float (&c)[8][4], uint64_t a, uint64_t b, int32_t keep)
{
    if constexpr (!BF16)
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" WGMMA_REGISTERS_32 "}, "
                     "%32, %33, p, 1, 1, 0, 0;\n}\n"
                     : WGMMA_32(c, 0)
                     : "l"(a), "l"(b), "r"(keep));
    else if constexpr (BF16)
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WGMMA_REGISTERS_32 "}, "
                     "%32, %33, p, 1, 1, 0, 0;\n}\n"
                     : WGMMA_32(c, 0)
                     : "l"(a), "l"(b), "r"(keep));
}

/* c += a b: a from registers, cores' rows of b along k. */
template <int N, bool BF16>
__device__ __forceinline__ void wgmma_sums(float (&c)[N / 8][4], const uint32_t a[4], uint64_t b)
{
    if constexpr (N == 64 && !BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" WGMMA_REGISTERS_32 "}, "
                     "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 64 && BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WGMMA_REGISTERS_32 "}, "
                     "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 128 && !BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" WGMMA_REGISTERS_64 "}, "
                     "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0), WGMMA_32(c, 8)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 128 && BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" WGMMA_REGISTERS_64 "}, "
                     "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0), WGMMA_32(c, 8)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 256 && !BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {" WGMMA_REGISTERS_128 "}, "
                     "{%128, %129, %130, %131}, %132, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0), WGMMA_32(c, 8), WGMMA_32(c, 16), WGMMA_32(c, 24)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 256 && BF16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" WGMMA_REGISTERS_128 "}, "
                     "{%128, %129, %130, %131}, %132, 1, 1, 1, 1;\n"
                     : WGMMA_32(c, 0), WGMMA_32(c, 8), WGMMA_32(c, 16), WGMMA_32(c, 24)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* c += a b: a from registers, b N rows of 16 neighbours along k, swizzled over 128 bytes (matrix_descriptor). */
template <int N> __device__ __forceinline__ void wgmma_rows(float (&c)[N / 8][4], const uint32_t (&a)[4], uint64_t b)
{
    static_assert(N == 16 || N == 64 || N == 128, "one instruction each");
    if constexpr (N == 16)
        asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, "
                     "{%8, %9, %10, %11}, %12, 1, 1, 1, 0;\n"
                     : WGMMA_FOUR(c, 0), WGMMA_FOUR(c, 1)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 64)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WGMMA_REGISTERS_32 "}, "
                     "{%32, %33, %34, %35}, %36, 1, 1, 1, 0;\n"
                     : WGMMA_32(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 128)
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" WGMMA_REGISTERS_64 "}, "
                     "{%64, %65, %66, %67}, %68, 1, 1, 1, 0;\n"
                     : WGMMA_32(c, 0), WGMMA_32(c, 8)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#endif
#endif
