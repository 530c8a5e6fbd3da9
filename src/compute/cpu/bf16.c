/* bf16.c - re-laying BF16 rows into panels. */
#include "compute/cpu/bf16.h"

#include <string.h>

void bf16_pack(const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols, uint8_t *panel)
{
    enum { PAIR_BYTES = 4, ROW_TILE_BYTES = BF16_COLS * 2 };
    for (int64_t tile = 0; tile < cols / BF16_COLS; tile++, panel += BF16_TILE_BYTES)
        for (int32_t r = 0; r < BF16_ROWS; r++) {
            const uint8_t *from = rows + (size_t)(r < n_rows ? r : n_rows - 1) * row_bytes + (size_t)tile * ROW_TILE_BYTES;
            for (int pair = 0; pair < BF16_COLS / 2; pair++)
                memcpy(panel + (pair * BF16_ROWS + r) * PAIR_BYTES, from + pair * PAIR_BYTES, PAIR_BYTES);
        }
}
