/*
 * codec_legacy.c - GGUF's first formats: 32 elements share a half-precision scale d and, in the _1 types, a minimum m.
 *
 *   Q4_0, Q5_0: d * (q - 8), d * (q - 16)        Q4_1, Q5_1: d * q + m        Q8_0: d * q, q signed
 *
 * Nibble i of a block is element i in its low half and element i + 16 in its high half; the 5-bit types keep all fifth
 * bits in one 32-bit word, bit i for element i. Scales, minima and integers are chosen as the `gguf` package chooses
 * them.
 */
#include "quant/codec.h"

#include <math.h>

enum {
    BLOCK = 32,
    Q4_0_BYTES = 2 + 16,
    Q4_1_BYTES = 4 + 16,
    Q5_0_BYTES = 2 + 4 + 16,
    Q5_1_BYTES = 4 + 4 + 16,
    Q8_0_BYTES = 2 + 32,
};

/* Splits the 16 bytes of nibbles and adds the fifth bits (`high`, 0 for the 4-bit types). */
static void unpack(const uint8_t *nibbles, uint32_t high, uint8_t quants[BLOCK])
{
    for (size_t i = 0; i < BLOCK / 2; i++) {
        quants[i] = (uint8_t)((nibbles[i] & 0x0F) | (high >> i & 1) << 4);
        quants[i + BLOCK / 2] = (uint8_t)(nibbles[i] >> 4 | (high >> (i + BLOCK / 2) & 1) << 4);
    }
}

/* The way back; returns the fifth bits. */
static uint32_t pack(const uint8_t quants[BLOCK], uint8_t *nibbles)
{
    uint32_t high = 0;
    for (size_t i = 0; i < BLOCK; i++) high |= (uint32_t)(quants[i] >> 4 & 1) << i;
    for (size_t i = 0; i < BLOCK / 2; i++)
        nibbles[i] = (uint8_t)((quants[i] & 0x0F) | (quants[i + BLOCK / 2] & 0x0F) << 4);
    return high;
}

static void scale_block(float *out, const uint8_t quants[BLOCK], int32_t zero, float d)
{
    for (size_t i = 0; i < BLOCK; i++) out[i] = d * (float)(quants[i] - zero);
}

static void scale_block_min(float *out, const uint8_t quants[BLOCK], float d, float m)
{
    for (size_t i = 0; i < BLOCK; i++) out[i] = d * (float)quants[i] + m;
}

void q4_0_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q4_0_BYTES, out += BLOCK) {
        uint8_t quants[BLOCK];
        unpack(block + 2, 0, quants);
        scale_block(out, quants, 8, codec_f16(block));
    }
}

void q4_1_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q4_1_BYTES, out += BLOCK) {
        uint8_t quants[BLOCK];
        unpack(block + 4, 0, quants);
        scale_block_min(out, quants, codec_f16(block), codec_f16(block + 2));
    }
}

void q5_0_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q5_0_BYTES, out += BLOCK) {
        uint8_t quants[BLOCK];
        unpack(block + 6, codec_u32(block + 2), quants);
        scale_block(out, quants, 16, codec_f16(block));
    }
}

void q5_1_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q5_1_BYTES, out += BLOCK) {
        uint8_t quants[BLOCK];
        unpack(block + 8, codec_u32(block + 4), quants);
        scale_block_min(out, quants, codec_f16(block), codec_f16(block + 2));
    }
}

void q8_0_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q8_0_BYTES, out += BLOCK) {
        const float d = codec_f16(block);
        for (size_t i = 0; i < BLOCK; i++) out[i] = d * (float)(int8_t)block[2 + i];
    }
}

/* 1 / d, or 0 where d is 0. */
static float inverse(float d) { return d == 0.0f ? 0.0f : 1.0f / d; }

/* `value` without its fraction, within 0 … max; a NaN becomes 0. */
static uint8_t truncate(float value, float max)
{
    if (!(value > 0.0f)) return 0;
    return (uint8_t)(value < max ? value : max);
}

/* The element of largest magnitude, signed: it becomes the most negative integer, which has one step more room. */
static float extreme(const float in[BLOCK])
{
    float best = in[0];
    for (size_t i = 1; i < BLOCK; i++) {
        if (fabsf(in[i]) > fabsf(best)) best = in[i];
    }
    return best;
}

/* Quantizes to in / d + zero and returns d. */
static float quantize_centred(const float in[BLOCK], uint8_t quants[BLOCK], uint8_t zero)
{
    const float d = extreme(in) / -(float)zero;
    const float inverse_d = inverse(d);
    for (size_t i = 0; i < BLOCK; i++)
        quants[i] = truncate(in[i] * inverse_d + ((float)zero + 0.5f), (float)(2 * zero - 1));
    return d;
}

/* Quantizes to (in - m) / d over 0 … max and returns d. */
static float quantize_min(const float in[BLOCK], uint8_t quants[BLOCK], float max_quant, float *minimum)
{
    float low = in[0], high = in[0];
    for (size_t i = 1; i < BLOCK; i++) {
        low = in[i] < low ? in[i] : low;
        high = in[i] > high ? in[i] : high;
    }
    const float d = (high - low) / max_quant;
    const float inverse_d = inverse(d);
    for (size_t i = 0; i < BLOCK; i++) quants[i] = truncate((in[i] - low) * inverse_d + 0.5f, max_quant);
    *minimum = low;
    return d;
}

void q4_0_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q4_0_BYTES, in += BLOCK) {
        uint8_t quants[BLOCK];
        codec_put_u16(block, f32_to_f16(quantize_centred(in, quants, 8)));
        (void)pack(quants, block + 2);
    }
}

void q4_1_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q4_1_BYTES, in += BLOCK) {
        uint8_t quants[BLOCK];
        float minimum;
        codec_put_u16(block, f32_to_f16(quantize_min(in, quants, 15.0f, &minimum)));
        codec_put_u16(block + 2, f32_to_f16(minimum));
        (void)pack(quants, block + 4);
    }
}

void q5_0_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q5_0_BYTES, in += BLOCK) {
        uint8_t quants[BLOCK];
        codec_put_u16(block, f32_to_f16(quantize_centred(in, quants, 16)));
        codec_put_u32(block + 2, pack(quants, block + 6));
    }
}

void q5_1_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q5_1_BYTES, in += BLOCK) {
        uint8_t quants[BLOCK];
        float minimum;
        codec_put_u16(block, f32_to_f16(quantize_min(in, quants, 31.0f, &minimum)));
        codec_put_u16(block + 2, f32_to_f16(minimum));
        codec_put_u32(block + 4, pack(quants, block + 8));
    }
}

void q8_0_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *block = blocks;
    for (; n >= BLOCK; n -= BLOCK, block += Q8_0_BYTES, in += BLOCK) {
        const float d = fabsf(extreme(in)) / 127.0f;
        const float inverse_d = inverse(d);
        codec_put_u16(block, f32_to_f16(d));
        for (size_t i = 0; i < BLOCK; i++) {
            /* Halves away from zero, without the double rounding of adding 0.5. */
            const float scaled = fabsf(in[i] * inverse_d);
            const float whole = floorf(scaled);
            const uint8_t rounded = truncate(whole + floorf(2.0f * (scaled - whole)), 127.0f);
            block[2 + i] = (uint8_t)(in[i] < 0.0f ? -rounded : rounded);
        }
    }
}
