/*
 * kv.cuh - the device's side of kv.h: eight elements of a token at a time, to and from float32.
 */
#ifndef IMP_COMPUTE_CUDA_KV_CUH
#define IMP_COMPUTE_CUDA_KV_CUH

#include "compute/cuda/kv.h"
#include "compute/cuda/launch.cuh"

#include <cuda_fp8.h>

__device__ __forceinline__ uint32_t kv_eight_of(int32_t chunks, int32_t token, int32_t chunk)
{
    return (uint32_t)(((token >> 3) * chunks + chunk) * 8 + (token & 7));
}

__device__ __forceinline__ float e4m3_to_float(uint8_t bits)
{
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(bits, __NV_E4M3)));
}

__device__ __forceinline__ uint8_t e4m3_of_float(float value)
{
    return (uint8_t)__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}

/* The magnitudes of e2m1 are 0 0.5 1 1.5 2 3 4 6: exponent and mantissa moved into place make a half 2^14 too small. */
__device__ __forceinline__ float e2m1_to_float(uint32_t nibble)
{
    const uint16_t bits = (uint16_t)((nibble & 8u) << 12 | (nibble & 7u) << 9);
    return __half2float(__ushort_as_half(bits)) * 16384.0f;
}

/* To nearest, ties to even. */
__device__ __forceinline__ uint32_t e2m1_of_float(float value)
{
    const float magnitude = fabsf(value);
    const uint32_t code = (magnitude > 0.25f) + (magnitude >= 0.75f) + (magnitude > 1.25f) + (magnitude >= 1.75f) +
                          (magnitude > 2.5f) + (magnitude >= 3.5f) + (magnitude > 5.0f);
    return code | (value < 0.0f ? 8u : 0u);
}

/* Element e of a word of eight nibbles. */
__device__ __forceinline__ uint32_t nibble_of(uint32_t word, int e)
{
    return word >> (4 * (e / 2) + 16 * (e % 2)) & 15u;
}

/* Dimensions 8 * chunk … 8 * chunk + 7 of a token. `plane` is in global or shared memory. */
template <DType TYPE>
__device__ __forceinline__ void kv_load_eight(const uint8_t *plane, const KvPlane &shape, int32_t token, int32_t chunk,
                                              float out[8])
{
    const uint32_t eight = kv_eight_of(shape.chunks, token, chunk);
    if constexpr (TYPE == DT_F32) {
        const float4 *from = reinterpret_cast<const float4 *>(plane) + 2 * eight;
        const float4 low = from[0], high = from[1];
        out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
        out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
    } else if constexpr (TYPE == DT_F16 || TYPE == DT_BF16) {
        const uint4 words = reinterpret_cast<const uint4 *>(plane)[eight];
        const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if constexpr (TYPE == DT_BF16) {
                out[2 * i] = __uint_as_float(word[i] << 16);
                out[2 * i + 1] = __uint_as_float(word[i] & 0xFFFF0000u);
            } else {
                const float2 pair = __half22float2(*reinterpret_cast<const __half2 *>(&word[i]));
                out[2 * i] = pair.x;
                out[2 * i + 1] = pair.y;
            }
        }
    } else if constexpr (TYPE == DT_F8_E4M3 || TYPE == DT_I8) {
        const float scale = reinterpret_cast<const float *>(plane + shape.scales)[token];
        const uint2 words = reinterpret_cast<const uint2 *>(plane)[eight];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const uint8_t byte = (uint8_t)((i < 4 ? words.x : words.y) >> (8 * (i % 4)));
            out[i] = scale * (TYPE == DT_I8 ? (float)(int8_t)byte : e4m3_to_float(byte));
        }
    } else if constexpr (TYPE == DT_Q4_0) {
        const __half scale = reinterpret_cast<const __half *>(plane + shape.scales)[token * shape.groups + chunk / 4];
        const uint32_t word = reinterpret_cast<const uint32_t *>(plane)[eight];
#pragma unroll
        for (int i = 0; i < 8; i++) out[i] = __half2float(scale) * ((float)nibble_of(word, i) - 8.0f);
    } else {
        static_assert(TYPE == DT_NVFP4, "a type of keys and values");
        const uint8_t *scales = plane + shape.scales;
        const float scale = reinterpret_cast<const float *>(scales)[token] *
                            e4m3_to_float(scales[KV_PAGE_TOKENS * 4 + token * shape.groups + chunk / 2]);
        const uint32_t word = reinterpret_cast<const uint32_t *>(plane)[eight];
#pragma unroll
        for (int i = 0; i < 8; i++) out[i] = scale * e2m1_to_float(nibble_of(word, i));
    }
}

/* The largest magnitude over a warp. */
__device__ __forceinline__ float warp_max(float value)
{
    for (int distance = 16; distance > 0; distance /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
    return value;
}

__device__ __forceinline__ float warp_sum(float value)
{
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    return value;
}

__device__ __forceinline__ float largest_of_eight(const float x[8])
{
    float largest = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) largest = fmaxf(largest, fabsf(x[i]));
    return largest;
}

/* A warp writes one token's row of a plane. `row`: shared, 8 * chunks floats, zeros behind the dimensions. */
template <DType TYPE>
__device__ __forceinline__ void kv_store_row(uint8_t *plane, const KvPlane &shape, int32_t token, const float *row)
{
    const int32_t lane = (int32_t)(threadIdx.x % 32);
    float row_scale = 0.0f;
    if constexpr (TYPE == DT_F8_E4M3 || TYPE == DT_I8 || TYPE == DT_NVFP4) {
        float largest = 0.0f;
        for (int32_t i = lane; i < 8 * shape.chunks; i += 32) largest = fmaxf(largest, fabsf(row[i]));
        largest = warp_max(largest);
        row_scale = largest / (TYPE == DT_I8 ? 127.0f : TYPE == DT_F8_E4M3 ? 448.0f : 2688.0f);
        if (lane == 0) reinterpret_cast<float *>(plane + shape.scales)[token] = row_scale;
    }
    /* All lanes stay for the exchanges; those behind the last chunk hold zeros and write nothing. */
    for (int32_t first = 0; first < shape.chunks; first += 32) {
        const int32_t chunk = first + lane;
        const bool inside = chunk < shape.chunks;
        const uint32_t eight = kv_eight_of(shape.chunks, token, chunk);
        float x[8];
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = inside ? row[8 * chunk + i] : 0.0f;
        if constexpr (TYPE == DT_F32) {
            if (!inside) continue;
            float4 *to = reinterpret_cast<float4 *>(plane) + 2 * eight;
            to[0] = {x[0], x[1], x[2], x[3]};
            to[1] = {x[4], x[5], x[6], x[7]};
        } else if constexpr (TYPE == DT_F16 || TYPE == DT_BF16) {
            uint32_t word[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if constexpr (TYPE == DT_BF16) {
                    const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
                    word[i] = *reinterpret_cast<const uint32_t *>(&pair);
                } else {
                    const __half2 pair = __floats2half2_rn(x[2 * i], x[2 * i + 1]);
                    word[i] = *reinterpret_cast<const uint32_t *>(&pair);
                }
            }
            if (inside) reinterpret_cast<uint4 *>(plane)[eight] = make_uint4(word[0], word[1], word[2], word[3]);
        } else if constexpr (TYPE == DT_F8_E4M3 || TYPE == DT_I8) {
            uint32_t word[2] = {0, 0};
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float q = row_scale > 0.0f ? x[i] / row_scale : 0.0f;
                const uint8_t byte = TYPE == DT_I8 ? (uint8_t)(int8_t)__float2int_rn(q) : e4m3_of_float(q);
                word[i / 4] |= (uint32_t)byte << (8 * (i % 4));
            }
            if (inside) reinterpret_cast<uint2 *>(plane)[eight] = make_uint2(word[0], word[1]);
        } else if constexpr (TYPE == DT_Q4_0) {
            /* The element of largest magnitude, with its sign, becomes -8. Four lanes hold a group. */
            float most = x[0];
#pragma unroll
            for (int i = 1; i < 8; i++) most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
            for (int distance = 1; distance < 4; distance *= 2) {
                const float other = __shfl_xor_sync(~0u, most, distance);
                const bool mine_first = (lane & distance) == 0; /* of two equals that of the lower dimension */
                const bool take = mine_first ? fabsf(other) > fabsf(most) : fabsf(other) >= fabsf(most);
                most = take ? other : most;
            }
            const float scale = most / -8.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
            uint32_t word = 0;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float q = fminf(15.0f, floorf(__fadd_rn(__fmul_rn(x[i], inverse), 8.5f)));
                word |= (uint32_t)q << (4 * (i / 2) + 16 * (i % 2));
            }
            if (!inside) continue;
            reinterpret_cast<uint32_t *>(plane)[eight] = word;
            if (chunk % 4 == 0)
                reinterpret_cast<__half *>(plane + shape.scales)[token * shape.groups + chunk / 4] =
                    __float2half_rn(fminf(fmaxf(scale, -65504.0f), 65504.0f));
        } else {
            float largest = largest_of_eight(x);
            largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
            const uint8_t group = row_scale > 0.0f ? e4m3_of_float(largest / 6.0f / row_scale) : 0;
            const float scale = e4m3_to_float(group) * row_scale, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
            uint32_t word = 0;
#pragma unroll
            for (int i = 0; i < 8; i++) word |= e2m1_of_float(x[i] * inverse) << (4 * (i / 2) + 16 * (i % 2));
            if (!inside) continue;
            reinterpret_cast<uint32_t *>(plane)[eight] = word;
            if (chunk % 2 == 0) plane[shape.scales + KV_PAGE_TOKENS * 4 + token * shape.groups + chunk / 2] = group;
        }
    }
}

#endif
