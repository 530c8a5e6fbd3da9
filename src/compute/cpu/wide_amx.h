/*
 * wide_amx.h - products with panels of 16-bit integers in tiles of bytes.
 *
 * F16 weights have no tile of their own: tiles of BF16 would cut them to 8 bits. So both factors are cut into bytes, 128 * high +
 * low, and four products of bytes make one of 16 bits: exact, and the same as on every other level. BF16 weights come here only on a
 * processor whose tiles know no BF16 (bf16.h is for the others).
 */
#ifndef IMP_COMPUTE_CPU_WIDE_AMX_H
#define IMP_COMPUTE_CPU_WIDE_AMX_H

#include "compute/cpu/packed_amx.h"
#include "compute/cpu/wide.h"

#include <stddef.h>

enum { WIDE_LEAST = 32 /* with fewer rows AVX-512 is faster, measured */ };

/* A block of a panel in bytes: [16 groups of four columns][row][4]. */
typedef struct WideBytes {
    _Alignas(64) int8_t high[WIDE_BLOCK_CODES];
    int8_t low[WIDE_BLOCK_CODES];
} WideBytes;

/* 128 * high + low is the code; high is in -64 … 64, low in -64 … 63. */
KERNEL_INLINE __m512i wide_high(__m512i codes) { return _mm512_srai_epi16(_mm512_add_epi16(codes, _mm512_set1_epi16(64)), 7); }
KERNEL_INLINE __m512i wide_low(__m512i codes, __m512i high) { return _mm512_sub_epi16(codes, _mm512_slli_epi16(high, 7)); }

/* Rows of two columns and rows of the next two become rows of four bytes. */
KERNEL_INLINE __m512i wide_quads(__m512i first, __m512i second)
{
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return _mm512_shuffle_epi8(_mm512_packs_epi16(first, second), order);
}

static void wide_split_block(const uint8_t *codes, WideBytes *out)
{
    for (int quad = 0; quad < WIDE_COLS / 4; quad++, codes += 128) {
        const __m512i first = _mm512_loadu_si512(codes), second = _mm512_loadu_si512(codes + 64);
        const __m512i high[2] = {wide_high(first), wide_high(second)};
        _mm512_store_si512(out->high + quad * 64, wide_quads(high[0], high[1]));
        _mm512_store_si512(out->low + quad * 64, wide_quads(wide_low(first, high[0]), wide_low(second, high[1])));
    }
}

/* A block's powers of two. */
KERNEL_INLINE __m512 wide_scales(const uint8_t *exponents)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)exponents);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23));
}

/* The activations' own bytes, beside their codes. */
static void wide_quantize_amx(const float *x, int32_t n, WideAct *out)
{
    kernels_avx512()->wide_quantize(x, n, out);
    for (int32_t b = 0; b < n / WIDE_COLS; b++)
        for (int i = 0; i < WIDE_COLS; i += 32) {
            const __m512i codes = _mm512_loadu_si512(out[b].codes + i), high = wide_high(codes);
            _mm256_storeu_si256((__m256i *)(void *)(out[b].high + i), _mm512_cvtepi16_epi8(high));
            _mm256_storeu_si256((__m256i *)(void *)(out[b].low + i), _mm512_cvtepi16_epi8(wide_low(codes, high)));
        }
}

/* ---- tiles: 0 … 2 sums, 3 and 4 activations, 5 and 6 codes ---- */

static void wide_configure(void)
{
    TileConfig config = {.palette = 1};
    for (int t = 0; t < 7; t++) {
        config.rows[t] = 16;
        config.row_bytes[t] = 64;
    }
    tile_configure(&config);
}

enum { WIDE_PARTS = 2 /* blocks that are multiplied together, in a pipeline like that of packed_amx.h */ };

/* 16 activation rows in some blocks. */
typedef struct WideRows {
    const WideAct *acts[AMX_ROWS];
    const WideAct *first; /* the first one's bytes; those of the others follow `stride` bytes apart */
    size_t stride;
} WideRows;

/* What is multiplied together: some rows, and one panel's part of the blocks. */
typedef struct WideItem {
    const WideRows *rows;
    const WideBytes *codes;   /* [n_parts] */
    const uint8_t *exponents; /* [n_parts][WIDE_ROWS] */
    float *out;               /* rows PACKED_ROWS apart */
} WideItem;

typedef struct WideSums {
    AmxPlane high, middle, low;
} WideSums;

KERNEL_INLINE void wide_part(const WideItem *item, int part, WideSums *sums)
{
    const WideBytes *codes = &item->codes[part];
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_load(3, item->rows->first[part].high, item->rows->stride);
    tile_load(5, codes->high, 64);
    tile_dot_s8(0, 3, 5);
    tile_store(0, &sums->high, 64);
    tile_load(6, codes->low, 64);
    tile_dot_s8(1, 3, 6);
    tile_load(4, item->rows->first[part].low, item->rows->stride);
    tile_dot_s8(2, 4, 6);
    tile_store(2, &sums->low, 64);
    tile_dot_s8(1, 4, 5);
    tile_store(1, &sums->middle, 64);
}

KERNEL_INLINE void wide_add_part(const WideItem *item, int part, const WideSums *sums, __m512 total[AMX_ROWS])
{
    const __m512 scale = wide_scales(item->exponents + part * WIDE_ROWS);
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) {
        const __m512i high = _mm512_slli_epi32(_mm512_load_si512(sums->high.sums[a]), 7);
        const __m512i upper = _mm512_add_epi32(high, _mm512_load_si512(sums->middle.sums[a]));
        const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(upper, 7), _mm512_load_si512(sums->low.sums[a]));
        const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
        total[a] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(item->rows->acts[a][part].scale), total[a]);
    }
}

/* Adds `item` (NULL: none), whose integers lie in `sums`, to what is in its `out`, while those of `next` (NULL: none) take
 * their places. */
static void wide_item(int n_parts, const WideItem *item, const WideItem *next, WideSums sums[WIDE_PARTS])
{
    __m512 total[AMX_ROWS];
    if (item == NULL) {
        for (int part = 0; part < n_parts; part++) wide_part(next, part, &sums[part]);
        return;
    }
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) total[a] = _mm512_loadu_ps(item->out + a * PACKED_ROWS);
    for (int part = 0; part < n_parts; part++) {
        wide_add_part(item, part, &sums[part], total);
        if (next != NULL) wide_part(next, part, &sums[part]);
    }
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) _mm512_storeu_ps(item->out + a * PACKED_ROWS, total[a]);
}

typedef WideAct WideCopy[AMX_ROWS][WIDE_PARTS];

/* Rows `first` and the 15 behind it, the last one in place of those past the end: where they lie when they are evenly spaced, or a
 * copy. */
static void wide_rows(const WideAct *const acts[], int32_t n_acts, int32_t first, int64_t block, int n_parts, WideCopy copy,
                      WideRows *out)
{
    bool apart = false;
    for (int a = 0; a < AMX_ROWS; a++) {
        out->acts[a] = acts[first + a < n_acts ? first + a : n_acts - 1] + block;
        apart = apart || (a > 0 && out->acts[a] - out->acts[a - 1] != out->acts[1] - out->acts[0]);
    }
    out->first = out->acts[0];
    out->stride = (size_t)(out->acts[1] - out->acts[0]) * sizeof(WideAct);
    if (!apart) return;
    for (int a = 0; a < AMX_ROWS; a++) memcpy(copy[a], out->acts[a], (size_t)n_parts * sizeof(WideAct));
    out->first = copy[0];
    out->stride = sizeof copy[0];
}

/* Asks for what tiles read of rows first … end - 1. */
static void wide_fetch(const WideAct *const acts[], int32_t first, int32_t end, int64_t block, int n_parts)
{
    for (int32_t a = first; a < end; a++)
        for (int part = 0; part < n_parts; part++) {
            const WideAct *act = &acts[a][block + part];
            _mm_prefetch((const char *)&act->scale, _MM_HINT_T0);
            _mm_prefetch((const char *)act->low, _MM_HINT_T0);
            _mm_prefetch((const char *)(act + 1) - 1, _MM_HINT_T0);
        }
}

static void wide_multiply_amx(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                              const WideAct *const acts[], int32_t n_acts, float *out)
{
    if (n_acts < WIDE_LEAST) {
        kernels_avx512()->wide_multiply(panels, n_panels, cols, acts, n_acts, out);
        return;
    }
    const int64_t blocks = cols / WIDE_COLS;
    WideBytes bytes[PACKED_PANELS][WIDE_PARTS];
    WideRows rows[2];
    WideCopy copies[2];
    WideItem items[2];
    WideSums sums[WIDE_PARTS];
    memset(out, 0, (size_t)((n_acts + AMX_ROWS - 1) / AMX_ROWS * AMX_ROWS) * PACKED_ROWS * sizeof *out);
    wide_configure();
    for (int64_t block = 0; block < blocks; block += WIDE_PARTS) {
        const int n_parts = blocks - block < WIDE_PARTS ? (int)(blocks - block) : WIDE_PARTS;
        int n = 0;
        for (int p = 0; p < n_panels; p++) {
            const uint8_t *codes = panels[p] + wide_exponent_bytes(cols) + (size_t)block * WIDE_BLOCK_CODES * sizeof(int16_t);
            for (int i = 0; i < n_parts; i++, codes += WIDE_BLOCK_CODES * sizeof(int16_t)) wide_split_block(codes, &bytes[p][i]);
        }
        for (int32_t first = 0, group = 0; first < n_acts; first += AMX_ROWS, group ^= 1) {
            wide_rows(acts, n_acts, first, block, n_parts, copies[group], &rows[group]);
            for (int p = 0; p < n_panels; p++, n++) {
                const int32_t next = first + AMX_ROWS + AMX_ROWS * p / n_panels, end = next + AMX_ROWS / n_panels;
                wide_fetch(acts, next, end < n_acts ? end : n_acts, block, n_parts);
                items[n % 2] = (WideItem){&rows[group], bytes[p], panels[p] + block * WIDE_ROWS,
                                          out + first * PACKED_ROWS + p * WIDE_ROWS};
                wide_item(n_parts, n > 0 ? &items[(n + 1) % 2] : NULL, &items[n % 2], sums);
            }
        }
        wide_item(n_parts, &items[(n + 1) % 2], NULL, sums);
    }
    tile_release();
}

#endif
