/*
 * codec.h - the decoders and encoders that the table in dtype.c points to, one file a family of formats.
 *
 * Inside the quant room only. Every function follows DTypeDecode or DTypeEncode in dtype.h.
 */
#ifndef IMP_QUANT_CODEC_H
#define IMP_QUANT_CODEC_H

#include "quant/dtype.h"
#include "quant/float_bits.h"

#include <string.h>

/* Numbers in blocks are little-endian and lie at any address. */
static inline uint16_t codec_u16(const uint8_t *bytes) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

static inline uint32_t codec_u32(const uint8_t *bytes)
{
    return (uint32_t)codec_u16(bytes) | (uint32_t)codec_u16(bytes + 2) << 16;
}

static inline float codec_f16(const uint8_t *bytes) { return f16_to_f32(codec_u16(bytes)); }

static inline void codec_put_u16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value & 0xFF);
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void codec_put_u32(uint8_t *bytes, uint32_t value)
{
    codec_put_u16(bytes, (uint16_t)(value & 0xFFFF));
    codec_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

/* codec_plain.c: a number an element. */
DTypeDecode f32_decode, f64_decode, f16_decode, bf16_decode, f8_e4m3_decode, f8_e5m2_decode;
DTypeEncode f32_encode, f64_encode, f16_encode, bf16_encode;

/* codec_legacy.c: blocks of 32 with one scale. */
DTypeDecode q4_0_decode, q4_1_decode, q5_0_decode, q5_1_decode, q8_0_decode;
DTypeEncode q4_0_encode, q4_1_encode, q5_0_encode, q5_1_encode, q8_0_encode;

/* codec_k.c: super-blocks of 256 whose scales are quantized too. */
DTypeDecode q2_k_decode, q3_k_decode, q4_k_decode, q5_k_decode, q6_k_decode;

/* codec_lut.c: four bits that choose from sixteen uneven values. */
DTypeDecode iq4_nl_decode, iq4_xs_decode, mxfp4_decode, nvfp4_decode;

#endif
