/*
 * quantize_kernels.h - activations in fixed point (packed.h) over the vector of 16 floats.
 */
#ifndef IMP_COMPUTE_CPU_QUANTIZE_KERNELS_H
#define IMP_COMPUTE_CPU_QUANTIZE_KERNELS_H

#include "compute/cpu/float_kernels.h"

typedef struct ChunkScale {
    float scale, exponent[CHUNK_BLOCKS]; /* as in an ActChunk */
} ChunkScale;

/* Scale and exponents of a chunk of n blocks whose largest elements are `max`; `limit`: blocks above it are fine, and their
 * steps do not matter. Powers of two apart, the scale is one block's largest / 127: it has that block's mantissa. */
static void scale_chunk(const float *max, int n, float limit, ChunkScale *out)
{
    float mantissa[CPU_LANES], error[CPU_LANES], most = 0.0f;
    uint32_t power[CHUNK_BLOCKS];
    for (int b = 0; b < n; b++) most = max[b] > most ? max[b] : most;
    for (int b = 0; b < CHUNK_BLOCKS; b++) out->exponent[b] = 0.0f;
    out->scale = 0.0f;
    if (!(most > ACT_TINY)) return;
    const uint32_t top = f32_to_bits(most) >> 23;
    for (int b = 0; b < CPU_LANES; b++) {
        const uint32_t bits = f32_to_bits(b < n && max[b] > most * ACT_LEAST ? max[b] : most * ACT_LEAST);
        mantissa[b] = f32_from_bits((bits & 0x7FFFFFu) | 0x3F800000u);
        if (b < CHUNK_BLOCKS) power[b] = bits >> 23;
    }
    const F32x16 candidates = v_load(mantissa);
    F32x16 squares = v_set1(0.0f);
    for (int b = 0; b < n; b++) {
        const float unit = max[b] > limit ? 0.0f : f32_from_bits((127u + power[b] - top) << 23);
        const F32x16 square = v_set1(unit * unit), doubled = v_set1(4.0f * unit * unit);
        squares = v_add(squares, v_if_less(candidates, v_set1(mantissa[b]), doubled, square));
    }
    v_store(error, v_mul(squares, v_mul(candidates, candidates)));
    int best = 0;
    for (int b = 1; b < n; b++) best = error[b] < error[best] ? b : best;
    out->scale = mantissa[best] * f32_from_bits(top << 23) / 127.0f;
    for (int b = 0; b < n; b++) out->exponent[b] = (float)((int)power[b] - (int)top + (mantissa[b] > mantissa[best]));
}

/* Block b of a chunk that has its scale; `inverse` is one over it, or 0. */
static void quantize_block(const float *x, float inverse, bool fine, int b, ActChunk *out)
{
    const float exponent = out->exponent[b];
    const float power = f32_from_bits((uint32_t)(127 + (int)exponent) << 23), low_power = power * 0x1p-8f;
    const F32x16 factor = v_set1(inverse / (fine ? low_power : power)), byte = v_set1(256.0f);
    if (out->joined != 0) out->exponent[b] = exponent - 8.0f;
    int32_t all_high = 0, all_low = 0;
    for (int half = 0; half < 2; half++) {
        const int at = b * BLOCK_COLS + half * 16, part = act_part(2, b, half);
        const F32x16 q = v_round(v_mul(v_load(x + half * 16), factor));
        F32x16 high = q;
        int32_t sum_low = 0;
        if (fine) {
            /* A little above q / 256, so that a half rounds up and low is in -128 … 127. */
            high = v_round(v_fma(q, v_set1(0x1p-8f), v_set1(0x1p-10f)));
            const F32x16 low = v_sub(q, v_mul(high, byte));
            v_store_s8(out->low + at, low);
            sum_low = (int32_t)v_sum(low);
            out->minus_low[part] = -ACT_OFFSET * sum_low;
        }
        v_store_s8(out->high + at, high);
        const int32_t sum_high = (int32_t)v_sum(high);
        out->minus_high[part] = -ACT_OFFSET * sum_high;
        out->sum[part] = (float)(256 * sum_high + sum_low) * low_power;
        all_high += sum_high;
        all_low += sum_low;
    }
    out->minus_high[b] = -ACT_OFFSET * all_high;
    out->sum[b] = (float)(256 * all_high + all_low) * low_power;
    if (!fine) return;
    out->fine |= 1u << b;
    out->low_scale[b] = out->scale * low_power;
    out->minus_low[b] = -ACT_OFFSET * all_low;
}

static float block_max(const float *x)
{
    return v_reduce_max(v_max(v_abs(v_load(x)), v_abs(v_load(x + 16))));
}

/* Scales of some chunks come before their codes: a vector that was stored by its elements waits for every store before it,
 * and those of codes may go to lines that another processor holds. */
static void quantize_row(const float *x, int32_t n, float fine_threshold, ActChunk *out, size_t stride)
{
    enum { TOGETHER = 16 };
    const int32_t blocks = n / BLOCK_COLS;
    const bool joined = !(fine_threshold > 0.0f);
    F32x16 poison = v_set1(0.0f);
    float squares = 0.0f;
    for (int32_t b = 0; b < blocks; b++) {
        const F32x16 first = v_load(x + b * BLOCK_COLS), second = v_load(x + b * BLOCK_COLS + 16);
        if (b % CHUNK_BLOCKS == 0) expect_chunk(out + (size_t)(b / CHUNK_BLOCKS) * stride, joined);
        poison = v_fma(first, v_set1(0.0f), v_fma(second, v_set1(0.0f), poison));
        const float max = block_max(x + b * BLOCK_COLS);
        squares += max * max;
    }
    /* Zero, or not a number when an infinity or one such is in the row: then so is every product with it. */
    const bool bad = v_sum(poison) != 0.0f;
    const float limit = joined ? INFINITY : fine_threshold * sqrtf(squares / (float)blocks);
    for (int32_t group = 0; group < blocks; group += TOGETHER * CHUNK_BLOCKS) {
        float max[TOGETHER * CHUNK_BLOCKS];
        ChunkScale scales[TOGETHER];
        const int32_t n_blocks = blocks - group < TOGETHER * CHUNK_BLOCKS ? blocks - group : TOGETHER * CHUNK_BLOCKS;
        for (int32_t b = 0; b < n_blocks; b++) max[b] = block_max(x + (group + b) * BLOCK_COLS);
        for (int32_t b = 0; b < n_blocks; b += CHUNK_BLOCKS)
            scale_chunk(max + b, n_blocks - b < CHUNK_BLOCKS ? n_blocks - b : CHUNK_BLOCKS, limit, &scales[b / CHUNK_BLOCKS]);
        for (int32_t b = 0; b < n_blocks; b++) {
            const ChunkScale *scale = &scales[b / CHUNK_BLOCKS];
            if (b > 0 && b % CHUNK_BLOCKS == 0) out += stride;
            if (b % CHUNK_BLOCKS == 0) {
                if (bad) poison_chunk(out);
                out->fine = 0;
                out->joined = joined;
                if (!bad) out->scale = scale->scale;
            }
            if (bad) continue;
            out->exponent[b % CHUNK_BLOCKS] = scale->exponent[b % CHUNK_BLOCKS];
            quantize_block(x + (group + b) * BLOCK_COLS, scale->scale > 0.0f ? 1.0f / scale->scale : 0.0f,
                           joined || max[b] > limit, b % CHUNK_BLOCKS, out);
        }
        out += stride;
    }
}

#endif
