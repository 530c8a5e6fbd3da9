/*
 * wide.h - half-precision weights and their activations as 16-bit integers, because integer products are twice as many
 * an instruction as float32 products, on every level, and come out the same on every level.
 *
 * Weights: a panel is 16 rows side by side, cut into blocks of 64 columns. A block of a row shares a power of two, and
 * its elements are 14-bit integers beside it: BF16 down to a 32nd of the block's largest element is exact, F16 down to
 * a quarter, and what is smaller is off by an 8,192th of the largest at most.
 *
 *     panel = [exponents: 16 bytes a block, padded to 64] [codes: for each block [32][row][2] int16]
 *
 * Activations: 13-bit integers with a float32 scale a block of 64, where a BF16 product of others has 8 bits each.
 *
 * A sum over k: 64 * 8191 * 4095 < 2^31, so that a block's integers are exact in any order; then
 * sum = fma(float(integer) * weight scale, activation scale, sum), blocks ascending.
 */
#ifndef IMP_COMPUTE_CPU_WIDE_H
#define IMP_COMPUTE_CPU_WIDE_H

#include "model/weight.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIDE_ROWS = 16,
    WIDE_COLS = 64,
    WIDE_BLOCK_CODES = WIDE_ROWS * WIDE_COLS,
    WIDE_WEIGHT_BITS = 13, /* beside the sign */
    WIDE_ACT_MAX = 4095,
};

/* 64 activations: scale * code. */
typedef struct WideAct {
    int16_t codes[WIDE_COLS];
    float scale;
    int8_t high[WIDE_COLS], low[WIDE_COLS]; /* code = 128 * high + low: of a level that multiplies bytes */
} WideAct;

/* Whether a matrix is multiplied this way. */
static inline bool wide_fits(const Weight *weight)
{
    return (weight->type == DT_F16 || weight->type == DT_BF16) && weight->cols % WIDE_COLS == 0 && !weight->exact;
}

static inline size_t wide_exponent_bytes(int64_t cols)
{
    return ((size_t)(cols / WIDE_COLS) * WIDE_ROWS + 63) & ~(size_t)63;
}

static inline size_t wide_panel_bytes(int64_t cols)
{
    return wide_exponent_bytes(cols) + (size_t)(cols / WIDE_COLS) * WIDE_BLOCK_CODES * sizeof(int16_t);
}

/* Re-lays `n_rows` <= WIDE_ROWS rows of a file, `row_bytes` apart, which `decode` makes floats of; missing rows repeat
 * the last. */
void wide_pack(DTypeDecode *decode, const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols,
               uint8_t *panel);

#endif
