/*
 * attention_tiles.cuh - attention on tensor cores, 16 rows of queries and some pages at a time: what the kernel for
 * prompts and the kernel for single tokens share.
 *
 * mma.m16n8k16 twice: scores = Q K^T with Q in registers and K's cores as they lie (ldmatrix), then out += P V with P
 * made of the scores' accumulators, which lie as the next product wants its left side, and V's cores transposed on the
 * way (ldmatrix.trans). Lane l holds, of rows l / 4 and l / 4 + 8, two neighbouring columns of each tile of 8.
 *
 * Softmax runs in units of log2. Queries of float16 products are divided by the power of two that brings their largest
 * element to 1 … 2, exactly, and the scores multiplied by it: no finite query overflows.
 */
#ifndef IMP_COMPUTE_CUDA_ATTENTION_TILES_CUH
#define IMP_COMPUTE_CUDA_ATTENTION_TILES_CUH

#include "compute/cuda/attention.cuh"

#define LOG2_E 1.4426950408889634f

__device__ __forceinline__ uint32_t tile_address(const void *pointer)
{
    return (uint32_t)__cvta_generic_to_shared(pointer);
}

/* Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ __forceinline__ void load_matrices(uint32_t out[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(uint32_t out[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

/* c += a b: 16 x 16 times 16 x 8. */
template <bool BF16>
__device__ __forceinline__ void multiply_tile(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    if constexpr (BF16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Two floats as a pair of 16-bit elements, the first in the low half. */
template <bool BF16> __device__ __forceinline__ uint32_t pack_pair(float first, float second)
{
    if constexpr (BF16) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
        return *reinterpret_cast<const uint32_t *>(&pair);
    } else {
        const __half2 pair = __floats2half2_rn(first, second);
        return *reinterpret_cast<const uint32_t *>(&pair);
    }
}

template <bool BF16> __device__ __forceinline__ float2 unpack_pair(uint32_t pair)
{
    if constexpr (BF16)
        return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u)};
    else
        return __half22float2(*reinterpret_cast<const __half2 *>(&pair));
}

/* What two rounded numbers lost. */
template <bool BF16> __device__ __forceinline__ uint32_t pack_rest(float first, float second, uint32_t rounded)
{
    const float2 pair = unpack_pair<BF16>(rounded);
    return pack_pair<BF16>(first - pair.x, second - pair.y);
}

/* 16 bytes from global to shared memory behind the program's back; `bytes` 0: zeros instead. */
__device__ __forceinline__ void copy_async(uint32_t to, const void *from, uint32_t bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING> __device__ __forceinline__ void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float quad_max(float value)
{
    value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
    return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}

__device__ __forceinline__ float quad_sum(float value)
{
    value += __shfl_xor_sync(~0u, value, 1);
    return value + __shfl_xor_sync(~0u, value, 2);
}

/* The largest power of two that is not above a row's largest magnitude; 1 for rows of zeros and where it does not
 * matter. */
__device__ __forceinline__ float power_below(float largest)
{
    const float power = __uint_as_float(__float_as_uint(largest) & 0x7F800000u);
    return power > 0.0f && power < INFINITY ? power : 1.0f;
}

/* softcap * tanh(product * factor / softcap), to the precision of exp2_fast. */
__device__ __forceinline__ float capped(float product, float factor, float softcap)
{
    const float x = product * (factor / softcap);
    return softcap - 2.0f * softcap / (exp2_fast(x * (2.0f * LOG2_E)) + 1.0f);
}

/* Eight elements of raw keys or values in shared memory as eight halves. */
template <DType TYPE, int CHUNKS>
__device__ __forceinline__ void expand_plane_of(const uint8_t *raw, const KvPlane &shape, int32_t n_tokens,
                                                uint8_t *out, int32_t thread, int32_t n_threads)
{
    for (int32_t eight = thread; eight < CHUNKS * KV_PAGE_TOKENS; eight += n_threads) {
        const int32_t token = eight / 8 / CHUNKS * 8 + eight % 8, chunk = eight / 8 % CHUNKS;
        uint4 words = {0, 0, 0, 0};
        if (token < n_tokens) {
            float x[8];
            kv_load_eight<TYPE>(raw, shape, token, chunk, x);
#pragma unroll
            for (int i = 0; i < 8; i++) x[i] = fminf(fmaxf(x[i], -65504.0f), 65504.0f);
            words = {pack_pair<false>(x[0], x[1]), pack_pair<false>(x[2], x[3]), pack_pair<false>(x[4], x[5]),
                     pack_pair<false>(x[6], x[7])};
        }
        reinterpret_cast<uint4 *>(out)[eight] = words;
    }
}

/* A plane of any packed type as float16; tokens from n_tokens on become zeros. */
template <int CHUNKS>
__device__ __forceinline__ void expand_plane(DType type, const uint8_t *raw, const KvPlane &shape, int32_t n_tokens,
                                             uint8_t *out, int32_t thread, int32_t n_threads)
{
    switch (type) {
    case DT_F8_E4M3: expand_plane_of<DT_F8_E4M3, CHUNKS>(raw, shape, n_tokens, out, thread, n_threads); break;
    case DT_I8: expand_plane_of<DT_I8, CHUNKS>(raw, shape, n_tokens, out, thread, n_threads); break;
    case DT_Q4_0: expand_plane_of<DT_Q4_0, CHUNKS>(raw, shape, n_tokens, out, thread, n_threads); break;
    default: expand_plane_of<DT_NVFP4, CHUNKS>(raw, shape, n_tokens, out, thread, n_threads); break;
    }
}

/* scores[2 p + h][…] += Q K^T for tokens 8 h … of page p. Page p's keys start at keys + p * page_bytes. */
template <int DIM, int PAGES, bool BF16>
__device__ __forceinline__ void score_pages(float scores[2 * PAGES][4], const uint32_t q[DIM / 16][4], uint32_t keys)
{
    constexpr uint32_t PLANE = DIM * KV_PAGE_TOKENS * 2;
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < DIM / 32; j++)
#pragma unroll
        for (int tile = 0; tile < 2 * PAGES; tile++) {
            uint32_t b[4];
            load_matrices(b, keys + (uint32_t)(tile / 2) * PLANE + (uint32_t)(tile % 2 * (DIM / 8) + 4 * j) * 128 +
                                 lane * 16);
            multiply_tile<BF16>(scores[tile], q[2 * j], b[0], b[1]);
            multiply_tile<BF16>(scores[tile], q[2 * j + 1], b[2], b[3]);
        }
}

/* out += P V for the 16 tokens of a page. */
template <int DIM, bool BF16>
__device__ __forceinline__ void add_values(float out[DIM / 8][4], const uint32_t p[4], uint32_t values)
{
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row = values + (lane / 8 % 2 * (DIM / 8) + lane / 16) * 128 + lane % 8 * 16;
#pragma unroll
    for (int n = 0; n < DIM / 8; n += 2) {
        uint32_t b[4];
        load_matrices_transposed(b, row + (uint32_t)n * 128);
        multiply_tile<BF16>(out[n], p, b[0], b[1]);
        multiply_tile<BF16>(out[n + 1], p, b[2], b[3]);
    }
}

#endif
