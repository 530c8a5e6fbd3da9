/*
 * bf16.h - BF16 weights and activations as tiles of BF16 multiply them, on the one level that has such tiles.
 *
 * Weights keep their bits. A panel is 16 rows side by side, for each 32 columns a tile of a kilobyte:
 *
 *     panel = for each 32 columns [16 pairs of columns][row][2]
 *
 * Activations are rounded to BF16 (to nearest, ties to even), 16 rows a group, the last group with fewer:
 *
 *     group = for each 32 columns [row of the group][32]
 *
 * A sum, for one row as for hundreds, is a chain over tiles of 32 columns, ascending: sum = sum + (even + odd), where even and odd
 * are chains of fused products over the columns of that parity. All of it is float32, rounded to nearest, and what is subnormal
 * counts as zero: TDPBF16PS, by Intel's Software Developer's Manual. Sums stay in a tile for all columns.
 */
#ifndef IMP_COMPUTE_CPU_BF16_H
#define IMP_COMPUTE_CPU_BF16_H

#include <stddef.h>
#include <stdint.h>

enum {
    BF16_ROWS = 16, /* of a panel, and of a group */
    BF16_COLS = 32,
    BF16_TILE_BYTES = BF16_ROWS * BF16_COLS * 2,
    BF16_PANELS = 8, /* most of a product … */
    BF16_ACTS = 512,  /* … and its most activation rows */
    BF16_PIECE = 64,  /* tiles of a panel; longer ones are multiplied with all rows in pieces, if rows are more than … */
    BF16_WHOLE = 32,
};

/* How many rows to multiply at once: so many that they stay in the second cache, half of it, while all panels pass, or all that
 * there may be where panels are longer than a piece. */
static inline int32_t bf16_acts_at_once(int64_t cols)
{
    const int64_t fitting = ((1 << 20) / (2 * cols)) & ~(int64_t)(2 * BF16_ROWS - 1);
    return cols > BF16_PIECE * BF16_COLS || fitting > BF16_ACTS ? BF16_ACTS : (int32_t)fitting;
}

static inline size_t bf16_panel_bytes(int64_t cols) { return (size_t)(cols / BF16_COLS) * BF16_TILE_BYTES; }

/* Re-lays `n_rows` <= BF16_ROWS rows of a file, `row_bytes` apart; missing rows repeat the last. cols: a multiple of BF16_COLS. */
void bf16_pack(const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols, uint8_t *panel);

/* Sums of a product whose columns are multiplied in several parts, while it runs. */
typedef struct Bf16Sums {
    _Alignas(64) float tiles[BF16_ACTS / BF16_ROWS * BF16_PANELS][BF16_ROWS][BF16_ROWS];
} Bf16Sums;

/* y[a][j] = scale * (row j of the panels x row a of the activations) + bias[j] for a < n_acts, j < n_rows. */
typedef struct Bf16Product {
    const uint8_t *panels; /* one behind the other, at most BF16_PANELS */
    int32_t n_rows;        /* of the panels */
    int32_t n_acts;        /* 1 … BF16_ACTS */
    int64_t cols;
    const uint16_t *acts;  /* groups, the first one full unless it is the last */
    Bf16Sums *sums;
    float *y;
    size_t y_stride;       /* floats */
    const int32_t *y_rows; /* where in y row a goes; NULL: a */
    const float *bias;     /* NULL: none */
    float scale;
} Bf16Product;

#endif
