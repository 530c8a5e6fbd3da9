/*
 * codec_bf16.cuh - elements of re-laid weights as bfloat16 pairs, eight at a time: what tensor cores multiply.
 */
#ifndef IMP_COMPUTE_CUDA_CODEC_BF16_CUH
#define IMP_COMPUTE_CUDA_CODEC_BF16_CUH

#include "compute/cuda/codec.cuh"

__device__ __forceinline__ uint32_t bf16_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&pair;
}

/* Signed byte `at` of a quad less the type's zero: the byte, its sign flipped, is put under the exponent of 2^23. */
template <DType T> __device__ __forceinline__ float codec_number(uint32_t quad, int at)
{
    constexpr bool kSigned = codec_shape(T).low_bits == 8 || codec_is_table(T);
    const uint32_t flipped = kSigned ? quad ^ 0x80808080u : quad;
    const float shifted = __uint_as_float(__byte_perm(flipped, 0x4B000000u, 0x7440u | (uint32_t)at));
    return shifted - (8388608.0f + (kSigned ? 128.0f : 0.0f) + (float)codec_shape(T).zero);
}

/* Elements 0-7 of two quads of a block type, as pairs (0, 1), (2, 3), (4, 5), (6, 7). */
template <DType T>
__device__ __forceinline__ void bf16_from_quads(uint32_t quad0, uint32_t quad1, float scale, float minimum,
                                                uint32_t (&out)[4])
{
    float value[8];
#pragma unroll
    for (int e = 0; e < 8; e++) {
        const int position = codec_position(T, e);
        value[e] = codec_number<T>(position < 4 ? quad0 : quad1, position % 4) * scale;
        if constexpr (codec_has_minimum(T)) value[e] += minimum;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) out[i] = bf16_pair(value[2 * i], value[2 * i + 1]);
}

/* Eight consecutive elements of a plain type, from 8 or 16 bytes. */
template <DType T> __device__ __forceinline__ void bf16_from_plain(const uint32_t *words, uint32_t (&out)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (T == DT_BF16) {
            out[i] = words[i];
        } else if constexpr (T == DT_F16) {
            out[i] = bf16_pair(codec_half(words[i] & 0xFFFF), codec_half(words[i] >> 16));
        } else {
            const uint32_t pair = words[i / 2] >> (i % 2 * 16) & 0xFFFF;
            const __half2_raw both =
                __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)pair, T == DT_F8_E4M3 ? __NV_E4M3 : __NV_E5M2);
            out[i] = bf16_pair(codec_half(both.x), codec_half(both.y));
        }
    }
}

#endif
