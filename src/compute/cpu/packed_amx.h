/*
 * packed_amx.h - products with packed panels in tiles: 16 activation rows times a panel's 16 rows an instruction.
 *
 * A block has a scale of its own, so its integers come out of the tile one block at a time, through memory that the first
 * cache holds, and AVX-512 scales and adds them. Codes are expanded to signed bytes once for all rows of a chunk. Integers are
 * exact, floats are added as every other level adds them.
 *
 * While a chunk's integers of one panel are scaled, each place that they leave in memory is filled with those of the next panel or the
 * next rows, so that nothing waits for what it stored just before; and a tile is stored when the next product is under way. Cycles of
 * 16 x 16 sums of 32 columns, measured on Emerald Rapids (2.8 GHz), all operands in the first cache:
 *
 *     tiles     load 4 + 8, product 16 (half of the columns that it could take), store 16       29, stored behind the next product 25
 *     vectors   16 x (conversion, power of two, fused product) on two ports                     25
 *     both      tile instructions and vectors take turns: no order of them is faster                61
 *
 * In a product of 512 rows it is 95: 18 for activations, which come from the third cache once for four panels (with two panels at a
 * time 18 more, with one 54), 10 for low planes. So tiles are worth their while for many rows; beside minima (10 more) and scales of 16
 * columns (all of it twice) only VNNI's own kernels are left. Scales times powers of two from a table would leave 47 of the 61, but
 * the table does not fit beside the rest: 3 % slower.
 * Where planes are joined, VNNI needs twice as long, but scaling does not. A format that kept one scale over 256 columns could do without
 * seven eighths of the stores and vectors.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_AMX_H
#define IMP_COMPUTE_CPU_PACKED_AMX_H

#include "compute/cpu/amx_tiles.h"
#include "compute/cpu/packed_expand_avx512.h"

#include <stddef.h>

enum { AMX_ROWS = 16 };

/* With fewer rows than this AVX-512 is faster, measured: of one plane, and of two. */
enum { AMX_LEAST = 192, AMX_LEAST_JOINED = 64 };

/* Before loops over a tile's rows, whose sums stay in registers. */
#ifdef __clang__
#define UNROLL_ROWS _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ROWS _Pragma("GCC unroll 16")
#endif

/* Constant in each instance; joined: both planes of the activations are one number. */
typedef struct AmxShape {
    bool has_min, joined;
} AmxShape;

/* The integers of one plane of a block: [activation row][panel row]. */
typedef struct AmxPlane {
    _Alignas(64) int32_t sums[AMX_ROWS][PANEL_ROWS];
} AmxPlane;

/* The integers of the blocks that wait for their scaling. */
typedef struct AmxSums {
    AmxPlane high[CHUNK_BLOCKS], low[CHUNK_BLOCKS];
} AmxSums;

/* 16 activation rows in a chunk. */
typedef struct AmxRows {
    float power[AMX_ROWS][CHUNK_BLOCKS]; /* two to the blocks' exponents */
    const ActChunk *acts[AMX_ROWS];
    const int8_t *high, *low;            /* where the tiles' rows lie, `stride` bytes apart */
    size_t stride;
} AmxRows;

/* What is multiplied together: some rows, and one panel's part of the chunk. */
typedef struct AmxItem {
    const AmxRows *rows;
    const PlainBlock *blocks;
    float *out;        /* rows PACKED_ROWS apart */
    __mmask16 started; /* all bits, or none: nothing is in `out` yet */
} AmxItem;

/* ---- tiles: 0 … 3 sums, 4 and 5 activations, 6 and 7 codes ---- */

static void amx_configure(void)
{
    TileConfig config = {.palette = 1};
    for (int t = 0; t < 4; t++) {
        config.rows[t] = AMX_ROWS;
        config.row_bytes[t] = PANEL_ROWS * sizeof(int32_t);
    }
    for (int t = 4; t < 6; t++) {
        config.rows[t] = AMX_ROWS;
        config.row_bytes[t] = BLOCK_COLS;
    }
    for (int t = 6; t < 8; t++) {
        config.rows[t] = BLOCK_COLS / 4;
        config.row_bytes[t] = 4 * PANEL_ROWS;
    }
    tile_configure(&config);
}

/* A block's integers, in one of two sets of tiles. They leave it when the other set's product is under way: a tile that is stored
 * at once is waited for. */
#define AMX_TILES(set, HIGH, LOW, ACTS, CODES)                                                                         \
    KERNEL_INLINE void amx_multiply_##set(bool joined, const uint8_t *codes, const int8_t *high, const int8_t *low,    \
                                          size_t stride)                                                               \
    {                                                                                                                  \
        tile_load(CODES, codes, 4 * PANEL_ROWS);                                                                       \
        tile_load(ACTS, high, stride);                                                                                 \
        tile_zero(HIGH);                                                                                               \
        tile_dot_s8(HIGH, ACTS, CODES);                                                                                \
        if (!joined) return;                                                                                           \
        tile_load(ACTS, low, stride);                                                                                  \
        tile_zero(LOW);                                                                                                \
        tile_dot_s8(LOW, ACTS, CODES);                                                                                 \
    }                                                                                                                  \
    KERNEL_INLINE void amx_store_##set(bool joined, AmxPlane *high_sums, AmxPlane *low_sums)                           \
    {                                                                                                                  \
        tile_store(HIGH, high_sums, PANEL_ROWS * sizeof(int32_t));                                                     \
        if (joined) tile_store(LOW, low_sums, PANEL_ROWS * sizeof(int32_t));                                           \
    }
AMX_TILES(even, 0, 1, 4, 6)
AMX_TILES(odd, 2, 3, 5, 7)
#undef AMX_TILES

KERNEL_INLINE void amx_multiply(AmxShape shape, const AmxItem *item, int b)
{
    const uint8_t *codes = item->blocks[b].codes;
    const int8_t *high = item->rows->high + b * BLOCK_COLS, *low = item->rows->low + b * BLOCK_COLS;
    const size_t stride = item->rows->stride;
    if (b % 2 == 0) amx_multiply_even(shape.joined, codes, high, low, stride);
    else amx_multiply_odd(shape.joined, codes, high, low, stride);
}

KERNEL_INLINE void amx_store(AmxShape shape, int b, AmxSums *sums)
{
    if (b % 2 == 0) amx_store_even(shape.joined, &sums->high[b], &sums->low[b]);
    else amx_store_odd(shape.joined, &sums->high[b], &sums->low[b]);
}

/* ---- floats ---- */

/* A row's integers as floats; `low` NULL: of one plane. */
KERNEL_INLINE __m512 amx_value(const AmxPlane *high, const AmxPlane *low, int row)
{
    __m512i sum = _mm512_load_si512(high->sums[row]);
    if (low != NULL) sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), _mm512_load_si512(low->sums[row]));
    return _mm512_cvtepi32_ps(sum);
}

/* Adds block b's integers and minima to 16 rows' sums. */
KERNEL_INLINE void amx_add(AmxShape shape, const AmxItem *item, int b, const AmxSums *sums, __m512 total[AMX_ROWS])
{
    const AmxPlane *high = &sums->high[b], *low = shape.joined ? &sums->low[b] : NULL;
    const PlainBlock *block = &item->blocks[b];
    const AmxRows *rows = item->rows;
    const __m512 scale = _mm512_load_ps(block->scale[0]);
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) {
        const __m512 value = _mm512_mul_ps(amx_value(high, low, a), _mm512_set1_ps(rows->power[a][b]));
        total[a] = _mm512_fmadd_ps(value, scale, total[a]);
    }
    if (!shape.has_min) return;
    const __m512 minimum = _mm512_load_ps(block->minimum[0]);
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++)
        total[a] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(rows->acts[a]->sum[b]), total[a]);
}

/* Adds a chunk's sums to what is in an item's `out`. */
KERNEL_INLINE void amx_finish(const AmxItem *item, const __m512 total[AMX_ROWS])
{
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) {
        float *out = item->out + a * PACKED_ROWS;
        _mm512_storeu_ps(out, _mm512_fmadd_ps(total[a], _mm512_set1_ps(item->rows->acts[a]->scale),
                                              _mm512_maskz_loadu_ps(item->started, out)));
    }
}

/* ---- the pipeline: a panel's integers of a chunk lie in `sums` between their tiles and their scaling ---- */

/* Scales `item` (NULL: none), while `next` (NULL: none) takes its places block by block. */
KERNEL_INLINE void amx_chunk(AmxShape shape, int n_blocks, const AmxItem *item, const AmxItem *next, AmxSums *sums)
{
    __m512 total[AMX_ROWS];
    UNROLL_ROWS for (int a = 0; a < AMX_ROWS; a++) total[a] = _mm512_setzero_ps();
    for (int b = 0; b < n_blocks; b++) {
        if (item != NULL) amx_add(shape, item, b, sums, total);
        if (next == NULL) continue;
        amx_multiply(shape, next, b);
        if (b > 0) amx_store(shape, b - 1, sums);
    }
    if (next != NULL) amx_store(shape, n_blocks - 1, sums);
    if (item != NULL) amx_finish(item, total);
}

typedef void AmxChunk(int n_blocks, const AmxItem *item, const AmxItem *next, AmxSums *sums);

#define AMX_CHUNK(name, has_min, joined)                                                                               \
    static void name(int n_blocks, const AmxItem *item, const AmxItem *next, AmxSums *sums)                            \
    {                                                                                                                  \
        amx_chunk((AmxShape){has_min, joined}, n_blocks, item, next, sums);                                            \
    }
AMX_CHUNK(amx_chunk_plain, false, false)
AMX_CHUNK(amx_chunk_joined, false, true)
AMX_CHUNK(amx_chunk_joined_min, true, true)
#undef AMX_CHUNK

/* ---- a run: a chunk of all panels, expanded in `scratch`, times all rows ---- */

typedef struct AmxRun {
    const uint8_t *const *panels; /* [n_panels] what comes next of them, to be asked for */
    size_t panel_bytes;           /* … of each */
    int n_panels, n_blocks;
    const ActRows *acts;
    size_t offset;                /* of the chunk from the rows' first ones */
    bool joined;
    PackedScratch *scratch;
    int32_t n_fine[CHUNK_BLOCKS];
} AmxRun;

/* ---- low planes: a pipeline of items too ---- */

enum { LOW_WAITING = 8 };

/* Rows that are fine in a block, times a panel's part of it. */
typedef struct AmxLow {
    const PlainBlock *block;
    const int32_t *rows; /* [AMX_ROWS] */
    float scale[AMX_ROWS];
    float *low; /* row 0's place */
    AmxPlane sums;
} AmxLow;

static void amx_low_add(const AmxLow *item)
{
    const __m512 factor = _mm512_load_ps(item->block->scale[0]);
    for (int a = 0; a < AMX_ROWS; a++) {
        const __m512 scaled = _mm512_mul_ps(amx_value(&item->sums, NULL, a), factor);
        float *low = item->low + item->rows[a] * PACKED_ROWS;
        _mm512_storeu_ps(low, _mm512_fmadd_ps(scaled, _mm512_set1_ps(item->scale[a]), _mm512_loadu_ps(low)));
    }
}

static void amx_low_store(AmxLow *item, size_t n)
{
    if (n % 2 == 0) amx_store_even(false, &item->sums, NULL);
    else amx_store_odd(false, &item->sums, NULL);
}

/* The n-th item's integers get under way, and those of the one before it (NULL: none) come home. */
static void amx_low_multiply(const AmxLow *item, size_t n, const int8_t *planes, AmxLow *before)
{
    if (n % 2 == 0) amx_multiply_even(false, item->block->codes, planes, NULL, BLOCK_COLS);
    else amx_multiply_odd(false, item->block->codes, planes, NULL, BLOCK_COLS);
    if (before != NULL) amx_low_store(before, n - 1);
}

/* All panels' low sums of a chunk. */
static void amx_low(const AmxRun *run)
{
    AmxLow waiting[LOW_WAITING];
    PackedScratch *scratch = run->scratch;
    size_t n = 0, added = 0;
    for (int b = 0; b < run->n_blocks; b++)
        for (int32_t i = 0; i < run->n_fine[b]; i += AMX_ROWS) {
            const int32_t *rows = &scratch->fine[b][i];
            _Alignas(64) int8_t planes[AMX_ROWS][BLOCK_COLS];
            float scale[AMX_ROWS];
            for (int a = 0; a < AMX_ROWS; a++) {
                const ActChunk *act = run->acts->first[rows[a] < PACKED_ACTS ? rows[a] : rows[0]] + run->offset;
                memcpy(planes[a], act->low + b * BLOCK_COLS, BLOCK_COLS);
                scale[a] = act->low_scale[b];
            }
            for (int p = 0; p < run->n_panels; p++, n++) {
                if (n - added == LOW_WAITING) amx_low_add(&waiting[added++ % LOW_WAITING]);
                AmxLow *item = &waiting[n % LOW_WAITING];
                item->block = &scratch->panels[p].blocks[b];
                item->rows = rows;
                item->low = scratch->low + p * PANEL_ROWS;
                memcpy(item->scale, scale, sizeof scale);
                amx_low_multiply(item, n, planes[0], n > 0 ? &waiting[(n - 1) % LOW_WAITING] : NULL);
            }
        }
    if (n > 0) amx_low_store(&waiting[(n - 1) % LOW_WAITING], n - 1);
    while (added < n) amx_low_add(&waiting[added++ % LOW_WAITING]);
}

/* ---- all rows ---- */

typedef void AmxExpand(const uint8_t *panel, int n_blocks, PlainBlock *out);

#define EXPAND(name, ...)                                                                                              \
    static void amx_expand_##name(const uint8_t *panel, int n_blocks, PlainBlock *out)                                 \
    {                                                                                                                  \
        static const PackedFormat format = PACKED_FORMAT(name, __VA_ARGS__);                                           \
        expand_chunk(&format, panel, n_blocks, out, 0);                                                                \
    }
PACKED_FORMATS(EXPAND)
#undef EXPAND

/* Where rows that do not follow each other are brought together. */
typedef struct AmxCopy {
    _Alignas(64) int8_t high[AMX_ROWS][CHUNK_COLS];
    int8_t low[AMX_ROWS][CHUNK_COLS];
} AmxCopy;

/* Rows `first` and the 15 behind it, the last one in place of those past the end. */
static void amx_rows(const AmxRun *run, int32_t first, AmxCopy *copy, AmxRows *out)
{
    const ActRows *acts = run->acts;
    bool apart = false;
    for (int a = 0; a < AMX_ROWS; a++) {
        const ActChunk *act = acts->first[first + a < acts->n ? first + a : acts->n - 1] + run->offset;
        const __m256i exponents = _mm256_cvtps_epi32(_mm256_loadu_ps(act->exponent));
        const __m256i powers = _mm256_slli_epi32(_mm256_add_epi32(exponents, _mm256_set1_epi32(127)), 23);
        _mm256_storeu_ps(out->power[a], _mm256_castsi256_ps(powers));
        out->acts[a] = act;
        apart = apart || act != out->acts[0] + a;
    }
    out->high = apart ? copy->high[0] : out->acts[0]->high;
    out->low = apart ? copy->low[0] : out->acts[0]->low;
    out->stride = apart ? CHUNK_COLS : sizeof(ActChunk);
    for (int a = 0; a < AMX_ROWS && apart; a++) {
        memcpy(copy->high[a], out->acts[a]->high, CHUNK_COLS);
        if (run->joined) memcpy(copy->low[a], out->acts[a]->low, CHUNK_COLS);
    }
}

/* Where a run is with asking for what lies far away: the i-th low plane of block b is next. */
typedef struct AmxAhead {
    int b;
    int32_t i;
} AmxAhead;

/* Asks for the low planes of `n` more rows and blocks. */
static void amx_fetch_low(const AmxRun *run, AmxAhead *ahead, int32_t n)
{
    while (n > 0 && ahead->b < run->n_blocks) {
        if (ahead->i >= run->n_fine[ahead->b]) {
            *ahead = (AmxAhead){ahead->b + 1, 0};
            continue;
        }
        const ActChunk *act = run->acts->first[run->scratch->fine[ahead->b][ahead->i++]] + run->offset;
        _mm_prefetch((const char *)act->low + ahead->b * BLOCK_COLS, _MM_HINT_T1);
        _mm_prefetch((const char *)act->low_scale, _MM_HINT_T1);
        n--;
    }
}

/* Asks for one of `n_items` equal parts of what the next run reads of the panels. */
static void amx_fetch_panels(const AmxRun *run, int32_t item, int32_t n_items)
{
    const size_t lines = run->panel_bytes / 64 + 1;
    for (size_t i = lines * (size_t)item / (size_t)n_items; i < lines * (size_t)(item + 1) / (size_t)n_items; i++)
        for (int p = 0; p < run->n_panels; p++) _mm_prefetch((const char *)run->panels[p] + 64 * i, _MM_HINT_T1);
}

/* Asks for what is read of rows first … end - 1, and, from far away, of those behind them. */
static void amx_fetch_rows(const AmxRun *run, int32_t first, int32_t end)
{
    for (int32_t a = first + AMX_ROWS; a < end + AMX_ROWS && a < run->acts->n; a++) {
        const char *act = (const char *)(run->acts->first[a] + run->offset);
        for (size_t at = 0; at < offsetof(ActChunk, minus_high); at += 64) _mm_prefetch(act + at, _MM_HINT_T1);
    }
    for (int32_t a = first; a < end && a < run->acts->n; a++) {
        const ActChunk *act = run->acts->first[a] + run->offset;
        for (size_t at = 0; at < offsetof(ActChunk, minus_high); at += 64) _mm_prefetch((const char *)act + at, _MM_HINT_T0);
        if (!run->joined) continue;
        for (size_t at = 0; at < CHUNK_COLS; at += 64) _mm_prefetch((const char *)act->low + at, _MM_HINT_T0);
        _mm_prefetch((const char *)act->sum, _MM_HINT_T0);
    }
}

/* The high planes, or both joined. */
static void amx_high(const AmxRun *run, AmxChunk *multiply)
{
    const __mmask16 started = run->offset > 0 ? 0xFFFF : 0;
    AmxSums sums;
    AmxCopy copies[2];
    AmxRows rows[2];
    AmxItem items[2];
    AmxAhead ahead = {0, 0};
    const int32_t n_items = (run->acts->n + AMX_ROWS - 1) / AMX_ROWS * run->n_panels;
    int32_t n_fine = 0, n = 0;
    for (int b = 0; b < run->n_blocks; b++) n_fine += run->n_fine[b];
    for (int32_t first = 0, group = 0; first < run->acts->n; first += AMX_ROWS, group ^= 1) {
        const int32_t next = first + AMX_ROWS;
        amx_rows(run, first, &copies[group], &rows[group]);
        for (int p = 0; p < run->n_panels; p++, n++) {
            amx_fetch_rows(run, next + AMX_ROWS * p / run->n_panels, next + AMX_ROWS * (p + 1) / run->n_panels);
            amx_fetch_low(run, &ahead, n_fine / n_items + 1);
            amx_fetch_panels(run, n, n_items);
            items[n % 2] = (AmxItem){&rows[group], run->scratch->panels[p].blocks,
                                     run->scratch->high + first * PACKED_ROWS + p * PANEL_ROWS, started};
            multiply(run->n_blocks, n > 0 ? &items[(n + 1) % 2] : NULL, &items[n % 2], &sums);
        }
    }
    multiply(run->n_blocks, &items[(n + 1) % 2], NULL, &sums);
}

static bool amx_pays(const PackedFormat *format, const ActRows *acts)
{
    if (format->halves == 2) return false;
    return acts->first[0]->joined != 0 ? acts->n >= AMX_LEAST_JOINED : acts->n >= AMX_LEAST && !format->has_min;
}

static void packed_multiply_amx(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                int64_t cols, const ActRows *acts, PackedScratch *scratch, float *const out[])
{
#define ENTRY(name, ...) [DT_##name] = amx_expand_##name,
    static AmxExpand *const expand[DT_COUNT] = {PACKED_FORMATS(ENTRY)};
#undef ENTRY
    if (!amx_pays(format, acts)) {
        kernels_avx512()->packed_multiply(format, panels, n_panels, cols, acts, scratch, out);
        return;
    }
    const uint8_t *next[PACKED_PANELS];
    AmxRun run = {.panels = next, .panel_bytes = packed_panel_bytes(format, CHUNK_COLS), .n_panels = n_panels, .acts = acts,
                  .joined = acts->first[0]->joined != 0, .scratch = scratch};
    const size_t used = (size_t)((acts->n + AMX_ROWS - 1) / AMX_ROWS * AMX_ROWS) * PACKED_ROWS;
    memset(scratch->low, 0, used * sizeof *scratch->low);
    amx_configure();
    for (int32_t chunk = 0; chunk < act_chunks(cols); chunk++) {
        const int64_t blocks_left = cols / BLOCK_COLS - (int64_t)chunk * CHUNK_BLOCKS;
        run.n_blocks = blocks_left < CHUNK_BLOCKS ? (int)blocks_left : CHUNK_BLOCKS;
        run.offset = (size_t)chunk * acts->stride;
        for (int p = 0; p < n_panels; p++) {
            const uint8_t *panel = panels[p] + (size_t)chunk * run.panel_bytes;
            expand[format->type](panel, run.n_blocks, scratch->panels[p].blocks);
            /* Behind the last chunk the next four panels are likely to follow. */
            next[p] = chunk + 1 < act_chunks(cols) ? panel + run.panel_bytes
                                                   : panels[p] + (size_t)n_panels * packed_panel_bytes(format, cols);
        }
        if (!run.joined) list_fine(acts, run.offset, AMX_ROWS, scratch, run.n_fine);
        amx_high(&run, !run.joined ? amx_chunk_plain : format->has_min ? amx_chunk_joined_min : amx_chunk_joined);
        if (!run.joined) amx_low(&run);
    }
    tile_release();
    store_products(scratch, acts->n, n_panels, out);
}

#endif
