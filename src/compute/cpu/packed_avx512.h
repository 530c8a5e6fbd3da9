/*
 * packed_avx512.h - products with packed panels by VNNI: 64 products of a code and an activation byte an instruction.
 *
 * Up to SOME_ACTS activation rows have kernels of their own (packed_few_avx512.h). Many: a chunk of two panels is expanded to
 * memory that the first cache holds, tiles of up to 6 activation rows pass over it, integer and float sums in registers, two
 * products for each activation loaded; then the low planes of the blocks that have one get their turn. Every format is the
 * same code with its constants folded in.
 *
 * Integer and float products share the units that do one of either a cycle. A block costs 8 of the one for each vector of 16
 * sums, and of the other 1, with minima or halves 2, and an eighth: 88 or 79 % of the integer rate is the most that this can
 * reach. Conversions, powers of two and additions have units of their own.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_AVX512_H
#define IMP_COMPUTE_CPU_PACKED_AVX512_H

#include "compute/cpu/packed_few_avx512.h"

#include <immintrin.h>
#include <string.h>

enum { TILE_ACTS = 6, LOW_ACTS = 4 };

/* ---- tiles ---- */

/* What is multiplied of the activations; the minima's part comes with the high planes. */
typedef enum Planes { PLANE_HIGH, PLANES_JOINED, PLANE_LOW } Planes;

/* What a tile is made of, constant in each instance. */
typedef struct TileShape {
    int n_panels, n_acts, halves;
    bool has_min;
    Planes planes;
} TileShape;

typedef __m512i TileInts[2][TILE_ACTS];
typedef __m512 TileFloats[2][TILE_ACTS];

/* Minus the offset times the sum of a plane; a format has either minima or an offset. */
KERNEL_INLINE __m512i tile_start(TileShape shape, int32_t minus)
{
    return shape.has_min ? _mm512_setzero_si512() : _mm512_set1_epi32(minus);
}

/* One plane of a part: independent sums hide the latency. */
KERNEL_INLINE void tile_plane(TileShape shape, const uint8_t *const codes[2], const int8_t *const planes[TILE_ACTS],
                              TileInts sums)
{
    UNROLL for (int g = 0; g < 8 / shape.halves; g++) {
        __m512i vector[2];
        UNROLL for (int p = 0; p < shape.n_panels; p++) vector[p] = _mm512_load_si512(codes[p] + 64 * g);
        UNROLL for (int a = 0; a < shape.n_acts; a++) {
            const __m512i act = four_acts(planes[a] + 4 * g);
            UNROLL for (int p = 0; p < shape.n_panels; p++) sums[p][a] = _mm512_dpbusd_epi32(sums[p][a], vector[p], act);
        }
    }
}

/* The integers of block b's part. */
KERNEL_INLINE void tile_part(TileShape shape, const PlainBlock *const block[2], const ActChunk *const act[], int b,
                             int half, TileInts sums)
{
    const int part = act_part(shape.halves, b, half), at = b * BLOCK_COLS + half * 16;
    const uint8_t *codes[2];
    const int8_t *planes[TILE_ACTS];
    UNROLL for (int p = 0; p < shape.n_panels; p++) codes[p] = block[p]->codes + half * (BLOCK_CODES / 2);
    UNROLL for (int a = 0; a < shape.n_acts; a++) {
        const bool low = shape.planes == PLANE_LOW;
        planes[a] = (low ? act[a]->low : act[a]->high) + at;
        const __m512i start = tile_start(shape, low ? act[a]->minus_low[part] : act[a]->minus_high[part]);
        UNROLL for (int p = 0; p < shape.n_panels; p++) sums[p][a] = start;
    }
    tile_plane(shape, codes, planes, sums);
    if (shape.planes != PLANES_JOINED) return;
    UNROLL for (int a = 0; a < shape.n_acts; a++) {
        planes[a] = act[a]->low + at;
        const __m512i start = tile_start(shape, act[a]->minus_low[part]);
        UNROLL for (int p = 0; p < shape.n_panels; p++)
            sums[p][a] = _mm512_add_epi32(_mm512_slli_epi32(sums[p][a], 8), start);
    }
    tile_plane(shape, codes, planes, sums);
}

/* Adds block b's high planes, or both joined, to a chunk's sums. */
KERNEL_INLINE void tile_block(TileShape shape, const PlainBlock *const block[2], const ActChunk *const act[], int b,
                              TileFloats total)
{
    UNROLL for (int half = 0; half < shape.halves; half++) {
        TileInts sums;
        tile_part(shape, block, act, b, half, sums);
        UNROLL for (int p = 0; p < shape.n_panels; p++) {
            const __m512 scale = _mm512_load_ps(block[p]->scale[half]);
            UNROLL for (int a = 0; a < shape.n_acts; a++) {
                const __m512 exponent = _mm512_set1_ps(act[a]->exponent[b]);
                total[p][a] = _mm512_fmadd_ps(_mm512_scalef_ps(_mm512_cvtepi32_ps(sums[p][a]), exponent), scale, total[p][a]);
            }
        }
    }
    for (int half = 0; half < shape.halves && shape.has_min; half++)
        UNROLL for (int p = 0; p < shape.n_panels; p++) {
            const __m512 minimum = _mm512_load_ps(block[p]->minimum[half]);
            UNROLL for (int a = 0; a < shape.n_acts; a++)
                total[p][a] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(act[a]->sum[act_part(shape.halves, b, half)]),
                                              total[p][a]);
        }
}

/* Adds a chunk of n_blocks, `offset` from the rows' first ones, to what is in `out`; the first one has nothing there yet. The rows
 * behind these come next. */
KERNEL_INLINE void multiply_tile(TileShape shape, const PlainChunk *panels, int n_blocks, const ActChunk *const rows[],
                                 size_t offset, float *out)
{
    const __mmask16 started = offset > 0 ? 0xFFFF : 0;
    const ActChunk *act[TILE_ACTS], *next[TILE_ACTS];
    TileFloats total;
    UNROLL for (int a = 0; a < shape.n_acts; a++) {
        act[a] = rows[a] + offset;
        next[a] = rows[shape.n_acts + a] + offset;
        UNROLL for (int p = 0; p < shape.n_panels; p++) total[p][a] = _mm512_setzero_ps();
    }
    for (int b = 0; b < n_blocks; b++) {
        const PlainBlock *block[2] = {&panels[0].blocks[b], &panels[1].blocks[b]};
        for (int a = 0; a < shape.n_acts && (b < 6 || shape.halves == 2 || shape.has_min); a++)
            _mm_prefetch((const char *)next[a] + 64 * b, _MM_HINT_T0);
        tile_block(shape, block, act, b, total);
    }
    UNROLL for (int a = 0; a < shape.n_acts; a++) {
        const __m512 scale = _mm512_set1_ps(act[a]->scale);
        UNROLL for (int p = 0; p < shape.n_panels; p++) {
            float *sums = out + a * PACKED_ROWS + p * PANEL_ROWS;
            _mm512_storeu_ps(sums, _mm512_fmadd_ps(total[p][a], scale, _mm512_maskz_loadu_ps(started, sums)));
        }
    }
}

typedef void MultiplyTile(const PlainChunk *panels, int n_blocks, const ActChunk *const rows[], size_t offset,
                          float *out);

#define TILE(name, n_panels, n_acts, halves, has_min, planes)                                                          \
    static void name(const PlainChunk *panels, int n_blocks, const ActChunk *const rows[],                             \
                     size_t offset, float *out)                                                                        \
    {                                                                                                                  \
        const TileShape shape = {n_panels, n_acts, halves, has_min, planes};                                           \
        multiply_tile(shape, panels, n_blocks, rows, offset, out);                                                     \
    }
#define TILES_OF(name, n_panels, n_acts, halves, planes)                                                               \
    TILE(name, n_panels, n_acts, halves, false, planes) TILE(name##_min, n_panels, n_acts, halves, true, planes)
#define TILES(planes, suffix)                                                                                          \
    TILES_OF(tile_one_4##suffix, 1, 4, 1, planes) TILES_OF(tile_one_6##suffix, 1, 6, 1, planes)                        \
    TILES_OF(tile_two_4##suffix, 2, 4, 1, planes) TILES_OF(tile_two_6##suffix, 2, 6, 1, planes)                        \
    TILES_OF(tile_one_halves##suffix, 1, 4, 2, planes) TILES_OF(tile_two_halves##suffix, 2, 4, 2, planes)
TILES(PLANE_HIGH, )
TILES(PLANES_JOINED, _joined)
#undef TILES
#undef TILES_OF
#undef TILE

/* By whether planes are joined, panels - 1, halves - 1, has_min and whether 6 activation rows are wanted: sums of halves
 * take more registers. */
#define TILE_ENTRIES(s)                                                                                                \
    {                                                                                                                  \
        {{{{tile_one_4##s, 4}, {tile_one_6##s, 6}}, {{tile_one_4##s##_min, 4}, {tile_one_6##s##_min, 6}}},                 \
         {{{tile_one_halves##s, 4}, {tile_one_halves##s, 4}}, {{tile_one_halves##s##_min, 4}, {tile_one_halves##s##_min, 4}}}}, \
        {{{{tile_two_4##s, 4}, {tile_two_6##s, 6}}, {{tile_two_4##s##_min, 4}, {tile_two_6##s##_min, 6}}},                 \
         {{{tile_two_halves##s, 4}, {tile_two_halves##s, 4}}, {{tile_two_halves##s##_min, 4}, {tile_two_halves##s##_min, 4}}}}, \
    }
static const struct {
    MultiplyTile *multiply;
    int n_acts;
} tiles[2][2][2][2][2] = {TILE_ENTRIES(), TILE_ENTRIES(_joined)};
#undef TILE_ENTRIES

/* ---- low planes ---- */

/* Block b of rows that are all fine there: adds to their low sums, or for the padding of a last tile to the last of `low`. */
KERNEL_INLINE void low_tile(TileShape shape, const PackedScratch *scratch, const ActRows *acts, size_t offset, int b,
                            const int32_t rows[LOW_ACTS], float *low)
{
    const PlainBlock *block[2] = {&scratch->panels[0].blocks[b], &scratch->panels[1].blocks[b]};
    const ActChunk *act[LOW_ACTS];
    TileFloats scaled;
    UNROLL for (int a = 0; a < LOW_ACTS; a++) act[a] = acts->first[rows[a] < PACKED_ACTS ? rows[a] : rows[0]] + offset;
    UNROLL for (int half = 0; half < shape.halves; half++) {
        TileInts sums;
        tile_part(shape, block, act, b, half, sums);
        UNROLL for (int p = 0; p < shape.n_panels; p++) {
            const __m512 scale = _mm512_load_ps(block[p]->scale[half]);
            UNROLL for (int a = 0; a < LOW_ACTS; a++) {
                const __m512 value = _mm512_cvtepi32_ps(sums[p][a]);
                scaled[p][a] = half == 0 ? _mm512_mul_ps(value, scale) : _mm512_fmadd_ps(value, scale, scaled[p][a]);
            }
        }
    }
    UNROLL for (int a = 0; a < LOW_ACTS; a++)
        UNROLL for (int p = 0; p < shape.n_panels; p++) {
            float *sums = low + rows[a] * PACKED_ROWS + p * PANEL_ROWS;
            const __m512 scale = _mm512_set1_ps(act[a]->low_scale[b]);
            _mm512_storeu_ps(sums, _mm512_fmadd_ps(scaled[p][a], scale, _mm512_loadu_ps(sums)));
        }
}

typedef void LowTile(const PackedScratch *scratch, const ActRows *acts, size_t offset, int b,
                     const int32_t rows[LOW_ACTS], float *low);

#define LOW_TILE(name, n_panels, halves, has_min)                                                                      \
    static void name(const PackedScratch *scratch, const ActRows *acts, size_t offset, int b,                          \
                     const int32_t rows[LOW_ACTS], float *low)                                                        \
    {                                                                                                                  \
        const TileShape shape = {n_panels, LOW_ACTS, halves, has_min, PLANE_LOW};                                      \
        low_tile(shape, scratch, acts, offset, b, rows, low);                                                          \
    }
LOW_TILE(low_one, 1, 1, false)
LOW_TILE(low_one_min, 1, 1, true)
LOW_TILE(low_one_halves, 1, 2, false)
LOW_TILE(low_one_halves_min, 1, 2, true)
LOW_TILE(low_two, 2, 1, false)
LOW_TILE(low_two_min, 2, 1, true)
LOW_TILE(low_two_halves, 2, 2, false)
LOW_TILE(low_two_halves_min, 2, 2, true)
#undef LOW_TILE

/* By panels - 1, halves - 1, has_min. */
static LowTile *const low_tiles[2][2][2] = {
    {{low_one, low_one_min}, {low_one_halves, low_one_halves_min}},
    {{low_two, low_two_min}, {low_two_halves, low_two_halves_min}},
};

/* ---- one instance a format ---- */

/* What is wanted in the second cache when all rows have been multiplied: bytes of panels, and, behind the last chunk, where the
 * rows' results go. */
typedef struct Ahead {
    const uint8_t *next[2];
    int n;
    size_t bytes; /* of each */
    float *const *out; /* NULL: not yet */
    int first_out;
} Ahead;

/* A chunk of one or two panels times the n rows, tile by tile. */
KERNEL_INLINE void multiply_chunk(const PackedFormat *f, const PackedScratch *scratch, int n_panels, int n_blocks,
                                  const ActChunk *const rows[], int32_t n, size_t offset, const Ahead *ahead, float *out)
{
    const bool joined = rows[0]->joined != 0;
    /* Bytes for each row of a tile, so that few rows do not wait for them. */
    const size_t pace = (ahead->bytes / (size_t)n + 64) & ~(size_t)63;
    size_t asked = 0;
    for (int32_t first = 0, size; first < n; first += size) {
        const int32_t left = n - first;
        /* 6 together, but 8 as 4 and 4. */
        const int which = left > 4 && left != 8;
        size = tiles[joined][n_panels - 1][f->halves - 1][f->has_min][which].n_acts;
        if (ahead->out != NULL)
            expect_results(ahead->out + first, left < size ? left : size, ahead->first_out, n_panels * PANEL_ROWS);
        for (const size_t end = asked + pace * (size_t)size; asked < end && asked < ahead->bytes; asked += 64)
            for (int p = 0; p < ahead->n; p++) _mm_prefetch((const char *)ahead->next[p] + asked, _MM_HINT_T1);
        tiles[joined][n_panels - 1][f->halves - 1][f->has_min][which].multiply(scratch->panels, n_blocks, rows + first, offset,
                                                                                out + first * PACKED_ROWS);
    }
}

/* The panels behind these two, or the first two's next chunk. */
KERNEL_INLINE Ahead look_ahead(const uint8_t *const panels[PACKED_PANELS], int n_panels, int first, int32_t chunk,
                               size_t chunk_bytes, int32_t n_acts)
{
    enum { WORTH = 48 /* rows; fewer are done before the bytes could come */ };
    const int next = first + 2 < n_panels ? first + 2 : 0;
    Ahead ahead = {.n = n_panels - next < 2 ? 1 : 2, .bytes = n_acts < WORTH ? 0 : chunk_bytes};
    for (int p = 0; p < ahead.n; p++) ahead.next[p] = panels[next + p] + (size_t)(chunk + (next == 0)) * chunk_bytes;
    return ahead;
}

KERNEL_INLINE void multiply_many(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                 int64_t cols, const ActRows *acts, PackedScratch *scratch, float *const out[])
{
    const int supers = CHUNK_COLS / f->super;
    const size_t chunk_bytes = (size_t)supers * (size_t)(f->header_bytes + f->super / BLOCK_COLS * f->block_bytes);
    const bool joined = acts->first[0]->joined != 0;
    /* A last tile's rows past the end, and what it thinks comes next, repeat the last row. */
    const ActChunk *rows[PACKED_ACTS + 2 * TILE_ACTS];
    for (int32_t a = 0; a < acts->n + 2 * TILE_ACTS; a++) rows[a] = acts->first[a < acts->n ? a : acts->n - 1];
    memset(scratch->low, 0, (size_t)acts->n * PACKED_ROWS * sizeof *scratch->low);
    for (int32_t chunk = 0; chunk < act_chunks(cols); chunk++) {
        const int64_t blocks_left = cols / BLOCK_COLS - (int64_t)chunk * CHUNK_BLOCKS;
        const int n_blocks = blocks_left < CHUNK_BLOCKS ? (int)blocks_left : CHUNK_BLOCKS;
        const size_t offset = (size_t)chunk * acts->stride;
        int32_t n_fine[CHUNK_BLOCKS] = {0};
        for (int first = 0; first < n_panels; first += 2) {
            const int n = n_panels - first < 2 ? 1 : 2;
            Ahead ahead = look_ahead(panels, n_panels, first, chunk, chunk_bytes, acts->n);
            ahead.out = chunk + 1 < act_chunks(cols) ? NULL : out;
            ahead.first_out = first * PANEL_ROWS;
            for (int p = 0; p < n; p++)
                expand_chunk(f, panels[first + p] + (size_t)chunk * chunk_bytes, n_blocks, scratch->panels[p].blocks, ACT_OFFSET);
            multiply_chunk(f, scratch, n, n_blocks, rows, acts->n, offset, &ahead, scratch->high + first * PANEL_ROWS);
            if (first == 0 && !joined) list_fine(acts, offset, LOW_ACTS, scratch, n_fine);
            for (int b = 0; b < n_blocks; b++)
                for (int32_t i = 0; i < n_fine[b]; i += LOW_ACTS)
                    low_tiles[n - 1][f->halves - 1][f->has_min](scratch, acts, offset, b, &scratch->fine[b][i],
                                                                scratch->low + first * PANEL_ROWS);
        }
    }
    store_products(scratch, acts->n, n_panels, out);
}

/* Few rows have a function of their own: beside much else in it, gcc keeps less of their loops in registers. */
#define INSTANCE(name, ...)                                                                                            \
    static const PackedFormat format_##name = PACKED_FORMAT(name, __VA_ARGS__);                                        \
    static __attribute__((noinline)) void multiply_few_##name(const uint8_t *const panels[PACKED_PANELS], int n_panels, \
                                                              int64_t cols, const ActRows *acts, float *const out[])   \
    {                                                                                                                  \
        multiply_few(&format_##name, panels, n_panels, cols, acts, out);                                               \
    }                                                                                                                  \
    static void multiply_##name(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,                \
                                const ActRows *acts, PackedScratch *scratch, float *const out[])                       \
    {                                                                                                                  \
        if (acts->n <= FEW_ACTS) multiply_few_##name(panels, n_panels, cols, acts, out);                               \
        else if (acts->n <= SOME_ACTS) multiply_some(&format_##name, panels, n_panels, cols, acts, out);               \
        else multiply_many(&format_##name, panels, n_panels, cols, acts, scratch, out);                                \
    }
PACKED_FORMATS(INSTANCE)
#undef INSTANCE

static void packed_multiply_avx512(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                   int64_t cols, const ActRows *acts, PackedScratch *scratch, float *const out[])
{
#define ENTRY(name, ...) [DT_##name] = multiply_##name,
    static void (*const instances[DT_COUNT])(const uint8_t *const[2], int, int64_t, const ActRows *, PackedScratch *,
                                             float *const[]) = {PACKED_FORMATS(ENTRY)};
#undef ENTRY
    instances[format->type](panels, n_panels, cols, acts, scratch, out);
}

#endif
