/*
 * wide.c - re-laying half-precision rows into panels of integers.
 */
#include "compute/cpu/wide.h"

#include "quant/float_bits.h"

#include <string.h>

/* The exponent, as in a float's bits, of what a block's codes count: its largest element has 13 bits then. Nothing
 * smaller than 2^-126 is counted; 255 stands for a block with an element that is no finite number. */
static uint8_t block_exponent(const float *x)
{
    uint32_t most = 0;
    for (int i = 0; i < WIDE_COLS; i++) {
        const uint32_t magnitude = f32_to_bits(x[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    const uint32_t exponent = most >> 23;
    if (exponent == 255) return 255;
    return (uint8_t)(exponent > WIDE_WEIGHT_BITS ? exponent - WIDE_WEIGHT_BITS + 1 : 1);
}

/* Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum. */
static void block_codes(const float *x, uint8_t exponent, int16_t *codes)
{
    if (exponent == 255) {
        for (int i = 0; i < WIDE_COLS; i++) codes[i] = 1; /* times an infinite scale */
        return;
    }
    const float inverse = f32_from_bits((uint32_t)(254 - exponent) << 23);
    for (int i = 0; i < WIDE_COLS; i++) codes[i] = (int16_t)(f32_to_bits(x[i] * inverse + 0x1.8p23f) - 0x4B400000u);
}

void wide_pack(DTypeDecode *decode, const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols,
               uint8_t *panel)
{
    const size_t element = sizeof(uint16_t);
    uint8_t *exponents = panel, *block = panel + wide_exponent_bytes(cols);
    for (int64_t first = 0; first < cols; first += WIDE_COLS) {
        for (int32_t r = 0; r < WIDE_ROWS; r++) {
            float x[WIDE_COLS];
            int16_t codes[WIDE_COLS];
            decode(rows + (size_t)(r < n_rows ? r : n_rows - 1) * row_bytes + (size_t)first * element, x, WIDE_COLS);
            exponents[r] = block_exponent(x);
            block_codes(x, exponents[r], codes);
            for (int pair = 0; pair < WIDE_COLS / 2; pair++)
                memcpy(block + (size_t)(pair * WIDE_ROWS + r) * 2 * element, codes + 2 * pair, 2 * element);
        }
        exponents += WIDE_ROWS;
        block += WIDE_BLOCK_CODES * element;
    }
}
