/*
 * codec_k.c - the K formats: 256 elements share one or two half-precision scales; groups of 16 or 32 have small integer
 * scales of their own.
 *
 * Each decoder opens with its block's layout. The products are taken in the order (d * group scale) * quant, which is
 * that of the `gguf` package: with another order the last bit would differ.
 */
#include "quant/codec.h"

enum {
    SUPER = 256,
    Q2_K_BYTES = 16 + 64 + 2 + 2,
    Q3_K_BYTES = 32 + 64 + 12 + 2,
    Q4_K_BYTES = 2 + 2 + 12 + 128,
    Q5_K_BYTES = 2 + 2 + 12 + 32 + 128,
    Q6_K_BYTES = 128 + 64 + 16 + 2,
};

/* scales[16] (low nibble scale, high nibble minimum, a group of 16 each), quants[64] (2 bits), d, dmin. */
void q2_k_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= SUPER; n -= SUPER, block += Q2_K_BYTES, out += SUPER) {
        const uint8_t *quants = block + 16;
        const float d = codec_f16(block + 80), dmin = codec_f16(block + 82);
        for (size_t i = 0; i < SUPER; i++) {
            /* 128 elements share 32 bytes: element i's two bits lie in byte i % 32, 32 elements further they are the
             * next two bits. */
            const uint8_t group = block[i / 16];
            const uint8_t quant = quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            const float scale = d * (float)(group & 0x0F), minimum = dmin * (float)(group >> 4);
            out[i] = scale * (float)quant - minimum;
        }
    }
}

/* The twelve bytes of Q3_K's 6-bit scales: the low four bits of all sixteen in eight bytes, then the high two bits. */
static int32_t q3_k_scale(const uint8_t *scales, size_t group)
{
    const int32_t low = scales[group % 8] >> (group / 8 * 4) & 0x0F;
    const int32_t high = scales[8 + group % 4] >> (group / 4 * 2) & 0x03;
    return (low | high << 4) - 32;
}

/* hmask[32] (third bit, inverted: a clear bit subtracts 4), quants[64] (2 bits), scales[12], d. */
void q3_k_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= SUPER; n -= SUPER, block += Q3_K_BYTES, out += SUPER) {
        const uint8_t *quants = block + 32, *scales = block + 96;
        const float d = codec_f16(block + 108);
        for (size_t i = 0; i < SUPER; i++) {
            const int32_t low = quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            const int32_t high = block[i % 32] >> (i / 32) & 1;
            const float scale = d * (float)q3_k_scale(scales, i / 16);
            out[i] = scale * (float)(low - (high == 0 ? 4 : 0));
        }
    }
}

/* Q4_K's and Q5_K's twelve bytes of 6-bit scales and minima for eight groups of 32: the first four of each are the low
 * six bits of bytes 0-3 and 4-7; the others have their low nibbles in bytes 8-11 and their high two bits on top of
 * those. */
static void q4_k_group(const uint8_t *scales, size_t group, float *scale, float *minimum)
{
    if (group < 4) {
        *scale = (float)(scales[group] & 0x3F);
        *minimum = (float)(scales[group + 4] & 0x3F);
    } else {
        *scale = (float)((scales[group + 4] & 0x0F) | (scales[group - 4] >> 6) << 4);
        *minimum = (float)(scales[group + 4] >> 4 | (scales[group] >> 6) << 4);
    }
}

/* d, dmin, scales[12], quants[128]: 64 elements share 32 bytes, the first 32 in the low nibbles. */
void q4_k_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= SUPER; n -= SUPER, block += Q4_K_BYTES, out += SUPER) {
        const float d = codec_f16(block), dmin = codec_f16(block + 2);
        const uint8_t *quants = block + 16;
        for (size_t group = 0; group < SUPER / 32; group++) {
            float scale, minimum;
            q4_k_group(block + 4, group, &scale, &minimum);
            scale *= d;
            minimum *= dmin;
            for (size_t i = 0; i < 32; i++) {
                const uint8_t quant = quants[group / 2 * 32 + i] >> (group % 2 * 4) & 0x0F;
                out[group * 32 + i] = scale * (float)quant - minimum;
            }
        }
    }
}

/* d, dmin, scales[12], high[32] (fifth bits: bit g of byte i is element i of group g), quants[128] as in Q4_K. */
void q5_k_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= SUPER; n -= SUPER, block += Q5_K_BYTES, out += SUPER) {
        const float d = codec_f16(block), dmin = codec_f16(block + 2);
        const uint8_t *high = block + 16, *quants = block + 48;
        for (size_t group = 0; group < SUPER / 32; group++) {
            float scale, minimum;
            q4_k_group(block + 4, group, &scale, &minimum);
            scale *= d;
            minimum *= dmin;
            for (size_t i = 0; i < 32; i++) {
                const int32_t low = quants[group / 2 * 32 + i] >> (group % 2 * 4) & 0x0F;
                out[group * 32 + i] = scale * (float)(low | (high[i] >> group & 1) << 4) - minimum;
            }
        }
    }
}

/* low[128] (4 bits, 128 elements share 64 bytes), high[64] (2 bits, 128 elements share 32 bytes), signed scales[16], d.
 */
void q6_k_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= SUPER; n -= SUPER, block += Q6_K_BYTES, out += SUPER) {
        const uint8_t *high = block + 128, *scales = block + 192;
        const float d = codec_f16(block + 208);
        for (size_t i = 0; i < SUPER; i++) {
            const int32_t low_bits = block[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 0x0F;
            const int32_t high_bits = high[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 0x03;
            const float scale = d * (float)(int8_t)scales[i / 16];
            out[i] = scale * (float)((low_bits | high_bits << 4) - 32);
        }
    }
}
