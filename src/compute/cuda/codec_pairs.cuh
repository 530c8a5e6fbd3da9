/*
 * codec_pairs.cuh - elements of re-laid weights as the bfloat16 pairs that a lane of a matrix product wants, with x in
 * its plain order: lane t of four takes elements 2t and 2t + 1 of every eight ("chunk"), so the four read the same
 * words.
 *
 * Both lie 16 bits apart in the planes (codec.cuh), so a shift that depends on the lane and a mask give the pair:
 *
 *     unsigned, up to 6 bits   under the exponent of 128 they are bfloat16 and the upper half of a float32: one fma a
 *                              number. The float of the upper one carries the lower one's bits below its last place;
 *                              their constant part is subtracted, the rest is 2^-16 of a step.
 *     signed bytes             under the exponent of 1024 they are float16, then float32; one fma a number.
 *     E2M1                     the bits are a bfloat16 times 2^-126. Products with scales are exact in bfloat16.
 */
#ifndef IMP_COMPUTE_CUDA_CODEC_PAIRS_CUH
#define IMP_COMPUTE_CUDA_CODEC_PAIRS_CUH

#include "compute/cuda/codec_bf16.cuh"

__host__ __device__ constexpr bool codec_is_plain(DType type) { return codec_shape(type).scaling == SCALING_NONE; }

/* a & b | c, and a & b ^ c, each in one instruction, also where b and c are constants. */
__device__ __forceinline__ uint32_t and_or(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t out;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

__device__ __forceinline__ uint32_t and_xor(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t out;
    asm("lop3.b32 %0, %1, %2, %3, 0x6A;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

/* Shifts or a selector of bytes, by the lane. */
typedef struct PairLane {
    uint32_t low, high;
} PairLane;

template <DType T> __device__ __forceinline__ PairLane pair_lane(uint32_t t)
{
    constexpr int low = codec_shape(T).low_bits, high = codec_shape(T).high_bits;
    if constexpr (codec_is_plain(T)) return {0x10u + 0x22u * t, 0}; /* bytes 2t, 2t + 1 of eight */
    if constexpr (low == 8) {
        const uint32_t first = t % 2 * 4 + t / 2;
        return {first | first << 4 | (first + 2) << 8 | (first + 2) << 12, 0};
    }
    if constexpr (codec_is_e2m1(T)) return {(6 - 4 * t) & 31, 12 - 4 * t};
    return {low == 4 ? 4 * t : 2 * (t % 2) + 8 * (t / 2), high == 1 ? t % 2 + 8 * (t / 2) : 2 * (t % 2) + 8 * (t / 2)};
}

/* The lane's pair of chunk c (0 … 3) of a group: unsigned integers as bfloat16, 128 more than they are; signed bytes in
 * bytes 0 and 2; E2M1 as said above. */
template <DType T> __device__ __forceinline__ uint32_t codec_pair(const CodecBits<T> &bits, const PairLane &lane, int c)
{
    constexpr int low = codec_shape(T).low_bits, high = codec_shape(T).high_bits;
    if constexpr (low == 8) {
        return codec_permute(bits.low[2 * c], bits.low[2 * c + 1], lane.low);
    } else if constexpr (codec_is_e2m1(T)) {
        const uint32_t word = bits.low[c];
        return and_or(__funnelshift_l(word, word, lane.high), 0x80008000u,
                      __funnelshift_l(word, word, lane.low) & 0x01C001C0u);
    } else if constexpr (codec_is_iq4(T)) {
        const uint32_t pair = bits.low[c] >> lane.low & 0x000F000Fu;
        return codec_permute(codec_iq4(pair | pair >> 12), 0, 0x4140u);
    } else {
        uint32_t pair = and_or(low == 4 ? bits.low[c] >> lane.low : bits.low[c / 2] >> lane.low >> (4 * (c % 2)),
                               low == 4 ? 0x000F000Fu : 0x00030003u, 0x43004300u);
        if constexpr (high > 0) {
            const uint32_t word = bits.high[high == 1 ? 0 : c / 2] >> lane.high;
            const int shift = (high == 1 ? 2 * c : 4 * (c % 2)) - low;
            pair = and_or(shift >= 0 ? word >> shift : word << -shift, (high == 1 ? 0x00010001u : 0x00030003u) << low,
                          pair);
        }
        return pair;
    }
}

/* What turns the pairs of a group into values; [1] of elements 16-31 where they have scales of their own. */
template <DType T> struct PairScales {
    static constexpr int n = codec_has_halves(T) ? 2 : 1;
    float scale[n], low[n], high[n]; /* value = scale * float + low or high */
    uint32_t both[n];                /* E2M1: the scale as a pair */
};

/* Those of group j of four, whose scales the lanes t = 0 … 3 hold. */
template <DType T> __device__ __forceinline__ PairScales<T> share_scales(const CodecScales &own, int j)
{
    const int from = (int)(threadIdx.x % 32 & 28) + j;
    PairScales<T> out = {};
    if constexpr (codec_is_e2m1(T)) {
        const uint32_t halves = __shfl_sync(0xFFFFFFFFu, bf16_pair(own.scale[0], own.scale[1]), from);
        out.both[0] = codec_permute(halves, 0, 0x1010u);
        if constexpr (PairScales<T>::n == 2) out.both[1] = codec_permute(halves, 0, 0x3232u);
    } else if constexpr (!codec_is_plain(T)) {
#pragma unroll
        for (int i = 0; i < PairScales<T>::n; i++) {
            constexpr bool kSigned = codec_shape(T).low_bits == 8 || codec_is_table(T);
            constexpr float kZero = kSigned ? 1152.0f : 128.0f + (float)codec_shape(T).zero;
            constexpr float kBelow = kSigned ? 0.0f : (float)0x4300 / 65536.0f;
            const float scale = __shfl_sync(0xFFFFFFFFu, own.scale[i], from);
            const float minimum = codec_has_minimum(T) ? __shfl_sync(0xFFFFFFFFu, own.minimum[i], from) : 0.0f;
            out.scale[i] = scale;
            out.low[i] = codec_has_minimum(T) ? fmaf(scale, -kZero, minimum) : scale * -kZero;
            out.high[i] = kBelow > 0.0f ? fmaf(scale, -kBelow, out.low[i]) : out.low[i];
        }
    }
    return out;
}

__device__ __forceinline__ uint32_t bf16_multiply(uint32_t a, uint32_t b)
{
    uint32_t out;
    asm("mul.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
    return out;
}

/* The lane's pair of chunk c as bfloat16 values. */
template <DType T>
__device__ __forceinline__ uint32_t bf16_of_pair(const CodecBits<T> &bits, const PairLane &lane,
                                                 const PairScales<T> &scales, int c)
{
    const int half = PairScales<T>::n == 2 ? c / 2 : 0;
    const uint32_t pair = codec_pair<T>(bits, lane, c);
    if constexpr (codec_is_plain(T)) {
        const __half2_raw both =
            __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(pair & 0xFFFF), T == DT_F8_E4M3 ? __NV_E4M3 : __NV_E5M2);
        return bf16_pair(codec_half(both.x), codec_half(both.y));
    } else if constexpr (codec_is_e2m1(T)) {
        return bf16_multiply(bf16_multiply(pair, 0x7F007F00u), scales.both[half]); /* doubled: times 2^127 */
    } else if constexpr (codec_shape(T).low_bits == 8 || codec_is_table(T)) {
        const uint32_t halves = and_xor(pair, 0x00FF00FFu, 0x64806480u); /* 1152 and the number */
        return bf16_pair(fmaf(codec_half(halves & 0xFFFF), scales.scale[half], scales.low[half]),
                         fmaf(codec_half(halves >> 16), scales.scale[half], scales.low[half]));
    } else {
        return bf16_pair(fmaf(__uint_as_float(pair << 16), scales.scale[half], scales.low[half]),
                         fmaf(__uint_as_float(pair), scales.scale[half], scales.high[half]));
    }
}

#endif
