/*
 * wide_avx512.h - products with panels of 16-bit integers by VNNI: 32 products an instruction.
 *
 * Few activation rows: four panels are read once, in order. Many: tiles of up to 6 activation rows and two panels, 12
 * integer and 12 float sums in registers, pass over the panels in pieces, a group of rows at a time: the
 * second cache holds both.
 */
#ifndef IMP_COMPUTE_CPU_WIDE_AVX512_H
#define IMP_COMPUTE_CPU_WIDE_AVX512_H

#include "compute/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

enum { WIDE_TILE = 6, WIDE_PIECE = 32 /* blocks */, WIDE_GROUP = 11 * WIDE_TILE /* activation rows */ };

KERNEL_INLINE __m512i two_acts(const WideAct *act, int pair)
{
    int32_t two;
    memcpy(&two, act->codes + 2 * pair, sizeof two);
    return _mm512_set1_epi32(two);
}

KERNEL_INLINE __m512 wide_scales(const uint8_t *exponents)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)exponents);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23));
}

KERNEL_INLINE __m512 wide_add(__m512i sum, __m512 scale, const WideAct *act, __m512 total)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), _mm512_set1_ps(act->scale), total);
}

/* The exponents lie apart from the codes, a line for four blocks, where no processor expects the next read: those of
 * the panel behind the last one are asked for while its codes are read. */
KERNEL_INLINE void wide_fetch_exponents(const uint8_t *panel, int64_t cols)
{
    for (size_t i = 0; i < wide_exponent_bytes(cols); i += 64) _mm_prefetch((const char *)panel + i, _MM_HINT_T0);
}

/* Four panels side by side, so that activations are loaded once for all, or one, its integers in four chains to hide
 * the latency of one activation row. */
KERNEL_INLINE void wide_few(const uint8_t *const panels[], int n_panels, int64_t cols, const WideAct *const acts[],
                            int n_acts, float *out)
{
    enum { SUMS = 4, FEW = 3 };
    const int chains = SUMS / n_panels;
    const uint8_t *codes[SUMS];
    __m512 total[SUMS][FEW];
    UNROLL for (int p = 0; p < n_panels; p++) {
        codes[p] = panels[p] + wide_exponent_bytes(cols);
        wide_fetch_exponents(panels[p] + (size_t)n_panels * wide_panel_bytes(cols), cols);
        UNROLL for (int a = 0; a < n_acts; a++) total[p][a] = _mm512_setzero_ps();
    }
    for (int64_t b = 0; b < cols / WIDE_COLS; b++) {
        __m512i sum[SUMS][FEW];
        UNROLL for (int i = 0; i < SUMS; i++)
            UNROLL for (int a = 0; a < n_acts; a++) sum[i][a] = _mm512_setzero_si512();
        for (int pair = 0; pair < WIDE_COLS / 2; pair += chains)
            UNROLL for (int i = 0; i < n_panels * chains; i++) {
                const __m512i weights = _mm512_loadu_si512(codes[i / chains] + (pair + i % chains) * 64);
                UNROLL for (int a = 0; a < n_acts; a++)
                    sum[i][a] = _mm512_dpwssd_epi32(sum[i][a], weights, two_acts(&acts[a][b], pair + i % chains));
            }
        UNROLL for (int p = 0; p < n_panels; p++) {
            const __m512 scale = wide_scales(panels[p] + b * WIDE_ROWS);
            codes[p] += WIDE_BLOCK_CODES * sizeof(int16_t);
            UNROLL for (int a = 0; a < n_acts; a++) {
                __m512i all = sum[p * chains][a];
                UNROLL for (int c = 1; c < chains; c++) all = _mm512_add_epi32(all, sum[p * chains + c][a]);
                total[p][a] = wide_add(all, scale, &acts[a][b], total[p][a]);
            }
        }
    }
    UNROLL for (int p = 0; p < n_panels; p++)
        UNROLL for (int a = 0; a < n_acts; a++) _mm512_storeu_ps(out + a * PACKED_ROWS + p * WIDE_ROWS, total[p][a]);
}

#define WIDE_FEW_OF(n_panels, n_acts)                                                                                  \
    static void wide_few_##n_panels##_##n_acts(const uint8_t *const panels[], int64_t cols, const WideAct *const acts[], \
                                               float *out)                                                             \
    {                                                                                                                  \
        wide_few(panels, n_panels, cols, acts, n_acts, out);                                                           \
    }
WIDE_FEW_OF(1, 1)
WIDE_FEW_OF(1, 2)
WIDE_FEW_OF(1, 3)
WIDE_FEW_OF(4, 1)
WIDE_FEW_OF(4, 2)
WIDE_FEW_OF(4, 3)
#undef WIDE_FEW_OF

/* What is asked for, for the second cache, while a tile is multiplied: `lines` from each place on for each of its blocks. */
typedef struct WideAhead {
    const uint8_t *codes[2];
    int lines;
} WideAhead;

/* Adds blocks first … end-1 to what is in `out`. */
KERNEL_INLINE void wide_tile(const uint8_t *const panels[2], int n_panels, int64_t cols, int64_t first, int64_t end,
                             const WideAct *const acts[], int n_acts, WideAhead ahead, float *out)
{
    const uint8_t *codes[2];
    __m512 total[2][WIDE_TILE];
    UNROLL for (int p = 0; p < n_panels; p++) {
        codes[p] = panels[p] + wide_exponent_bytes(cols);
        UNROLL for (int a = 0; a < n_acts; a++)
            total[p][a] = first == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out + a * PACKED_ROWS + p * WIDE_ROWS);
    }
    for (int64_t b = first; b < end; b++) {
        __m512i sum[2][WIDE_TILE];
        UNROLL for (int p = 0; p < n_panels; p++)
            UNROLL for (int a = 0; a < n_acts; a++) sum[p][a] = _mm512_setzero_si512();
        for (int line = 0; line < ahead.lines; line++)
            UNROLL for (int p = 0; p < n_panels; p++) {
                _mm_prefetch((const char *)ahead.codes[p], _MM_HINT_T1);
                ahead.codes[p] += 64;
            }
        const size_t block = (size_t)b * WIDE_BLOCK_CODES * sizeof(int16_t);
        for (int pair = 0; pair < WIDE_COLS / 2; pair++) {
            __m512i weights[2];
            UNROLL for (int p = 0; p < n_panels; p++) weights[p] = _mm512_loadu_si512(codes[p] + block + (size_t)pair * 64);
            UNROLL for (int a = 0; a < n_acts; a++) {
                const __m512i act = two_acts(&acts[a][b], pair);
                UNROLL for (int p = 0; p < n_panels; p++) sum[p][a] = _mm512_dpwssd_epi32(sum[p][a], weights[p], act);
            }
        }
        UNROLL for (int p = 0; p < n_panels; p++) {
            const __m512 scale = wide_scales(panels[p] + b * WIDE_ROWS);
            UNROLL for (int a = 0; a < n_acts; a++) total[p][a] = wide_add(sum[p][a], scale, &acts[a][b], total[p][a]);
        }
    }
    UNROLL for (int p = 0; p < n_panels; p++)
        UNROLL for (int a = 0; a < n_acts; a++) _mm512_storeu_ps(out + a * PACKED_ROWS + p * WIDE_ROWS, total[p][a]);
}

typedef void WideTile(const uint8_t *const panels[2], int64_t cols, int64_t first, int64_t end,
                      const WideAct *const acts[], WideAhead ahead, float *out);

#define WIDE_TILE_OF(name, n_panels, n_acts)                                                                           \
    static void name(const uint8_t *const panels[2], int64_t cols, int64_t first, int64_t end,                         \
                     const WideAct *const acts[], WideAhead ahead, float *out)                                         \
    {                                                                                                                  \
        wide_tile(panels, n_panels, cols, first, end, acts, n_acts, ahead, out);                                       \
    }
#define WIDE_TILES(n) WIDE_TILE_OF(wide_tile_one_##n, 1, n) WIDE_TILE_OF(wide_tile_two_##n, 2, n)
WIDE_TILES(1)
WIDE_TILES(2)
WIDE_TILES(3)
WIDE_TILES(4)
WIDE_TILES(5)
WIDE_TILES(6)
#undef WIDE_TILES
#undef WIDE_TILE_OF

/* The piece behind the one that starts at block `first` of panels p and p + 1, in as many parts as there are tiles. More than
 * a group of rows leave the memory time enough, and the second cache no room. */
static WideAhead wide_ahead(const uint8_t *const panels[], int p, int n_panels, int64_t cols, int64_t first, int32_t n_acts)
{
    const int32_t parts = (n_acts + WIDE_TILE - 1) / WIDE_TILE;
    if (n_acts > WIDE_GROUP) return (WideAhead){.codes = {panels[p], panels[p]}};
    const size_t bytes = wide_panel_bytes(cols), exponents = wide_exponent_bytes(cols);
    const uint8_t *next = panels[p] + exponents + (size_t)(first + WIDE_PIECE) * WIDE_BLOCK_CODES * sizeof(int16_t);
    if (first + WIDE_PIECE >= cols / WIDE_COLS) {
        next = panels[p] + (size_t)(n_panels - p > 1 ? 2 : 1) * bytes;
        for (int i = 0; i < 2; i++) wide_fetch_exponents(next + (size_t)i * bytes, cols);
        next += exponents;
    }
    return (WideAhead){{next, next + bytes}, (WIDE_BLOCK_CODES * 2 / 64 + parts - 1) / parts};
}

static void wide_multiply_avx512(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                                 const WideAct *const acts[], int32_t n_acts, float *out)
{
    /* By whether there are four panels, activation rows - 1. */
    static void (*const few[2][3])(const uint8_t *const[], int64_t, const WideAct *const[], float *) = {
        {wide_few_1_1, wide_few_1_2, wide_few_1_3}, {wide_few_4_1, wide_few_4_2, wide_few_4_3}};
    /* By panels - 1, activation rows - 1. */
    static WideTile *const wide_tiles[2][WIDE_TILE] = {
        {wide_tile_one_1, wide_tile_one_2, wide_tile_one_3, wide_tile_one_4, wide_tile_one_5, wide_tile_one_6},
        {wide_tile_two_1, wide_tile_two_2, wide_tile_two_3, wide_tile_two_4, wide_tile_two_5, wide_tile_two_6},
    };
    const int64_t blocks = cols / WIDE_COLS;
    if (n_acts <= 3) {
        const int together = n_panels == PACKED_PANELS ? PACKED_PANELS : 1;
        for (int p = 0; p < n_panels; p += together)
            few[together > 1][n_acts - 1](panels + p, cols, acts, out + p * WIDE_ROWS);
        return;
    }
    for (int32_t group = 0; group < n_acts; group += WIDE_GROUP) {
        const int32_t group_end = n_acts - group < WIDE_GROUP ? n_acts : group + WIDE_GROUP;
        for (int p = 0; p < n_panels; p += 2)
            for (int64_t first = 0; first < blocks; first += WIDE_PIECE) {
                const int64_t end = blocks - first < WIDE_PIECE ? blocks : first + WIDE_PIECE;
                WideAhead ahead = wide_ahead(panels, p, n_panels, cols, first, n_acts);
                for (int32_t a = group; a < group_end; a += WIDE_TILE) {
                    const int32_t n = group_end - a < WIDE_TILE ? group_end - a : WIDE_TILE;
                    wide_tiles[n_panels - p > 1][n - 1](panels + p, cols, first, end, acts + a, ahead,
                                                        out + a * PACKED_ROWS + p * WIDE_ROWS);
                    for (int i = 0; i < 2; i++) ahead.codes[i] += (end - first) * ahead.lines * 64;
                }
            }
    }
}

#endif
