/*
 * codec.cuh - what the bits of a re-laid weight mean: one description of every data type for all kernels.
 *
 * A block type is read in groups of 32 consecutive elements, one thread a group, as eight words ("quads") of four 8-bit
 * integers and one or two scales:
 *
 *     value = scale * (quad byte - shape.zero) + minimum        two (scale, minimum) pairs where scales cover 16
 * elements
 *
 * in float32, where both products are exact, so that values equal those of src/quant to the bit. Planes of a row:
 *
 *     0 low     low_bits (2, 4 or 8) of each element
 *     1 high    the remaining high_bits (1 or 2)
 *     2 scales  what belongs to groups: as many bits as in the file
 *     3 super   what belongs to 256 elements, where it is not part of plane 2
 *
 * Bits: with b bits an element, quad Q of a group (0 … 7) lies in word Q * b / 8, its byte j from bit 8 j + b (Q % (8 /
 * b)): a shift and a mask give a quad. Element e of every eight is byte pos % 4 of quad pos / 4 with pos = (e % 4) * 2
 * + e / 4. So a word of nibbles, shifted by 4 i and masked with 0x000F000F, is also the pair of elements (2i, 2i + 1).
 * Types with a table of values give their quads in another order, codec_position().
 *
 * Plain types (F32, F16, BF16, FP8) have plane 0 alone, elements in their order, rows padded with zeros.
 */
#ifndef IMP_COMPUTE_CUDA_CODEC_CUH
#define IMP_COMPUTE_CUDA_CODEC_CUH

#include "compute/cuda/cuda_compute.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

enum { CODEC_GROUP = 32, CODEC_SUPER = 256 };
enum { PLANE_LOW, PLANE_HIGH, PLANE_SCALES, PLANE_SUPER };

/* How the bits of plane 2 and 3 are to be read. */
typedef enum CodecScaling {
    SCALING_NONE,       /* plain types */
    SCALING_HALF,       /* plane 2: half d a group */
    SCALING_HALF_PAIR,  /* plane 2: half d, half m a group */
    SCALING_SIX_MIN,    /* plane 2, 16 bytes: half d, half dmin, eight pairs of 6-bit scale and minimum */
    SCALING_SIX,        /* plane 2, 12 bytes: eight pairs of 6-bit scales less 32; plane 3: half d */
    SCALING_EIGHT,      /* plane 2: two signed bytes a group; plane 3: half d */
    SCALING_NIBBLE_MIN, /* plane 2: two bytes a group, each 4-bit scale and minimum; plane 3: half d, half dmin */
    SCALING_SIX_SPLIT,  /* plane 2, 8 bytes: half d, two high bits of eight scales less 32, four low bits */
    SCALING_E8M0,       /* plane 2: a power of two a group */
    SCALING_E4M3,       /* plane 2: two E4M3 numbers a group; a NaN of the file is a 0 */
} CodecScaling;

typedef struct CodecShape {
    int low_bits, high_bits;
    int zero;
    CodecScaling scaling;
    int plane_bytes[CUDA_MAX_PLANES]; /* of 256 elements */
} CodecShape;

/* low_bits 0: no type of the device. */
__host__ __device__ constexpr CodecShape codec_shape(DType type)
{
    switch (type) {
    case DT_F32:
        return {32, 0, 0, SCALING_NONE, {1024, 0, 0, 0}};
    case DT_F16:
        return {16, 0, 0, SCALING_NONE, {512, 0, 0, 0}};
    case DT_BF16:
        return {16, 0, 0, SCALING_NONE, {512, 0, 0, 0}};
    case DT_F8_E4M3:
        return {8, 0, 0, SCALING_NONE, {256, 0, 0, 0}};
    case DT_F8_E5M2:
        return {8, 0, 0, SCALING_NONE, {256, 0, 0, 0}};
    case DT_Q4_0:
        return {4, 0, 8, SCALING_HALF, {128, 0, 16, 0}};
    case DT_Q4_1:
        return {4, 0, 0, SCALING_HALF_PAIR, {128, 0, 32, 0}};
    case DT_Q5_0:
        return {4, 1, 16, SCALING_HALF, {128, 32, 16, 0}};
    case DT_Q5_1:
        return {4, 1, 0, SCALING_HALF_PAIR, {128, 32, 32, 0}};
    case DT_Q8_0:
        return {8, 0, 0, SCALING_HALF, {256, 0, 16, 0}};
    case DT_Q2_K:
        return {2, 0, 0, SCALING_NIBBLE_MIN, {64, 0, 16, 4}};
    case DT_Q3_K:
        return {2, 1, 4, SCALING_SIX, {64, 32, 12, 2}};
    case DT_Q4_K:
        return {4, 0, 0, SCALING_SIX_MIN, {128, 0, 16, 0}};
    case DT_Q5_K:
        return {4, 1, 0, SCALING_SIX_MIN, {128, 32, 16, 0}};
    case DT_Q6_K:
        return {4, 2, 32, SCALING_EIGHT, {128, 64, 16, 2}};
    case DT_IQ4_NL:
        return {4, 0, 0, SCALING_HALF, {128, 0, 16, 0}};
    case DT_IQ4_XS:
        return {4, 0, 0, SCALING_SIX_SPLIT, {128, 0, 8, 0}};
    case DT_MXFP4:
        return {4, 0, -112, SCALING_E8M0, {128, 0, 8, 0}};
    case DT_NVFP4:
        return {4, 0, -112, SCALING_E4M3, {128, 0, 16, 0}};
    default:
        return {0, 0, 0, SCALING_NONE, {0, 0, 0, 0}};
    }
}

/* Nibbles that choose from a table: E2M1 numbers, or values fitted to weights. */
__host__ __device__ constexpr bool codec_is_e2m1(DType type) { return type == DT_MXFP4 || type == DT_NVFP4; }
__host__ __device__ constexpr bool codec_is_iq4(DType type) { return type == DT_IQ4_NL || type == DT_IQ4_XS; }
__host__ __device__ constexpr bool codec_is_table(DType type) { return codec_is_e2m1(type) || codec_is_iq4(type); }

/* Two scales a group, for 16 elements each. */
__host__ __device__ constexpr bool codec_has_halves(DType type)
{
    const CodecScaling scaling = codec_shape(type).scaling;
    return scaling == SCALING_SIX || scaling == SCALING_EIGHT || scaling == SCALING_NIBBLE_MIN ||
           scaling == SCALING_E4M3;
}

__host__ __device__ constexpr bool codec_has_minimum(DType type)
{
    const CodecScaling scaling = codec_shape(type).scaling;
    return scaling == SCALING_HALF_PAIR || scaling == SCALING_SIX_MIN || scaling == SCALING_NIBBLE_MIN;
}

/* Where element e of eight lies among the eight bytes of two quads: in the planes, and in what codec_quads() returns.
 */
__host__ __device__ constexpr int codec_plane_position(int e) { return (e % 4) * 2 + e / 4; }
__host__ __device__ constexpr int codec_position(DType type, int e)
{
    return codec_is_table(type) ? e / 2 + (e % 2) * 4 : codec_plane_position(e);
}

/* A row, or a part of one that starts with a multiple of 256 elements, in global or shared memory. */
typedef struct CodecRow {
    const uint8_t *low, *high, *scales, *super;
} CodecRow;

__device__ __forceinline__ CodecRow codec_row(const CudaWeight &weight, int64_t row)
{
    return {weight.planes[PLANE_LOW] + row * (int64_t)weight.plane_stride[PLANE_LOW],
            weight.planes[PLANE_HIGH] + row * (int64_t)weight.plane_stride[PLANE_HIGH],
            weight.planes[PLANE_SCALES] + row * (int64_t)weight.plane_stride[PLANE_SCALES],
            weight.planes[PLANE_SUPER] + row * (int64_t)weight.plane_stride[PLANE_SUPER]};
}

/* ---- integers ---- */

/* The bits of one group. */
template <DType T> struct CodecBits {
    static constexpr int n_low = codec_shape(T).low_bits, n_high = codec_shape(T).high_bits;
    uint32_t low[n_low];
    uint32_t high[n_high > 0 ? n_high : 1];
};

template <int N> __device__ __forceinline__ void codec_words(const uint8_t *at, uint32_t *words)
{
    if constexpr (N == 1) {
        words[0] = *(const uint32_t *)at;
    } else if constexpr (N == 2) {
        const uint2 pair = *(const uint2 *)at;
        words[0] = pair.x;
        words[1] = pair.y;
    } else if constexpr (N >= 4) {
        const uint4 four = *(const uint4 *)at;
        words[0] = four.x;
        words[1] = four.y;
        words[2] = four.z;
        words[3] = four.w;
        if constexpr (N > 4) codec_words<N - 4>(at + 16, words + 4);
    }
}

template <DType T> __device__ __forceinline__ CodecBits<T> codec_load(const CodecRow &row, int group)
{
    CodecBits<T> bits;
    codec_words<CodecBits<T>::n_low>(row.low + group * 4 * CodecBits<T>::n_low, bits.low);
    codec_words<CodecBits<T>::n_high>(row.high + group * 4 * CodecBits<T>::n_high, bits.high);
    return bits;
}

/* Byte i of the result is byte c[i] & 7 of b:a; with c[i] & 8 its sign bit fills the byte. c: four nibbles. */
__device__ __forceinline__ uint32_t codec_permute(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t out;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

/* Four E2M1 numbers, doubled, plus 144 (as signed bytes: less 112). Both tables keep the top bit of every byte set, so
 * that a selector of the other sign gives 0xFF, which the AND ignores. */
__device__ __forceinline__ uint32_t codec_e2m1(uint32_t nibbles, uint32_t flipped)
{
    return codec_permute(0x93929190u, 0x9C989694u, nibbles) & codec_permute(0x8D8E8F90u, 0x84888A8Cu, flipped);
}

/* {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113} for four nibbles. */
__device__ __forceinline__ uint32_t codec_iq4(uint32_t nibbles)
{
    const uint32_t index = nibbles & 0x7777u;
    const uint32_t below = codec_permute(0xBFAD9881u, 0xF6EADDCFu, index);
    const uint32_t above = codec_permute(0x26190D01u, 0x71594535u, index);
    return codec_permute(below, above, 0x3210u | (nibbles & 0x8888u) >> 1);
}

template <DType T> __device__ __forceinline__ uint32_t codec_quad(const CodecBits<T> &bits, int quad)
{
    constexpr int low = CodecBits<T>::n_low, high = CodecBits<T>::n_high;
    constexpr uint32_t low_mask = low == 8 ? 0xFFFFFFFFu : low == 4 ? 0x0F0F0F0Fu : 0x03030303u;
    constexpr uint32_t high_mask = (high == 2 ? 0x03030303u : 0x01010101u) << low;
    if constexpr (codec_is_table(T)) {
        const uint32_t word = bits.low[quad / 2] >> (quad % 2 * 16);
        if constexpr (codec_is_iq4(T)) return codec_iq4(word);
        return codec_e2m1(word, (bits.low[quad / 2] ^ 0x88888888u) >> (quad % 2 * 16));
    }
    uint32_t value = bits.low[quad * low / 8] >> (low * (quad % (8 / low))) & low_mask;
    if constexpr (high > 0) {
        const uint32_t word = bits.high[quad * high / 8];
        const int shift = high * (quad % (8 / (high > 0 ? high : 1))) - low;
        value |= (shift >= 0 ? word >> shift : word << -shift) & high_mask;
    }
    return value;
}

/* ---- scales ---- */

typedef struct CodecScales {
    float scale[2], minimum[2]; /* of elements 0-15 and 16-31; equal where the type has one a group */
} CodecScales;

__device__ __forceinline__ float codec_half(uint32_t bits)
{
    return __half2float(__ushort_as_half((unsigned short)bits));
}

/* 2^(exponent - 127) / 2; the two smallest are subnormal numbers. */
__device__ __forceinline__ float codec_e8m0_half(uint32_t exponent)
{
    return __uint_as_float(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

/* Half of an E4M3 number without a sign, whose bits are already where a float has them; re-laying has made the code
 * 0x7F 0. */
__device__ __forceinline__ float codec_e4m3_half(uint32_t bits)
{
    return __uint_as_float(bits & 0x07F00000u) * 0x1p119f;
}

/* Pair `index` of eight: two words of bytes hold the low nibbles of both, nibbles of the third word the high bits of
 * both. */
__device__ __forceinline__ void codec_six_bits(uint32_t low0, uint32_t low1, uint32_t highs, int index, uint32_t *first,
                                               uint32_t *second)
{
    const uint32_t low = codec_permute(low0, low1, index), high = highs >> (4 * index);
    *first = (low & 0x0F) | (high << 4 & 0x30);
    *second = (low >> 4 & 0x0F) | (high << 2 & 0x30);
}

template <DType T> __device__ __forceinline__ CodecScales codec_scales(const CodecRow &row, int group)
{
    constexpr CodecScaling scaling = codec_shape(T).scaling;
    const int super = group / 8;
    CodecScales out = {};
    if constexpr (scaling == SCALING_HALF) {
        out.scale[0] = codec_half(((const uint16_t *)row.scales)[group]);
    } else if constexpr (scaling == SCALING_HALF_PAIR) {
        const uint32_t pair = ((const uint32_t *)row.scales)[group];
        out.scale[0] = codec_half(pair & 0xFFFF);
        out.minimum[0] = codec_half(pair >> 16);
    } else if constexpr (scaling == SCALING_SIX_MIN) {
        const uint4 all = ((const uint4 *)row.scales)[super];
        uint32_t scale, minimum;
        codec_six_bits(all.y, all.z, all.w, group % 8, &scale, &minimum);
        out.scale[0] = codec_half(all.x & 0xFFFF) * (float)scale;
        out.minimum[0] = -codec_half(all.x >> 16) * (float)minimum;
    } else if constexpr (scaling == SCALING_SIX) {
        const float d = codec_half(((const uint16_t *)row.super)[super]);
        uint32_t first, second;
        const uint32_t *at = (const uint32_t *)(row.scales + super * 12);
        codec_six_bits(at[0], at[1], at[2], group % 8, &first, &second);
        out.scale[0] = d * (float)((int)first - 32);
        out.scale[1] = d * (float)((int)second - 32);
    } else if constexpr (scaling == SCALING_EIGHT) {
        const float d = codec_half(((const uint16_t *)row.super)[super]);
        const uint32_t pair = ((const uint16_t *)row.scales)[group];
        out.scale[0] = d * (float)(int8_t)(pair & 0xFF);
        out.scale[1] = d * (float)(int8_t)(pair >> 8);
    } else if constexpr (scaling == SCALING_NIBBLE_MIN) {
        const uint32_t both = ((const uint32_t *)row.super)[super], pair = ((const uint16_t *)row.scales)[group];
        const float d = codec_half(both & 0xFFFF), dmin = codec_half(both >> 16);
        out.scale[0] = d * (float)(pair & 0x0F);
        out.minimum[0] = -dmin * (float)(pair >> 4 & 0x0F);
        out.scale[1] = d * (float)(pair >> 8 & 0x0F);
        out.minimum[1] = -dmin * (float)(pair >> 12);
    } else if constexpr (scaling == SCALING_SIX_SPLIT) {
        const uint2 both = ((const uint2 *)row.scales)[super];
        const int at = group % 8;
        const int scale = (int)((both.y >> (4 * at) & 0x0F) | (both.x >> (16 + 2 * at) & 0x03) << 4) - 32;
        out.scale[0] = codec_half(both.x & 0xFFFF) * (float)scale;
    } else if constexpr (scaling == SCALING_E8M0) {
        out.scale[0] = codec_e8m0_half(row.scales[group]);
    } else if constexpr (scaling == SCALING_E4M3) {
        const uint32_t pair = ((const uint16_t *)row.scales)[group];
        out.scale[0] = codec_e4m3_half(pair << 20);
        out.scale[1] = codec_e4m3_half(pair << 12);
    }
    if constexpr (!codec_has_halves(T)) {
        out.scale[1] = out.scale[0];
        out.minimum[1] = out.minimum[0];
    }
    return out;
}

/* ---- values ---- */

/* Plain types: N consecutive elements from 16 bytes, N = 16 / bytes of one. */
template <DType T>
__device__ __forceinline__ void codec_plain(uint4 raw, float (&out)[16 * 8 / codec_shape(T).low_bits])
{
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (T == DT_F32) {
            out[i] = __uint_as_float(words[i]);
        } else if constexpr (T == DT_BF16) {
            out[2 * i] = __uint_as_float(words[i] << 16);
            out[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
        } else if constexpr (T == DT_F16) {
            out[2 * i] = codec_half(words[i] & 0xFFFF);
            out[2 * i + 1] = codec_half(words[i] >> 16);
        } else {
#pragma unroll
            for (int part = 0; part < 2; part++) {
                const __nv_fp8x2_storage_t pair = (__nv_fp8x2_storage_t)(words[i] >> (16 * part));
                const __half2_raw both = __nv_cvt_fp8x2_to_halfraw2(pair, T == DT_F8_E4M3 ? __NV_E4M3 : __NV_E5M2);
                out[4 * i + 2 * part] = codec_half(both.x);
                out[4 * i + 2 * part + 1] = codec_half(both.y);
            }
        }
    }
}

/* The 32 values of a group in their order; `row` of a plain type: plane 0 alone is read. */
template <DType T>
__device__ __forceinline__ void codec_values(const CodecRow &row, int group, float (&out)[CODEC_GROUP])
{
    if constexpr (codec_shape(T).scaling == SCALING_NONE) {
        constexpr int n = 16 * 8 / codec_shape(T).low_bits;
#pragma unroll
        for (int part = 0; part < CODEC_GROUP / n; part++) {
            float values[n];
            codec_plain<T>(((const uint4 *)row.low)[group * (CODEC_GROUP / n) + part], values);
#pragma unroll
            for (int i = 0; i < n; i++) out[part * n + i] = values[i];
        }
    } else {
        const CodecBits<T> bits = codec_load<T>(row, group);
        const CodecScales scales = codec_scales<T>(row, group);
        uint32_t quads[8];
#pragma unroll
        for (int quad = 0; quad < 8; quad++) quads[quad] = codec_quad<T>(bits, quad);
#pragma unroll
        for (int e = 0; e < CODEC_GROUP; e++) {
            const int position = codec_position(T, e % 8), half = e / 16;
            const int byte = (int8_t)(quads[e / 8 * 2 + position / 4] >> (position % 4 * 8));
            out[e] = scales.scale[half] * (float)(byte - codec_shape(T).zero);
            if constexpr (codec_has_minimum(T)) out[e] += scales.minimum[half];
        }
    }
}

/* Calls body(std::integral_constant<DType, type>) style code for each type: X(DT_…). */
#define CODEC_BLOCK_TYPES(X)                                                                                           \
    X(DT_Q4_0)                                                                                                         \
    X(DT_Q4_1) X(DT_Q5_0) X(DT_Q5_1) X(DT_Q8_0) X(DT_Q2_K) X(DT_Q3_K) X(DT_Q4_K) X(DT_Q5_K) X(DT_Q6_K) X(DT_IQ4_NL)    \
        X(DT_IQ4_XS) X(DT_MXFP4) X(DT_NVFP4)
#define CODEC_PLAIN_TYPES(X) X(DT_F32) X(DT_F16) X(DT_BF16) X(DT_F8_E4M3) X(DT_F8_E5M2)
#define CODEC_TYPES(X) CODEC_PLAIN_TYPES(X) CODEC_BLOCK_TYPES(X)

#endif
