/*
 * packed_avx512.h - products with packed panels by VNNI: 64 products of a code and an activation byte an instruction.
 *
 * A few activation rows: a block is expanded in registers and used at once; its bytes are read exactly once, in order,
 * which is what a decode step lives on. Many: two panels are expanded to memory that the second cache holds, and tiles of
 * up to 6 activation rows pass over them: integer and float sums in registers, two products for each activation loaded.
 * Every format is the same code with its constants folded in.
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
    __m512i sum = f->offset_shift != 0 ? _mm512_set1_epi32(minus * (1 << f->offset_shift)) : _mm512_setzero_si512();
    for (int g = 0; g < groups; g++) sum = _mm512_dpbusd_epi32(sum, codes[g], four_acts(plane + 4 * g));
    return sum;
}

KERNEL_INLINE __m512 add_block(const PackedFormat *f, const VectorBlock *block, const ActBlock *act, __m512 total)
{
    __m512 scaled = _mm512_setzero_ps();
    for (int half = 0; half < f->halves; half++) {
        const __m512i *codes = block->codes + half * 4;
        const int which = f->halves == 1 ? 2 : half;
        __m512i sum = plane_dot(f, codes, act->high + half * 16, act->minus_high[which]);
        if (act->fine != 0) {
            const __m512i low = plane_dot(f, codes, act->low + half * 16, act->minus_low[which]);
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), low);
        }
        const __m512 value = _mm512_cvtepi32_ps(sum);
        scaled = half == 0 ? _mm512_mul_ps(value, block->scale[half])
                           : _mm512_fmadd_ps(value, block->scale[half], scaled);
    }
    total = _mm512_fmadd_ps(scaled, _mm512_set1_ps(act->scale), total);
    for (int half = 0; half < f->halves && f->has_min; half++)
        total = _mm512_fmadd_ps(block->minimum[half], _mm512_set1_ps(act->sum[f->halves == 1 ? 2 : half]), total);
    return total;
}

KERNEL_INLINE void multiply_few(const PackedFormat *f, const uint8_t *panel, int64_t cols, const ActBlock *const acts[],
                                int n_acts, float *out)
{
    const int blocks = f->super / BLOCK_COLS;
    __m512 total[FEW_ACTS];
    for (int a = 0; a < n_acts; a++) total[a] = _mm512_setzero_ps();
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *header = panel;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes) {
            VectorBlock block;
            expand_block(f, header, panel, &block);
            for (int a = 0; a < n_acts; a++) total[a] = add_block(f, &block, &acts[a][b + i], total[a]);
        }
    }
    for (int a = 0; a < n_acts; a++) _mm512_storeu_ps(out + a * PACKED_ROWS, total[a]);
}

/* ---- many ---- */

KERNEL_INLINE void expand_panel(const PackedFormat *f, const uint8_t *panel, int64_t cols, PlainBlock *out)
{
    const int blocks = f->super / BLOCK_COLS;
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *header = panel;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes, out++) {
            VectorBlock block;
            expand_block(f, header, panel, &block);
            for (int g = 0; g < 8; g++) _mm512_store_si512(out->codes + 64 * g, block.codes[g]);
            for (int half = 0; half < f->halves; half++) {
                _mm512_store_ps(out->scale[half], block.scale[half]);
                if (f->has_min) _mm512_store_ps(out->minimum[half], block.minimum[half]);
            }
        }
    }
}

/* One plane of a tile: its independent sums hide the latency. */
KERNEL_INLINE void tile_plane(int n_panels, int n_acts, int groups, const uint8_t *const codes[2],
                              const int8_t *const planes[TILE_ACTS], __m512i sums[2][TILE_ACTS])
{
#pragma GCC unroll 8
    for (int g = 0; g < groups; g++) {
        __m512i vector[2];
        for (int p = 0; p < n_panels; p++) vector[p] = _mm512_load_si512(codes[p] + 64 * g);
        for (int a = 0; a < n_acts; a++) {
            const __m512i act = four_acts(planes[a] + 4 * g);
            for (int p = 0; p < n_panels; p++) sums[p][a] = _mm512_dpbusd_epi32(sums[p][a], vector[p], act);
        }
    }
}

/* What a tile is made of, constant in each instance but for the amount of the offset. */
typedef struct TileShape {
    int n_panels, n_acts, halves;
    bool has_min, has_offset;
    unsigned offset_shift;
} TileShape;

/* Minus the offset times the sum of a plane. */
KERNEL_INLINE __m512i tile_start(TileShape shape, int32_t minus)
{
    return shape.has_offset ? _mm512_slli_epi32(_mm512_set1_epi32(minus), shape.offset_shift) : _mm512_setzero_si512();
}

/* The low planes of a tile in which every block has one. */
KERNEL_INLINE void tile_all_low(TileShape shape, const uint8_t *const codes[2], const ActBlock *const act[], int half,
                                __m512i sums[2][TILE_ACTS])
{
    const int8_t *planes[TILE_ACTS];
    for (int a = 0; a < shape.n_acts; a++) {
        planes[a] = act[a]->low + half * 16;
        const __m512i start = tile_start(shape, act[a]->minus_low[shape.halves == 1 ? 2 : half]);
        for (int p = 0; p < shape.n_panels; p++)
            sums[p][a] = _mm512_add_epi32(_mm512_slli_epi32(sums[p][a], 8), start);
    }
    tile_plane(shape.n_panels, shape.n_acts, 8 / shape.halves, codes, planes, sums);
}

/* The low planes of the few blocks that have one, by way of memory. */
KERNEL_INLINE void tile_some_low(TileShape shape, const uint8_t *const codes[2], const ActBlock *const act[], int half,
                                 __m512i sums[2][TILE_ACTS])
{
    __m512i kept[TILE_ACTS][2];
    for (int a = 0; a < shape.n_acts; a++)
        for (int p = 0; p < shape.n_panels; p++) kept[a][p] = sums[p][a];
#pragma GCC unroll 1
    for (int a = 0; a < shape.n_acts; a++) {
        if (act[a]->fine == 0) continue;
        const int8_t *low = act[a]->low + half * 16;
        const __m512i start = tile_start(shape, act[a]->minus_low[shape.halves == 1 ? 2 : half]);
        for (int p = 0; p < shape.n_panels; p++) {
            __m512i sum[2] = {start, _mm512_slli_epi32(kept[a][p], 8)};
            for (int g = 0; g < 8 / shape.halves; g++)
                sum[g % 2] = _mm512_dpbusd_epi32(sum[g % 2], _mm512_load_si512(codes[p] + 64 * g), four_acts(low + 4 * g));
            kept[a][p] = _mm512_add_epi32(sum[0], sum[1]);
        }
    }
    for (int a = 0; a < shape.n_acts; a++)
        for (int p = 0; p < shape.n_panels; p++) sums[p][a] = kept[a][p];
}

/* One block: the integers of each half (or the whole), scaled and added up, then the float sums. n_fine: how many of the
 * activations have a low plane. */
KERNEL_INLINE void tile_block(TileShape shape, const PlainBlock *const block[2], const ActBlock *const act[],
                              uint32_t n_fine, __m512 total[2][TILE_ACTS])
{
    __m512 scaled[2][TILE_ACTS];
#pragma GCC unroll 2
    for (int half = 0; half < shape.halves; half++) {
        const uint8_t *codes[2];
        const int8_t *planes[TILE_ACTS];
        __m512i sums[2][TILE_ACTS];
        for (int p = 0; p < shape.n_panels; p++) codes[p] = block[p]->codes + half * (BLOCK_CODES / 2);
        for (int a = 0; a < shape.n_acts; a++) {
            planes[a] = act[a]->high + half * 16;
            sums[0][a] = tile_start(shape, act[a]->minus_high[shape.halves == 1 ? 2 : half]);
            sums[1][a] = sums[0][a];
        }
        tile_plane(shape.n_panels, shape.n_acts, 8 / shape.halves, codes, planes, sums);
        if (n_fine == (uint32_t)shape.n_acts) tile_all_low(shape, codes, act, half, sums);
        else if (n_fine != 0) tile_some_low(shape, codes, act, half, sums);
        for (int p = 0; p < shape.n_panels; p++) {
            const __m512 scale = _mm512_load_ps(block[p]->scale[half]);
            for (int a = 0; a < shape.n_acts; a++) {
                const __m512 sum = _mm512_cvtepi32_ps(sums[p][a]);
                scaled[p][a] = half == 0 ? _mm512_mul_ps(sum, scale) : _mm512_fmadd_ps(sum, scale, scaled[p][a]);
                if (half + 1 < shape.halves) continue;
                total[p][a] = _mm512_fmadd_ps(scaled[p][a], _mm512_set1_ps(act[a]->scale), total[p][a]);
                for (int h = 0; h < shape.halves && shape.has_min; h++)
                    total[p][a] = _mm512_fmadd_ps(_mm512_load_ps(block[p]->minimum[h]),
                                                  _mm512_set1_ps(act[a]->sum[shape.halves == 1 ? 2 : h]), total[p][a]);
            }
        }
    }
}

KERNEL_INLINE void multiply_tile(TileShape shape, const PlainBlock *const panels[2], int64_t n_blocks,
                                 const ActBlock *const acts[TILE_ACTS], int32_t n_acts, float *out)
{
    __m512 total[2][TILE_ACTS];
    for (int a = 0; a < shape.n_acts; a++) total[0][a] = total[1][a] = _mm512_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++) {
        const PlainBlock *block[2] = {&panels[0][b], &panels[1][b]};
        const ActBlock *act[TILE_ACTS];
        uint32_t n_fine = 0;
        for (int a = 0; a < shape.n_acts; a++) {
            act[a] = &acts[a][b];
            n_fine += act[a]->fine;
        }
        tile_block(shape, block, act, n_fine, total);
    }
    for (int a = 0; a < shape.n_acts; a++) {
        if (a >= n_acts) break;
        for (int p = 0; p < shape.n_panels; p++)
            _mm512_storeu_ps(out + a * PACKED_ROWS + p * PANEL_ROWS, total[p][a]);
    }
}

typedef void MultiplyTile(const PlainBlock *const panels[2], int64_t n_blocks, const ActBlock *const acts[TILE_ACTS],
                          int32_t n_acts, unsigned offset_shift, float *out);

#define TILE(name, n_panels, n, halves, has_min)                                                                       \
    static void name(const PlainBlock *const panels[2], int64_t n_blocks, const ActBlock *const acts[TILE_ACTS],       \
                     int32_t n_acts, unsigned offset_shift, float *out)                                                \
    {                                                                                                                  \
        const TileShape shape = {n_panels, n, halves, has_min, !(has_min), offset_shift};                              \
        multiply_tile(shape, panels, n_blocks, acts, n_acts, out);                                                     \
    }
/* A format has either minima or an offset. */
#define TILES(name, n_panels, n, halves) TILE(name, n_panels, n, halves, false) TILE(name##_min, n_panels, n, halves, true)
TILES(tile_one_4, 1, 4, 1)
TILES(tile_one_6, 1, 6, 1)
TILES(tile_two_4, 2, 4, 1)
TILES(tile_two_6, 2, 6, 1)
TILES(tile_one_halves, 1, 4, 2)
TILES(tile_two_halves, 2, 4, 2)
#undef TILES
#undef TILE

/* By panels - 1, halves - 1, has_min and whether 6 activation rows are wanted: sums of halves take more registers. */
static const struct {
    MultiplyTile *multiply;
    int n_acts;
} tiles[2][2][2][2] = {
    {{{{tile_one_4, 4}, {tile_one_6, 6}}, {{tile_one_4_min, 4}, {tile_one_6_min, 6}}},
     {{{tile_one_halves, 4}, {tile_one_halves, 4}}, {{tile_one_halves_min, 4}, {tile_one_halves_min, 4}}}},
    {{{{tile_two_4, 4}, {tile_two_6, 6}}, {{tile_two_4_min, 4}, {tile_two_6_min, 6}}},
     {{{tile_two_halves, 4}, {tile_two_halves, 4}}, {{tile_two_halves_min, 4}, {tile_two_halves_min, 4}}}},
};

static void multiply_many(const PackedFormat *f, const PlainBlock *const panels[2], int n_panels, int64_t cols,
                          const ActBlock *const acts[], int32_t n_acts, float *out)
{
    for (int32_t first = 0, n; first < n_acts; first += n) {
        const int32_t left = n_acts - first;
        /* 6 together, but 8 as 4 and 4. */
        const int which = left > 4 && left != 8, size = tiles[n_panels - 1][f->halves - 1][f->has_min][which].n_acts;
        const ActBlock *tile[TILE_ACTS];
        n = left < size ? left : size;
        for (int32_t a = 0; a < size; a++) tile[a] = acts[first + (a < n ? a : n - 1)];
        tiles[n_panels - 1][f->halves - 1][f->has_min][which].multiply(panels, cols / BLOCK_COLS, tile, n,
                                                                        f->offset_shift, out + first * PACKED_ROWS);
    }
}

/* ---- one instance a format ---- */

KERNEL_INLINE void multiply_format(const PackedFormat *f, const uint8_t *const panels[2], int n_panels, int64_t cols,
                                   const ActBlock *const acts[], int32_t n_acts, PlainBlock *scratch, float *out)
{
    const int64_t blocks = cols / BLOCK_COLS;
    const PlainBlock *const plain[2] = {scratch, n_panels == 2 ? scratch + blocks : scratch};
    for (int p = 0; p < n_panels; p++) {
        float *part = out + p * PANEL_ROWS;
        switch (n_acts) {
        case 1: multiply_few(f, panels[p], cols, acts, 1, part); break;
        case 2: multiply_few(f, panels[p], cols, acts, 2, part); break;
        case 3: multiply_few(f, panels[p], cols, acts, 3, part); break;
        default: expand_panel(f, panels[p], cols, scratch + p * blocks);
        }
    }
    if (n_acts > 3) multiply_many(f, plain, n_panels, cols, acts, n_acts, out);
}

#define INSTANCE(name, ...)                                                                                            \
    static void multiply_##name(const uint8_t *const panels[2], int n_panels, int64_t cols,                            \
                                const ActBlock *const acts[], int32_t n_acts, PlainBlock *scratch, float *out)         \
    {                                                                                                                  \
        static const PackedFormat format = PACKED_FORMAT(name, __VA_ARGS__);                                           \
        multiply_format(&format, panels, n_panels, cols, acts, n_acts, scratch, out);                                  \
    }
PACKED_FORMATS(INSTANCE)
#undef INSTANCE

static void packed_multiply_avx512(const PackedFormat *format, const uint8_t *const panels[2], int n_panels,
                                   int64_t cols, const ActBlock *const acts[], int32_t n_acts, PlainBlock *scratch,
                                   float *out)
{
#define ENTRY(name, ...) [DT_##name] = multiply_##name,
    static void (*const instances[DT_COUNT])(const uint8_t *const[2], int, int64_t, const ActBlock *const[], int32_t,
                                             PlainBlock *, float *) = {PACKED_FORMATS(ENTRY)};
#undef ENTRY
    instances[format->type](panels, n_panels, cols, acts, n_acts, scratch, out);
}

#endif
