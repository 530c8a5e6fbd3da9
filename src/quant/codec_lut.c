/*
 * codec_lut.c - formats whose four bits index sixteen uneven values: IQ4_NL and IQ4_XS (a table fitted to weights),
 * MXFP4 and NVFP4 (the E2M1 floating point numbers).
 *
 * E2M1 has halves in it, so its table holds doubled values and the block's scale is halved, which is exact: the values
 * of the `gguf` package come out bit for bit. Minus zero reads as plus zero. MXFP4: OCP Microscaling Formats 1.0. NVFP4
 * in GGUF: four E4M3 scales, then four times eight bytes of nibbles; the tensor's own float32 scale is a tensor beside
 * it.
 */
#include "quant/codec.h"

enum {
    NL_BLOCK = 32,
    NL_BYTES = 2 + 16,
    XS_BLOCK = 256,
    XS_BYTES = 2 + 2 + 4 + 128,
    MX_BLOCK = 32,
    MX_BYTES = 1 + 16,
    NV_BLOCK = 64,
    NV_GROUP = 16,
    NV_BYTES = 4 + 32,
};

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* `count` elements: the first half in the low nibbles of count / 2 bytes, the second half in the high ones. */
static void look_up(const int8_t values[16], float scale, const uint8_t *nibbles, float *out, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        out[i] = scale * (float)values[nibbles[i] & 0x0F];
        out[i + count / 2] = scale * (float)values[nibbles[i] >> 4];
    }
}

void iq4_nl_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= NL_BLOCK; n -= NL_BLOCK, block += NL_BYTES, out += NL_BLOCK)
        look_up(iq4_values, codec_f16(block), block + 2, out, NL_BLOCK);
}

/* d, high[2] (two bits of each of eight 6-bit scales), low[4] (four bits of each), nibbles[128]. */
void iq4_xs_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= XS_BLOCK; n -= XS_BLOCK, block += XS_BYTES, out += XS_BLOCK) {
        const float d = codec_f16(block);
        const uint32_t high = codec_u16(block + 2);
        for (size_t group = 0; group < XS_BLOCK / 32; group++) {
            const int32_t low_bits = block[4 + group / 2] >> (group % 2 * 4) & 0x0F;
            const int32_t high_bits = (int32_t)(high >> (group * 2) & 0x03);
            const float scale = d * (float)((low_bits | high_bits << 4) - 32);
            look_up(iq4_values, scale, block + 8 + group * 16, out + group * 32, 32);
        }
    }
}

/* 2^(exponent - 127) / 2; the two smallest are subnormal numbers. */
static float e8m0_half(uint8_t exponent)
{
    return f32_from_bits(exponent < 2 ? 0x00200000u << exponent : (uint32_t)(exponent - 1) << 23);
}

void mxfp4_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= MX_BLOCK; n -= MX_BLOCK, block += MX_BYTES, out += MX_BLOCK)
        look_up(e2m1_doubled, e8m0_half(block[0]), block + 1, out, MX_BLOCK);
}

/* Half of an E4M3 number whose sign bit means nothing; the code 0x7F, a NaN elsewhere, is zero here. */
static float ue4m3_half(uint8_t code)
{
    if (code == 0x7F) return 0.0f;
    const uint32_t magnitude = code & 0x7Fu;
    return f32_from_bits(magnitude << 20) * 0x1p119f;
}

void nvfp4_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (; n >= NV_BLOCK; n -= NV_BLOCK, block += NV_BYTES, out += NV_BLOCK) {
        for (size_t group = 0; group < NV_BLOCK / NV_GROUP; group++)
            look_up(e2m1_doubled, ue4m3_half(block[group]), block + 4 + group * 8, out + group * NV_GROUP, NV_GROUP);
    }
}
