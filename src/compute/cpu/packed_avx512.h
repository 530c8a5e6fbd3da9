/*
 * packed_avx512.h - products with packed panels by VNNI: 64 products of a code and an activation byte an instruction.
 *
 * A few activation rows: a block is expanded in registers and used at once; its bytes are read exactly once, in order,
 * which is what a decode step lives on. Many: a chunk of two panels is expanded to memory that the first cache holds, tiles
 * of up to 6 activation rows pass over it, integer and float sums in registers, two products for each activation loaded;
 * then the low planes of the blocks that have one get their turn. Every format is the same code with its constants folded in.
 *
 * Integer and float products share the units that do one of either a cycle. A block costs 8 of the one for each vector of 16
 * sums, and of the other 2, with minima or halves 3: 80 or 73 % of the integer rate is the most that this can reach.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_AVX512_H
#define IMP_COMPUTE_CPU_PACKED_AVX512_H

#include "compute/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

enum { FEW_ACTS = 3, TILE_ACTS = 6 };

/* An expanded block in registers. */
typedef struct VectorBlock {
    __m512i codes[8];
    __m512 scale[2], minimum[2];
} VectorBlock;

/* ---- expanding: shifts may drag bits over from the neighbour byte, a mask always follows ---- */

KERNEL_INLINE __m512i load_vector(const uint8_t *p) { return _mm512_loadu_si512(p); }

/* a | (b & mask) */
KERNEL_INLINE __m512i merge_bits(__m512i a, __m512i b, __m512i mask)
{
    return _mm512_ternarylogic_epi64(a, b, mask, 0xF8);
}

KERNEL_INLINE void expand_codes(int bits, const uint8_t *table, const uint8_t *in, __m512i codes[8])
{
    const __m512i fifteen = _mm512_set1_epi8(15), three = _mm512_set1_epi8(3);
    if (bits == 8) {
        for (int g = 0; g < 8; g++) codes[g] = load_vector(in + g * 64);
        return;
    }
    if (bits >= 4) {
        for (int v = 0; v < 4; v++) {
            const __m512i pair = load_vector(in + v * 64);
            codes[2 * v] = _mm512_and_si512(pair, fifteen);
            codes[2 * v + 1] = _mm512_and_si512(_mm512_srli_epi32(pair, 4), fifteen);
        }
        in += 256;
    } else {
        for (int g = 0; g < 8; g++)
            codes[g] = _mm512_and_si512(_mm512_srli_epi32(load_vector(in + g / 4 * 64), (unsigned)(g % 4 * 2)), three);
        in += 128;
    }
    if (table != NULL) {
        const __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
        for (int g = 0; g < 8; g++) codes[g] = _mm512_shuffle_epi8(values, codes[g]);
    }
    if (bits == 6) {
        const __m512i mask = _mm512_set1_epi8(0x30);
        for (int g = 0; g < 8; g++) {
            const __m512i high = load_vector(in + g / 4 * 64);
            const int left = 4 - g % 4 * 2;
            codes[g] = merge_bits(codes[g], left >= 0 ? _mm512_slli_epi32(high, (unsigned)left)
                                                      : _mm512_srli_epi32(high, (unsigned)-left), mask);
        }
    } else if (bits == 5 || bits == 3) {
        const int at = bits == 5 ? 4 : 2;
        const __m512i high = load_vector(in), mask = _mm512_set1_epi8((char)(1 << at));
        for (int g = 0; g < 8; g++)
            codes[g] = merge_bits(codes[g], g <= at ? _mm512_slli_epi32(high, (unsigned)(at - g))
                                                    : _mm512_srli_epi32(high, (unsigned)(g - at)), mask);
    }
}

KERNEL_INLINE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
KERNEL_INLINE __m128i load_bytes(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }

KERNEL_INLINE __m512 e8m0_halves(const uint8_t *p)
{
    const __m512i code = _mm512_cvtepu8_epi32(load_bytes(p));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(code, _mm512_set1_epi32(1)), 23);
    const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), code);
    const __mmask16 small = _mm512_cmplt_epi32_mask(code, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_blend_epi32(small, normal, tiny));
}

KERNEL_INLINE __m512 ue4m3_halves(const uint8_t *p)
{
    const __m512i code = _mm512_cvtepu8_epi32(load_bytes(p));
    const __m512i magnitude = _mm512_slli_epi32(_mm512_and_si512(code, _mm512_set1_epi32(0x7F)), 20);
    const __mmask16 valid = _mm512_cmpneq_epi32_mask(code, _mm512_set1_epi32(0x7F));
    return _mm512_maskz_mul_ps(valid, _mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p119f));
}

/* `header` opens the superblock, `block` is one of its blocks. */
KERNEL_INLINE void expand_block(const PackedFormat *f, const uint8_t *header, const uint8_t *block, VectorBlock *out)
{
    expand_codes(f->bits, f->table, block + f->group_bytes, out->codes);
    const __m512 zero = _mm512_setzero_ps();
    const __m512 d = f->header_bytes > 0 ? load_f16(header) : zero;
    __m512 m = f->has_min ? load_f16(header + 32) : zero;
    if (f->has_min && !f->adds_min) m = _mm512_xor_ps(m, _mm512_set1_ps(-0.0f));
    for (int half = 0; half < f->halves; half++) {
        const uint8_t *group = block + 16 * half;
        out->scale[half] = d;
        out->minimum[half] = m;
        if (f->scale == SCALE_D_GROUP) {
            out->scale[half] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes(group))));
            if (f->has_min)
                out->minimum[half] = _mm512_mul_ps(m, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_bytes(block + 16))));
        } else if (f->scale == SCALE_D_NIBBLE) {
            const __m512i bytes = _mm512_cvtepu8_epi32(load_bytes(group));
            const __m512i low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
            out->scale[half] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(low));
            out->minimum[half] = _mm512_mul_ps(m, _mm512_cvtepi32_ps(_mm512_srli_epi32(bytes, 4)));
        } else if (f->scale == SCALE_E8M0) {
            out->scale[half] = e8m0_halves(group);
        } else if (f->scale == SCALE_UE4M3) {
            out->scale[half] = ue4m3_halves(group);
        }
    }
}

/* ---- few activation rows ---- */

KERNEL_INLINE __m512i four_acts(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* The codes of one half (or the whole) times one plane, from minus the offset. */
KERNEL_INLINE __m512i plane_dot(const PackedFormat *f, const __m512i *codes, const int8_t *plane, int32_t minus)
{
    const int groups = 8 / f->halves;
    __m512i sum = f->offset_shift != 0 ? _mm512_set1_epi32(minus / (ACT_OFFSET >> f->offset_shift)) : _mm512_setzero_si512();
    for (int g = 0; g < groups; g++) sum = _mm512_dpbusd_epi32(sum, codes[g], four_acts(plane + 4 * g));
    return sum;
}

/* The scaled integers of one plane of a block, or of both joined. */
KERNEL_INLINE __m512 few_scaled(const PackedFormat *f, const VectorBlock *block, const int8_t *plane,
                                const int32_t *minus, const ActChunk *joined, int b)
{
    __m512 scaled = _mm512_setzero_ps();
    for (int half = 0; half < f->halves; half++) {
        const __m512i *codes = block->codes + half * 4;
        const int part = act_part(f->halves, b, half), at = b * BLOCK_COLS + half * 16;
        __m512i sum = plane_dot(f, codes, plane + at, minus[part]);
        if (joined != NULL)
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8),
                                   plane_dot(f, codes, joined->low + at, joined->minus_low[part]));
        const __m512 value = _mm512_cvtepi32_ps(sum);
        scaled = half == 0 ? _mm512_mul_ps(value, block->scale[half])
                           : _mm512_fmadd_ps(value, block->scale[half], scaled);
    }
    return scaled;
}

/* Block b of a chunk: adds to total[0] and, where it is fine and not joined, to total[1]. */
KERNEL_INLINE void few_add(const PackedFormat *f, const VectorBlock *block, const ActChunk *act, int b, __m512 total[2])
{
    const ActChunk *joined = act->joined != 0 ? act : NULL;
    const __m512 scaled = few_scaled(f, block, act->high, act->minus_high, joined, b);
    total[0] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(act->scale[b]), total[0]);
    for (int half = 0; half < f->halves && f->has_min; half++)
        total[0] = _mm512_fmadd_ps(block->minimum[half], _mm512_set1_ps(act->sum[act_part(f->halves, b, half)]), total[0]);
    if (joined != NULL || (act->fine >> b & 1) == 0) return;
    const __m512 low = few_scaled(f, block, act->low, act->minus_low, NULL, b);
    total[1] = _mm512_fmadd_ps(low, _mm512_set1_ps(act->low_scale[b]), total[1]);
}

KERNEL_INLINE void multiply_few(const PackedFormat *f, const uint8_t *panel, int64_t cols, const ActRows *acts,
                                int n_acts, float *out)
{
    const int blocks = f->super / BLOCK_COLS;
    __m512 total[FEW_ACTS][2];
    for (int a = 0; a < n_acts; a++) total[a][0] = total[a][1] = _mm512_setzero_ps();
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *header = panel;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes) {
            VectorBlock block;
            expand_block(f, header, panel, &block);
            const size_t chunk = (size_t)((b + i) / CHUNK_BLOCKS) * acts->stride;
            for (int a = 0; a < n_acts; a++)
                few_add(f, &block, acts->first[a] + chunk, (int)((b + i) % CHUNK_BLOCKS), total[a]);
        }
    }
    for (int a = 0; a < n_acts; a++) _mm512_storeu_ps(out + a * PACKED_ROWS, _mm512_add_ps(total[a][0], total[a][1]));
}

/* ---- many: a chunk expanded ---- */

KERNEL_INLINE void expand_chunk(const PackedFormat *f, const uint8_t *panel, int n_blocks, PlainBlock *out)
{
    const int blocks = f->super / BLOCK_COLS;
    const __m512i raise = _mm512_set1_epi8((char)(f->offset_shift != 0 ? ACT_OFFSET - (1 << f->offset_shift) : 0));
    for (int b = 0; b < n_blocks; b += blocks) {
        const uint8_t *header = panel;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes, out++) {
            VectorBlock block;
            expand_block(f, header, panel, &block);
            for (int g = 0; g < 8; g++)
                _mm512_store_si512(out->codes + 64 * g, _mm512_add_epi8(block.codes[g], raise));
            for (int half = 0; half < f->halves; half++) {
                _mm512_store_ps(out->scale[half], block.scale[half]);
                if (f->has_min) _mm512_store_ps(out->minimum[half], block.minimum[half]);
            }
        }
    }
}

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
#pragma GCC unroll 8
    for (int g = 0; g < 8 / shape.halves; g++) {
        __m512i vector[2];
        for (int p = 0; p < shape.n_panels; p++) vector[p] = _mm512_load_si512(codes[p] + 64 * g);
        for (int a = 0; a < shape.n_acts; a++) {
            const __m512i act = four_acts(planes[a] + 4 * g);
            for (int p = 0; p < shape.n_panels; p++) sums[p][a] = _mm512_dpbusd_epi32(sums[p][a], vector[p], act);
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
    for (int p = 0; p < shape.n_panels; p++) codes[p] = block[p]->codes + half * (BLOCK_CODES / 2);
    for (int a = 0; a < shape.n_acts; a++) {
        const bool low = shape.planes == PLANE_LOW;
        planes[a] = (low ? act[a]->low : act[a]->high) + at;
        const __m512i start = tile_start(shape, low ? act[a]->minus_low[part] : act[a]->minus_high[part]);
        for (int p = 0; p < shape.n_panels; p++) sums[p][a] = start;
    }
    tile_plane(shape, codes, planes, sums);
    if (shape.planes != PLANES_JOINED) return;
    for (int a = 0; a < shape.n_acts; a++) {
        planes[a] = act[a]->low + at;
        const __m512i start = tile_start(shape, act[a]->minus_low[part]);
        for (int p = 0; p < shape.n_panels; p++)
            sums[p][a] = _mm512_add_epi32(_mm512_slli_epi32(sums[p][a], 8), start);
    }
    tile_plane(shape, codes, planes, sums);
}

KERNEL_INLINE void tile_block(TileShape shape, const PlainBlock *const block[2], const ActChunk *const act[], int b,
                              TileFloats total)
{
    TileFloats scaled;
#pragma GCC unroll 2
    for (int half = 0; half < shape.halves; half++) {
        TileInts sums;
        tile_part(shape, block, act, b, half, sums);
        for (int p = 0; p < shape.n_panels; p++) {
            const __m512 scale = _mm512_load_ps(block[p]->scale[half]);
            for (int a = 0; a < shape.n_acts; a++) {
                const __m512 value = _mm512_cvtepi32_ps(sums[p][a]);
                scaled[p][a] = half == 0 ? _mm512_mul_ps(value, scale) : _mm512_fmadd_ps(value, scale, scaled[p][a]);
            }
        }
    }
    for (int a = 0; a < shape.n_acts; a++) {
        const __m512 scale = _mm512_set1_ps(shape.planes == PLANE_LOW ? act[a]->low_scale[b] : act[a]->scale[b]);
        for (int p = 0; p < shape.n_panels; p++) total[p][a] = _mm512_fmadd_ps(scaled[p][a], scale, total[p][a]);
    }
    for (int half = 0; half < shape.halves && shape.has_min && shape.planes != PLANE_LOW; half++)
        for (int p = 0; p < shape.n_panels; p++) {
            const __m512 minimum = _mm512_load_ps(block[p]->minimum[half]);
            for (int a = 0; a < shape.n_acts; a++)
                total[p][a] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(act[a]->sum[act_part(shape.halves, b, half)]),
                                              total[p][a]);
        }
}

/* Adds a chunk of n_blocks, `offset` from the rows' first ones, to what is in `out`. The rows behind these come next. */
KERNEL_INLINE void multiply_tile(TileShape shape, const PlainChunk *panels, int n_blocks, const ActChunk *const rows[],
                                 size_t offset, float *out)
{
    const ActChunk *act[TILE_ACTS], *next[TILE_ACTS];
    TileFloats total;
    for (int a = 0; a < shape.n_acts; a++) {
        act[a] = rows[a] + offset;
        next[a] = rows[shape.n_acts + a] + offset;
        for (int p = 0; p < shape.n_panels; p++) total[p][a] = _mm512_loadu_ps(out + a * PACKED_ROWS + p * PANEL_ROWS);
    }
    for (int b = 0; b < n_blocks; b++) {
        const PlainBlock *block[2] = {&panels[0].blocks[b], &panels[1].blocks[b]};
        for (int a = 0; a < shape.n_acts && (b < 5 || b == 7 || shape.halves == 2 || shape.has_min); a++)
            _mm_prefetch((const char *)next[a] + 64 * b, _MM_HINT_T0);
        tile_block(shape, block, act, b, total);
    }
    for (int a = 0; a < shape.n_acts; a++)
        for (int p = 0; p < shape.n_panels; p++) _mm512_storeu_ps(out + a * PACKED_ROWS + p * PANEL_ROWS, total[p][a]);
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

enum { LOW_ACTS = 4 };

/* Block b of rows that are all fine there: adds to their low sums, or for the padding of a last tile to the last of `low`. */
KERNEL_INLINE void low_tile(TileShape shape, const PackedScratch *scratch, const ActRows *acts, size_t offset, int b,
                            const int32_t rows[LOW_ACTS], float *low)
{
    const PlainBlock *block[2] = {&scratch->panels[0].blocks[b], &scratch->panels[1].blocks[b]};
    const ActChunk *act[LOW_ACTS];
    TileFloats total;
    for (int a = 0; a < LOW_ACTS; a++) {
        act[a] = acts->first[rows[a] < PACKED_ACTS ? rows[a] : rows[0]] + offset;
        for (int p = 0; p < shape.n_panels; p++)
            total[p][a] = _mm512_loadu_ps(low + rows[a] * PACKED_ROWS + p * PANEL_ROWS);
    }
    tile_block(shape, block, act, b, total);
    for (int a = 0; a < LOW_ACTS; a++)
        for (int p = 0; p < shape.n_panels; p++)
            _mm512_storeu_ps(low + rows[a] * PACKED_ROWS + p * PANEL_ROWS, total[p][a]);
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

/* Lists the rows that are fine in each block of a chunk, padded to whole tiles; n_fine: how many there are. */
static void list_fine(const ActRows *acts, size_t offset, PackedScratch *scratch, int32_t n_fine[CHUNK_BLOCKS])
{
    for (int b = 0; b < CHUNK_BLOCKS; b++) n_fine[b] = 0;
    for (int32_t first = 0; first < acts->n; first += 16) {
        uint32_t fine[16] = {0}, any = 0;
        for (int32_t a = 0; a < 16 && first + a < acts->n; a++) any |= fine[a] = acts->first[first + a][offset].fine;
        if (any == 0) continue;
        const __m512i bits = _mm512_loadu_si512(fine);
        const __m512i rows = _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                                                                         12, 13, 14, 15));
        for (int b = 0; b < CHUNK_BLOCKS; b++) {
            const __mmask16 chosen = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << b));
            _mm512_storeu_si512(scratch->fine[b] + n_fine[b], _mm512_maskz_compress_epi32(chosen, rows));
            n_fine[b] += __builtin_popcount(chosen);
        }
    }
    for (int b = 0; b < CHUNK_BLOCKS; b++)
        for (int a = 0; a < LOW_ACTS; a++) scratch->fine[b][n_fine[b] + a] = PACKED_ACTS;
}

/* ---- one instance a format ---- */

/* A chunk of one or two panels times the n rows, tile by tile. */
KERNEL_INLINE void multiply_chunk(const PackedFormat *f, const PackedScratch *scratch, int n_panels, int n_blocks,
                                  const ActChunk *const rows[], int32_t n, size_t offset, float *out)
{
    const bool joined = rows[0]->joined != 0;
    for (int32_t first = 0, size; first < n; first += size) {
        const int32_t left = n - first;
        /* 6 together, but 8 as 4 and 4. */
        const int which = left > 4 && left != 8;
        size = tiles[joined][n_panels - 1][f->halves - 1][f->has_min][which].n_acts;
        tiles[joined][n_panels - 1][f->halves - 1][f->has_min][which].multiply(scratch->panels, n_blocks, rows + first, offset,
                                                                                out + first * PACKED_ROWS);
    }
}

KERNEL_INLINE void multiply_many(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                 int64_t cols, const ActRows *acts, PackedScratch *scratch, float *out)
{
    const int supers = CHUNK_COLS / f->super;
    const size_t chunk_bytes = (size_t)supers * (size_t)(f->header_bytes + f->super / BLOCK_COLS * f->block_bytes);
    const size_t n_out = (size_t)acts->n * PACKED_ROWS;
    const bool joined = acts->first[0]->joined != 0;
    /* A last tile's rows past the end, and what it thinks comes next, repeat the last row. */
    const ActChunk *rows[PACKED_ACTS + 2 * TILE_ACTS];
    for (int32_t a = 0; a < acts->n + 2 * TILE_ACTS; a++) rows[a] = acts->first[a < acts->n ? a : acts->n - 1];
    memset(out, 0, (n_out + TILE_ACTS * PACKED_ROWS) * sizeof *out);
    memset(scratch->low, 0, n_out * sizeof *scratch->low);
    for (int32_t chunk = 0; chunk < act_chunks(cols); chunk++) {
        const int64_t blocks_left = cols / BLOCK_COLS - (int64_t)chunk * CHUNK_BLOCKS;
        const int n_blocks = blocks_left < CHUNK_BLOCKS ? (int)blocks_left : CHUNK_BLOCKS;
        const size_t offset = (size_t)chunk * acts->stride;
        int32_t n_fine[CHUNK_BLOCKS] = {0};
        for (int first = 0; first < n_panels; first += 2) {
            const int n = n_panels - first < 2 ? 1 : 2;
            for (int p = 0; p < n; p++)
                expand_chunk(f, panels[first + p] + (size_t)chunk * chunk_bytes, n_blocks, scratch->panels[p].blocks);
            multiply_chunk(f, scratch, n, n_blocks, rows, acts->n, offset, out + first * PANEL_ROWS);
            if (first == 0 && !joined) list_fine(acts, offset, scratch, n_fine);
            for (int b = 0; b < n_blocks; b++)
                for (int32_t i = 0; i < n_fine[b]; i += LOW_ACTS)
                    low_tiles[n - 1][f->halves - 1][f->has_min](scratch, acts, offset, b, &scratch->fine[b][i],
                                                                scratch->low + first * PANEL_ROWS);
        }
    }
    for (size_t i = 0; i < n_out; i += PANEL_ROWS)
        _mm512_storeu_ps(out + i, _mm512_add_ps(_mm512_loadu_ps(out + i), _mm512_loadu_ps(scratch->low + i)));
}

KERNEL_INLINE void multiply_format(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                                   const ActRows *acts, PackedScratch *scratch, float *out)
{
    if (acts->n > FEW_ACTS) {
        multiply_many(f, panels, n_panels, cols, acts, scratch, out);
        return;
    }
    for (int p = 0; p < n_panels; p++) {
        float *part = out + p * PANEL_ROWS;
        switch (acts->n) {
        case 1: multiply_few(f, panels[p], cols, acts, 1, part); break;
        case 2: multiply_few(f, panels[p], cols, acts, 2, part); break;
        default: multiply_few(f, panels[p], cols, acts, 3, part);
        }
    }
}

#define INSTANCE(name, ...)                                                                                            \
    static void multiply_##name(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols, const ActRows *acts,       \
                                PackedScratch *scratch, float *out)                                                    \
    {                                                                                                                  \
        static const PackedFormat format = PACKED_FORMAT(name, __VA_ARGS__);                                           \
        multiply_format(&format, panels, n_panels, cols, acts, scratch, out);                                          \
    }
PACKED_FORMATS(INSTANCE)
#undef INSTANCE

static void packed_multiply_avx512(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                   int64_t cols, const ActRows *acts, PackedScratch *scratch, float *out)
{
#define ENTRY(name, ...) [DT_##name] = multiply_##name,
    static void (*const instances[DT_COUNT])(const uint8_t *const[2], int, int64_t, const ActRows *, PackedScratch *,
                                             float *) = {PACKED_FORMATS(ENTRY)};
#undef ENTRY
    instances[format->type](panels, n_panels, cols, acts, scratch, out);
}

#endif
