/*
 * codec_plain.c - types that are a number an element: nothing but the width and the bits of the number change.
 */
#include "quant/codec.h"

void f32_decode(const void *blocks, float *out, size_t n)
{
    if (n > 0) memcpy(out, blocks, n * sizeof *out);
}

void f32_encode(const float *in, void *blocks, size_t n)
{
    if (n > 0) memcpy(blocks, in, n * sizeof *in);
}

void f64_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        out[i] = (float)value;
    }
}

void f64_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) {
        const double value = in[i];
        memcpy(bytes + i * sizeof value, &value, sizeof value);
    }
}

void f16_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) out[i] = codec_f16(bytes + 2 * i);
}

void f16_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) codec_put_u16(bytes + 2 * i, f32_to_f16(in[i]));
}

void bf16_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) out[i] = bf16_to_f32(codec_u16(bytes + 2 * i));
}

void bf16_encode(const float *in, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) codec_put_u16(bytes + 2 * i, f32_to_bf16(in[i]));
}

void f8_e4m3_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) out[i] = f8_e4m3_to_f32(bytes[i]);
}

void f8_e5m2_decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) out[i] = f8_e5m2_to_f32(bytes[i]);
}
