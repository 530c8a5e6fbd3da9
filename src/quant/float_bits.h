/*
 * float_bits.h - 16- and 8-bit floating point numbers, bit by bit, for code that has no instruction for them.
 */
#ifndef IMP_QUANT_FLOAT_BITS_H
#define IMP_QUANT_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

static inline float f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float bf16_to_f32(uint16_t half) { return f32_from_bits((uint32_t)half << 16); }

/* Round to nearest even; a NaN stays a (quiet) NaN. */
static inline uint16_t f32_to_bf16(float value)
{
    const uint32_t bits = f32_to_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

static inline float f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t magnitude = half & 0x7FFFu;
    /* Shifted into place the exponent is 112 too small: a multiplication by 2^112 mends it, subnormals included. */
    if (magnitude >= 0x7C00u) return f32_from_bits(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
    return f32_from_bits(sign | f32_to_bits(f32_from_bits(magnitude << 13) * 0x1p112f));
}

/* Round to nearest even; overflow gives infinity, a NaN stays one. */
static inline uint16_t f32_to_f16(float value)
{
    const uint32_t bits = f32_to_bits(value);
    const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and above */
    if (magnitude < 0x38800000u) {
        /* Subnormal half: adding 0.5 puts its last bit at the last bit of the sum's mantissa, and the FPU rounds. */
        const uint32_t rounded = f32_to_bits(f32_from_bits(magnitude) + 0.5f) - 0x3F000000u;
        return (uint16_t)(sign | rounded);
    }
    const uint32_t rebased = magnitude - 0x38000000u;
    return (uint16_t)(sign | ((rebased + 0xFFFu + ((rebased >> 13) & 1u)) >> 13));
}

/* OCP E4M3 (no infinities, NaN is S.1111.111) and E5M2. */
static inline float f8_e4m3_to_f32(uint8_t byte)
{
    const uint32_t sign = (uint32_t)(byte & 0x80u) << 24;
    const uint32_t magnitude = byte & 0x7Fu;
    if (magnitude == 0x7Fu) return f32_from_bits(sign | 0x7FC00000u);
    return f32_from_bits(sign | f32_to_bits(f32_from_bits(magnitude << 20) * 0x1p120f));
}

static inline float f8_e5m2_to_f32(uint8_t byte) { return f16_to_f32((uint16_t)(byte << 8)); }

#endif
