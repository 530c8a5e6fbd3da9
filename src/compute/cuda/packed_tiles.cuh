/*
 * packed_tiles.cuh - what products that decode packed weights share: how many bytes of scales belong to a span of 128
 * elements, asynchronous copies of a thread, and sums of the blocks of a cluster.
 */
#ifndef IMP_COMPUTE_CUDA_PACKED_TILES_CUH
#define IMP_COMPUTE_CUDA_PACKED_TILES_CUH

#include "compute/cuda/codec.cuh"

enum { MAX_RANKS = 8 }; /* blocks of a cluster */

/* Scales of a row: those of a span, or of the 256 elements it lies in where they are interwoven. */
template <DType T> struct SpanScales {
    static constexpr CodecScaling kScaling = codec_shape(T).scaling;
    static constexpr bool kInterwoven =
        kScaling == SCALING_SIX_MIN || kScaling == SCALING_SIX || kScaling == SCALING_SIX_SPLIT;
    static constexpr int kBytes = codec_shape(T).plane_bytes[PLANE_SCALES] / (kInterwoven ? 1 : 2);
    static constexpr int kSuperBytes = codec_shape(T).plane_bytes[PLANE_SUPER]; /* of 256 elements; 4 are copied */

    /* Where those of span `span` start in a row of the plane; for `super` the four bytes that hold them. */
    static __device__ __forceinline__ int at(int span) { return (kInterwoven ? span / 2 : span) * kBytes; }
    static __device__ __forceinline__ int super_at(int span) { return (kSuperBytes == 4 ? span / 2 : span / 4) * 4; }
    /* Which half of these four bytes. */
    static __device__ __forceinline__ int super_half(int span) { return kSuperBytes == 2 ? span / 2 % 2 * 2 : 0; }
    /* Group t of the span within the copy. */
    static __device__ __forceinline__ int group(int span, int t) { return kInterwoven ? (span * 4 + t) % 8 : t; }
};

/* Not present: zeros. */
template <int n> __device__ __forceinline__ void copy_async(void *to, const void *from, bool present = true)
{
    const int bytes = present ? n : 0;
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    if constexpr (n == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(at), "l"(from), "r"(bytes), "n"(n)
                     : "memory");
}

/* The number at the same place in block `rank` of the cluster. */
__device__ __forceinline__ float cluster_read(const float *at, int rank)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    float value;
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %1, %2;\nld.shared::cluster.f32 %0, [remote];\n}"
        : "=f"(value)
        : "r"((uint32_t)__cvta_generic_to_shared(at)), "r"(rank)
        : "memory");
    return value;
#else
    return *at;
#endif
}

/* The sum over the cluster's blocks in order of rank. */
__device__ __forceinline__ float cluster_sum(const float *at, int n_ranks)
{
    if (n_ranks == 1) return *at;
    float parts[MAX_RANKS], sum = 0.0f;
#pragma unroll
    for (int rank = 0; rank < MAX_RANKS; rank++) parts[rank] = rank < n_ranks ? cluster_read(at, rank) : 0.0f;
#pragma unroll
    for (int rank = 0; rank < MAX_RANKS; rank++) sum += parts[rank];
    return sum;
}

#endif
