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

/* One block's part of one activation row's 16 sums. */
static void packed_add_block(const PackedFormat *format, const PlainBlock *block, const ActBlock *act, float *out)
{
    const int groups = 8 / format->halves, offset = format->offset_shift != 0 ? 1 << format->offset_shift : 0;
    F32x16 total = v_load(out), scaled = v_set1(0.0f);
    for (int half = 0; half < format->halves; half++) {
        const uint8_t *codes = block->codes + half * (BLOCK_CODES / 2);
        const int which = format->halves == 1 ? 2 : half;
        int32_t sums[PANEL_ROWS], low[PANEL_ROWS];
        PACKED_DOT(codes, act->high + half * 16, groups, sums);
        for (int r = 0; r < PANEL_ROWS; r++) sums[r] += act->minus_high[which] * offset;
        if (act->fine != 0) {
            PACKED_DOT(codes, act->low + half * 16, groups, low);
            for (int r = 0; r < PANEL_ROWS; r++) sums[r] = sums[r] * 256 + low[r] + act->minus_low[which] * offset;
        }
        const F32x16 value = v_load_s32(sums), scale = v_load(block->scale[half]);
        scaled = half == 0 ? v_mul(value, scale) : v_fma(value, scale, scaled);
    }
    total = v_fma(scaled, v_set1(act->scale), total);
    for (int half = 0; half < format->halves && format->has_min; half++)
        total = v_fma(v_load(block->minimum[half]), v_set1(act->sum[format->halves == 1 ? 2 : half]), total);
    v_store(out, total);
}

static void packed_multiply(const PackedFormat *format, const uint8_t *const panels[2], int n_panels, int64_t cols,
                            const ActBlock *const acts[], int32_t n_acts, PlainBlock *scratch, float *out)
{
    for (int32_t i = 0; i < n_acts * PACKED_ROWS; i++) out[i] = 0.0f;
    for (int p = 0; p < n_panels; p++)
        for (int64_t b = 0; b < cols / BLOCK_COLS; b++) {
            packed_expand(format, panels[p], b, scratch);
            for (int32_t a = 0; a < n_acts; a++)
                packed_add_block(format, scratch, &acts[a][b], out + a * PACKED_ROWS + p * PANEL_ROWS);
        }
}

#endif
