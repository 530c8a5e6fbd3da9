/*
 * wide_kernels.h - products with panels of 16-bit integers, for levels without a 16-bit dot product of their own.
 *
 * The level may define WIDE_DOT, a function that writes 16 sums for each of n <= WIDE_TOGETHER activation rows.
 */
#ifndef IMP_COMPUTE_CPU_WIDE_KERNELS_H
#define IMP_COMPUTE_CPU_WIDE_KERNELS_H

#include "compute/cpu/kernels.h"

#ifndef WIDE_DOT
#define WIDE_DOT wide_dot
enum { WIDE_TOGETHER = 4 };

static void wide_dot(const int16_t *codes, const WideAct *const acts[], int n, int32_t sums[][WIDE_ROWS])
{
    for (int a = 0; a < n; a++)
        for (int r = 0; r < WIDE_ROWS; r++) {
            int32_t sum = 0;
            for (int pair = 0; pair < WIDE_COLS / 2; pair++)
                for (int i = 0; i < 2; i++) sum += codes[(pair * WIDE_ROWS + r) * 2 + i] * acts[a]->codes[2 * pair + i];
            sums[a][r] = sum;
        }
}
#endif

static F32x16 wide_scale(const uint8_t *exponents)
{
    float scale[WIDE_ROWS];
    for (int r = 0; r < WIDE_ROWS; r++) scale[r] = f32_from_bits((uint32_t)exponents[r] << 23);
    return v_load(scale);
}

static void wide_multiply(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols, const WideAct *const acts[],
                          int32_t n_acts, float *out)
{
    for (int32_t i = 0; i < n_acts * PACKED_ROWS; i++) out[i] = 0.0f;
    for (int p = 0; p < n_panels; p++)
        for (int64_t b = 0; b < cols / WIDE_COLS; b++) {
            const F32x16 scale = wide_scale(panels[p] + b * WIDE_ROWS);
            const int16_t *codes = (const int16_t *)(const void *)(panels[p] + wide_exponent_bytes(cols));
            for (int32_t first = 0; first < n_acts; first += WIDE_TOGETHER) {
                const int n = n_acts - first < WIDE_TOGETHER ? n_acts - first : WIDE_TOGETHER;
                const WideAct *together[WIDE_TOGETHER];
                int32_t sums[WIDE_TOGETHER][WIDE_ROWS];
                for (int a = 0; a < n; a++) together[a] = &acts[first + a][b];
                WIDE_DOT(codes + b * WIDE_BLOCK_CODES, together, n, sums);
                for (int a = 0; a < n; a++) {
                    float *total = out + (first + a) * PACKED_ROWS + p * WIDE_ROWS;
                    const F32x16 scaled = v_mul(v_load_s32(sums[a]), scale);
                    v_store(total, v_fma(scaled, v_set1(together[a]->scale), v_load(total)));
                }
            }
        }
}

#endif
