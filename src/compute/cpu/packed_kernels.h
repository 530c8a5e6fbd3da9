/*
 * packed_kernels.h - products with packed panels in plain C, which the other levels repeat: a block is expanded once and
 * multiplied with all activations.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_KERNELS_H
#define IMP_COMPUTE_CPU_PACKED_KERNELS_H

#include "compute/cpu/kernels.h"

/* sums[r] of the products of `groups` vectors of codes with as many groups of four activations. */
static void packed_dot(const uint8_t *codes, const int8_t *acts, int groups, int32_t sums[PANEL_ROWS])
{
    for (int r = 0; r < PANEL_ROWS; r++) {
        int32_t sum = 0;
        for (int g = 0; g < groups; g++)
            for (int i = 0; i < 4; i++) sum += codes[(g * PANEL_ROWS + r) * 4 + i] * acts[g * 4 + i];
        sums[r] = sum;
    }
}

/* The integers of a plane in one part of a block: sums of code - offset times activation. */
static void packed_part(const PackedFormat *format, const uint8_t *codes, const int8_t *acts, int32_t minus,
                        int32_t sums[PANEL_ROWS])
{
    const int32_t correction = format->offset_shift != 0 ? minus / (ACT_OFFSET >> format->offset_shift) : 0;
    packed_dot(codes, acts, 8 / format->halves, sums);
    for (int r = 0; r < PANEL_ROWS; r++) sums[r] += correction;
}

/* A row's sums in a chunk, to be scaled by it, and over all low planes. */
typedef struct PackedSums {
    F32x16 chunk, low;
} PackedSums;

/* Block b's part of one activation row's 16 sums. */
static PackedSums packed_add_block(const PackedFormat *format, const PlainBlock *block, const ActChunk *act, int b, PackedSums out)
{
    const bool joined = act->joined != 0, fine = !joined && (act->fine >> b & 1) != 0;
    const F32x16 power = v_pow2(v_set1(act->exponent[b]));
    F32x16 scaled_low = v_set1(0.0f);
    for (int half = 0; half < format->halves; half++) {
        const int part = act_part(format->halves, b, half), at = b * BLOCK_COLS + half * 16;
        const uint8_t *codes = block->codes + half * (BLOCK_CODES / 2);
        const F32x16 scale = v_load(block->scale[half]);
        int32_t sums[PANEL_ROWS], low[PANEL_ROWS];
        packed_part(format, codes, act->high + at, act->minus_high[part], sums);
        if (joined || fine) packed_part(format, codes, act->low + at, act->minus_low[part], low);
        for (int r = 0; r < PANEL_ROWS && joined; r++) sums[r] = sums[r] * 256 + low[r];
        out.chunk = v_fma(v_mul(v_load_s32(sums), power), scale, out.chunk);
        if (!fine) continue;
        const F32x16 low_value = v_load_s32(low);
        scaled_low = half == 0 ? v_mul(low_value, scale) : v_fma(low_value, scale, scaled_low);
    }
    for (int half = 0; half < format->halves && format->has_min; half++)
        out.chunk = v_fma(v_load(block->minimum[half]), v_set1(act->sum[act_part(format->halves, b, half)]), out.chunk);
    if (fine) out.low = v_fma(scaled_low, v_set1(act->low_scale[b]), out.low);
    return out;
}

/* A chunk of one panel times all rows: adds to their sums. */
static void packed_add_chunk(const PackedFormat *format, const PlainChunk *panel, int n_blocks, const ActRows *acts,
                             size_t offset, float *out, float *low)
{
    for (int32_t a = 0; a < acts->n; a++, out += PACKED_ROWS, low += PACKED_ROWS) {
        const ActChunk *act = acts->first[a] + offset;
        PackedSums sums = {v_set1(0.0f), v_load(low)};
        for (int b = 0; b < n_blocks; b++) sums = packed_add_block(format, &panel->blocks[b], act, b, sums);
        v_store(out, v_fma(sums.chunk, v_set1(act->scale), v_load(out)));
        v_store(low, sums.low);
    }
}

static void packed_multiply(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                            const ActRows *acts, PackedScratch *scratch, float *const out[])
{
    const size_t n_out = (size_t)acts->n * PACKED_ROWS;
    float *high = scratch->high, *low = scratch->low;
    memset(high, 0, n_out * sizeof *high);
    memset(low, 0, n_out * sizeof *low);
    for (int p = 0; p < n_panels; p++)
        for (int32_t chunk = 0; chunk < act_chunks(cols); chunk++) {
            const int64_t first = (int64_t)chunk * CHUNK_BLOCKS, left = cols / BLOCK_COLS - first;
            const int n_blocks = left < CHUNK_BLOCKS ? (int)left : CHUNK_BLOCKS;
            PlainChunk *panel = &scratch->panels[0];
            for (int b = 0; b < n_blocks; b++) packed_expand(format, panels[p], first + b, &panel->blocks[b]);
            packed_add_chunk(format, panel, n_blocks, acts, (size_t)chunk * acts->stride, high + p * PANEL_ROWS,
                             low + p * PANEL_ROWS);
        }
    for (int32_t a = 0; a < acts->n; a++, high += PACKED_ROWS, low += PACKED_ROWS)
        for (int i = 0; i < n_panels * PANEL_ROWS; i++) out[a][i] = high[i] + low[i];
}

#endif
