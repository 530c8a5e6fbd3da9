/*
 * packed_kernels.h - products with packed panels for levels without an integer dot product of their own: a block is
 * expanded once and multiplied with all activations.
 *
 * The level may define PACKED_DOT, a function that adds to sums[r] the products of `groups` vectors of codes with as many
 * groups of four activations.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_KERNELS_H
#define IMP_COMPUTE_CPU_PACKED_KERNELS_H

#include "compute/cpu/kernels.h"

#ifndef PACKED_DOT
#define PACKED_DOT packed_dot

static void packed_dot(const uint8_t *codes, const int8_t *acts, int groups, int32_t sums[PANEL_ROWS])
{
    for (int r = 0; r < PANEL_ROWS; r++) {
        int32_t sum = 0;
        for (int g = 0; g < groups; g++)
            for (int i = 0; i < 4; i++) sum += codes[(g * PANEL_ROWS + r) * 4 + i] * acts[g * 4 + i];
        sums[r] = sum;
    }
}
#endif

/* The integers of a plane in one part of a block: sums of code - offset times activation. */
static void packed_part(const PackedFormat *format, const uint8_t *codes, const int8_t *acts, int32_t minus,
                        int32_t sums[PANEL_ROWS])
{
    const int32_t correction = format->offset_shift != 0 ? minus / (ACT_OFFSET >> format->offset_shift) : 0;
    PACKED_DOT(codes, acts, 8 / format->halves, sums);
    for (int r = 0; r < PANEL_ROWS; r++) sums[r] += correction;
}

/* Block b's part of one activation row's 16 sums, and of its low planes'. */
static void packed_add_block(const PackedFormat *format, const PlainBlock *block, const ActChunk *act, int b, float *out,
                             float *low_out)
{
    const bool joined = act->joined != 0, fine = !joined && (act->fine >> b & 1) != 0;
    F32x16 scaled = v_set1(0.0f), scaled_low = scaled;
    for (int half = 0; half < format->halves; half++) {
        const int part = act_part(format->halves, b, half), at = b * BLOCK_COLS + half * 16;
        const uint8_t *codes = block->codes + half * (BLOCK_CODES / 2);
        const F32x16 scale = v_load(block->scale[half]);
        int32_t sums[PANEL_ROWS], low[PANEL_ROWS];
        packed_part(format, codes, act->high + at, act->minus_high[part], sums);
        if (joined || fine) packed_part(format, codes, act->low + at, act->minus_low[part], low);
        for (int r = 0; r < PANEL_ROWS && joined; r++) sums[r] = sums[r] * 256 + low[r];
        const F32x16 value = v_load_s32(sums);
        scaled = half == 0 ? v_mul(value, scale) : v_fma(value, scale, scaled);
        if (!fine) continue;
        const F32x16 low_value = v_load_s32(low);
        scaled_low = half == 0 ? v_mul(low_value, scale) : v_fma(low_value, scale, scaled_low);
    }
    F32x16 total = v_fma(scaled, v_set1(act->scale[b]), v_load(out));
    for (int half = 0; half < format->halves && format->has_min; half++)
        total = v_fma(v_load(block->minimum[half]), v_set1(act->sum[act_part(format->halves, b, half)]), total);
    v_store(out, total);
    if (fine) v_store(low_out, v_fma(scaled_low, v_set1(act->low_scale[b]), v_load(low_out)));
}

static void packed_multiply(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                            const ActRows *acts, PackedScratch *scratch, float *out)
{
    const size_t n_out = (size_t)acts->n * PACKED_ROWS;
    float *low = scratch->low;
    memset(out, 0, n_out * sizeof *out);
    memset(low, 0, n_out * sizeof *low);
    for (int p = 0; p < n_panels; p++)
        for (int64_t b = 0; b < cols / BLOCK_COLS; b++) {
            PlainBlock *block = &scratch->panels[0].blocks[0];
            packed_expand(format, panels[p], b, block);
            for (int32_t a = 0; a < acts->n; a++) {
                const ActChunk *act = acts->first[a] + (size_t)(b / CHUNK_BLOCKS) * acts->stride;
                const int at = a * PACKED_ROWS + p * PANEL_ROWS;
                packed_add_block(format, block, act, (int)(b % CHUNK_BLOCKS), out + at, low + at);
            }
        }
    for (size_t i = 0; i < n_out; i++) out[i] += low[i];
}

#endif
