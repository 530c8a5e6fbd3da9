/*
 * packed_avx2.h - products with packed panels in AVX2, which multiplies unsigned with signed bytes and adds two of them to 16 bits,
 * saturating.
 *
 * Nothing may saturate, since integers are exact on every level. Small codes leave room for several such sums to be added in 16 bits
 * before they are widened. Codes of all eight bits become magnitudes, and their signs go to the activations; where those may be -128,
 * which has no opposite, the codes' top bits are multiplied apart.
 *
 * Up to FEW_ACTS activation rows: a block is expanded in registers, one side of its rows after the other, and used at once. More: a
 * chunk is expanded to memory that the first cache holds, and SIDE_TOGETHER activation rows at a time share what is loaded of it.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_AVX2_H
#define IMP_COMPUTE_CPU_PACKED_AVX2_H

#include "compute/cpu/packed_expand_avx2.h"

enum { FEW_ACTS = 3, SIDE_TOGETHER = 4 };

/* How codes of a format are multiplied. */
KERNEL_INLINE bool whole_bytes(const PackedFormat *f) { return f->bits == 8 || f->table == iq4_codes; }

/* How many sums of two products with activations of at most 128 can be added in 16 bits: codes are below 16, 32 or 64. */
KERNEL_INLINE int pairs_together(const PackedFormat *f)
{
    if (f->bits == 6) return 2;
    return f->bits == 5 || f->table != NULL ? 4 : 8;
}

KERNEL_INLINE __m256i four_acts(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Sums are added one after the other: gcc makes trees of them, for which 16 registers are too few. */
KERNEL_INLINE __m256i in_order(__m256i sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

KERNEL_INLINE __m256i widen_pairs(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

/* ---- one plane of n activation rows times the codes of a side, from `start`: sums of eight rows each ---- */

/* Codes g, g + 1, … of a part lie in `codes` or, where that is NULL, 64 bytes apart at `memory`. */
typedef struct SideCodes {
    const __m256i *codes;
    const uint8_t *memory;
} SideCodes;

KERNEL_INLINE __m256i side_code(SideCodes from, int g) { return from.codes != NULL ? from.codes[g] : load_side(from.memory + 64 * g); }

KERNEL_INLINE void dot_small(const PackedFormat *f, SideCodes from, const int8_t *const planes[], int n, __m256i sums[])
{
    const int groups = 8 / f->halves, together = pairs_together(f) < groups ? pairs_together(f) : groups;
    UNROLL for (int first = 0; first < groups; first += together) {
        __m256i pairs[SIDE_TOGETHER];
        UNROLL for (int g = first; g < first + together; g++) {
            const __m256i code = side_code(from, g);
            UNROLL for (int a = 0; a < n; a++) {
                const __m256i two = _mm256_maddubs_epi16(code, four_acts(planes[a] + 4 * g));
                pairs[a] = g == first ? two : in_order(_mm256_add_epi16(pairs[a], two));
            }
        }
        UNROLL for (int a = 0; a < n; a++) sums[a] = in_order(_mm256_add_epi32(sums[a], widen_pairs(pairs[a])));
    }
}

/* Codes minus 128, with activations above -128: two products are at most 2 * 128 * 127. */
KERNEL_INLINE void dot_signed(const PackedFormat *f, SideCodes from, const int8_t *const planes[], int n, __m256i sums[])
{
    UNROLL for (int g = 0; g < 8 / f->halves; g++) {
        const __m256i code = _mm256_xor_si256(side_code(from, g), _mm256_set1_epi8(-128)), magnitude = _mm256_abs_epi8(code);
        UNROLL for (int a = 0; a < n; a++) {
            const __m256i act = _mm256_sign_epi8(four_acts(planes[a] + 4 * g), code);
            sums[a] = in_order(_mm256_add_epi32(sums[a], widen_pairs(_mm256_maddubs_epi16(magnitude, act))));
        }
    }
}

/* Codes minus 128 with any activations: 128 * (top bit - 1) + the other seven. */
KERNEL_INLINE void dot_bytes(const PackedFormat *f, SideCodes from, const int8_t *const planes[], int n, __m256i sums[])
{
    const __m256i seven = _mm256_set1_epi8(127), one = _mm256_set1_epi8(1);
    __m256i tops[SIDE_TOGETHER];
    UNROLL for (int a = 0; a < n; a++) tops[a] = _mm256_setzero_si256();
    UNROLL for (int g = 0; g < 8 / f->halves; g++) {
        const __m256i code = side_code(from, g), rest = _mm256_and_si256(code, seven);
        const __m256i none = _mm256_andnot_si256(_mm256_srli_epi16(code, 7), one); /* 1 where the top bit is not there */
        UNROLL for (int a = 0; a < n; a++) {
            const __m256i act = four_acts(planes[a] + 4 * g);
            sums[a] = in_order(_mm256_add_epi32(sums[a], widen_pairs(_mm256_maddubs_epi16(rest, act))));
            tops[a] = in_order(_mm256_add_epi16(tops[a], _mm256_maddubs_epi16(none, act)));
        }
    }
    UNROLL for (int a = 0; a < n; a++) sums[a] = _mm256_sub_epi32(sums[a], _mm256_slli_epi32(widen_pairs(tops[a]), 7));
}

/* Minus the format's offset times the sum of a plane: codes of all eight bits have theirs taken off one by one. */
KERNEL_INLINE __m256i dot_start(const PackedFormat *f, int32_t minus)
{
    if (f->offset_shift == 0 || whole_bytes(f)) return _mm256_setzero_si256();
    return _mm256_srai_epi32(_mm256_set1_epi32(minus), ACT_OFFSET_SHIFT - f->offset_shift);
}

/* The integers of some rows' high planes, both planes joined, or low planes, in one part of block b. */
typedef enum SidePlanes { SIDE_HIGH, SIDE_JOINED, SIDE_LOW } SidePlanes;

KERNEL_INLINE void side_integers(const PackedFormat *f, SidePlanes which, SideCodes from, const ActChunk *const acts[], int n, int b,
                                 int half, __m256i sums[])
{
    const int part = act_part(f->halves, b, half), at = b * BLOCK_COLS + half * 16;
    const int8_t *planes[SIDE_TOGETHER];
    if (which != SIDE_LOW) {
        UNROLL for (int a = 0; a < n; a++) {
            planes[a] = acts[a]->high + at;
            sums[a] = dot_start(f, acts[a]->minus_high[part]);
        }
        if (whole_bytes(f)) dot_signed(f, from, planes, n, sums);
        else dot_small(f, from, planes, n, sums);
        if (which == SIDE_HIGH) return;
    }
    UNROLL for (int a = 0; a < n; a++) {
        const __m256i start = dot_start(f, acts[a]->minus_low[part]);
        planes[a] = acts[a]->low + at;
        sums[a] = which == SIDE_LOW ? start : _mm256_add_epi32(_mm256_slli_epi32(sums[a], 8), start);
    }
    if (whole_bytes(f)) dot_bytes(f, from, planes, n, sums);
    else dot_small(f, from, planes, n, sums);
}

/* ---- floats: the order of packed.h ---- */

/* A side's sums of one row in a chunk, to be scaled by it, over all chunks and over all low planes. */
typedef struct SideSums {
    _Alignas(32) float chunk[PANEL_ROWS], high[PANEL_ROWS], low[PANEL_ROWS];
} SideSums;

/* Where a side's codes and scales of a block are. */
typedef struct SideFrom {
    SideCodes codes;
    const float *scale[2], *minimum[2]; /* in memory; unused when `block` is there */
    const SideBlock *block;
} SideFrom;

KERNEL_INLINE SideCodes part_codes(SideFrom from, int half)
{
    if (from.block != NULL) return (SideCodes){from.block->codes + 4 * half, NULL};
    return (SideCodes){NULL, from.codes.memory + 256 * half};
}
KERNEL_INLINE __m256 part_scale(SideFrom from, int half)
{
    return from.block != NULL ? from.block->scale[half] : _mm256_loadu_ps(from.scale[half]);
}
KERNEL_INLINE __m256 part_minimum(SideFrom from, int half)
{
    return from.block != NULL ? from.block->minimum[half] : _mm256_loadu_ps(from.minimum[half]);
}

/* Two to the exponents of some rows' blocks. */
typedef float SidePowers[SIDE_TOGETHER][CHUNK_BLOCKS];

KERNEL_INLINE void side_powers(const ActChunk *const acts[], int n, SidePowers powers)
{
    for (int a = 0; a < n; a++) _mm256_storeu_ps(powers[a], v_pow2_half(_mm256_loadu_ps(acts[a]->exponent)));
}

/* Adds block b's high planes (or both joined) and minima to `totals`. */
KERNEL_INLINE void side_high(const PackedFormat *f, bool joined, SideFrom from, const ActChunk *const acts[], SidePowers powers, int n, int b,
                             __m256 totals[])
{
    UNROLL for (int half = 0; half < f->halves; half++) {
        const __m256 scale = part_scale(from, half);
        __m256i sums[SIDE_TOGETHER];
        side_integers(f, joined ? SIDE_JOINED : SIDE_HIGH, part_codes(from, half), acts, n, b, half, sums);
        UNROLL for (int a = 0; a < n; a++) {
            const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[a]), _mm256_set1_ps(powers[a][b]));
            totals[a] = _mm256_fmadd_ps(value, scale, totals[a]);
        }
    }
    for (int half = 0; half < f->halves && f->has_min; half++) {
        const __m256 minimum = part_minimum(from, half);
        UNROLL for (int a = 0; a < n; a++)
            totals[a] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(acts[a]->sum[act_part(f->halves, b, half)]), totals[a]);
    }
}

/* Adds one row's low plane of block b to the sums of those. */
KERNEL_INLINE void side_low(const PackedFormat *f, SideFrom from, const ActChunk *act, int b, float *low)
{
    __m256 scaled = _mm256_setzero_ps();
    UNROLL for (int half = 0; half < f->halves; half++) {
        const __m256 scale = part_scale(from, half);
        __m256i sum;
        side_integers(f, SIDE_LOW, part_codes(from, half), &act, 1, b, half, &sum);
        const __m256 value = _mm256_cvtepi32_ps(sum);
        scaled = half == 0 ? _mm256_mul_ps(value, scale) : _mm256_fmadd_ps(value, scale, scaled);
    }
    _mm256_storeu_ps(low, _mm256_fmadd_ps(scaled, _mm256_set1_ps(act->low_scale[b]), _mm256_loadu_ps(low)));
}

static inline bool has_low(const ActChunk *act, int b) { return act->joined == 0 && (act->fine >> b & 1) != 0; }

/* Ends a chunk of one row's side. */
KERNEL_INLINE void end_side_chunk(float scale, SideSums *sums, int side)
{
    float *chunk = sums->chunk + side * SIDE_ROWS, *high = sums->high + side * SIDE_ROWS;
    _mm256_storeu_ps(high, _mm256_fmadd_ps(_mm256_loadu_ps(chunk), _mm256_set1_ps(scale), _mm256_loadu_ps(high)));
    _mm256_storeu_ps(chunk, _mm256_setzero_ps());
}

/* ---- up to FEW_ACTS rows ---- */

/* Both sides of block b at `bytes`. */
KERNEL_INLINE void few_block(const PackedFormat *f, const uint8_t *header, const uint8_t *bytes, const ActChunk *const acts[], SidePowers powers,
                             int n, int b, SideSums sums[FEW_ACTS])
{
    UNROLL for (int side = 0; side < SIDES; side++) {
        SideBlock block;
        expand_side(f, header, bytes, side, &block);
        const SideFrom from = {.block = &block};
        UNROLL for (int a = 0; a < n; a++) {
            float *chunk = sums[a].chunk + side * SIDE_ROWS;
            __m256 total = _mm256_loadu_ps(chunk);
            if (acts[a]->joined != 0) side_high(f, true, from, &acts[a], &powers[a], 1, b, &total);
            else side_high(f, false, from, &acts[a], &powers[a], 1, b, &total);
            _mm256_storeu_ps(chunk, total);
            if (has_low(acts[a], b)) side_low(f, from, acts[a], b, sums[a].low + side * SIDE_ROWS);
        }
    }
}

KERNEL_INLINE void few_panel(const PackedFormat *f, const uint8_t *panel, int64_t cols, size_t far, const ActRows *acts, int n,
                             float *const out[], int first_out)
{
    const int blocks = f->super / BLOCK_COLS;
    SideSums sums[FEW_ACTS];
    SidePowers powers;
    memset(sums, 0, sizeof sums);
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *header = panel;
        const ActChunk *chunks[FEW_ACTS];
        for (int a = 0; a < n; a++) chunks[a] = acts->first[a] + (size_t)(b / CHUNK_BLOCKS) * acts->stride;
        if (b % CHUNK_BLOCKS == 0) side_powers(chunks, n, powers);
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes) {
            for (int byte = 0; byte < f->block_bytes && far != 0; byte += 64)
                _mm_prefetch((const char *)panel + far + byte, _MM_HINT_T1);
            few_block(f, header, panel, chunks, powers, n, (int)(b % CHUNK_BLOCKS) + i, sums);
        }
        if ((b + blocks) % CHUNK_BLOCKS != 0 && b + blocks < cols / BLOCK_COLS) continue;
        for (int a = 0; a < n; a++)
            for (int side = 0; side < SIDES; side++) end_side_chunk(chunks[a]->scale, &sums[a], side);
    }
    for (int a = 0; a < n; a++)
        for (int r = 0; r < PANEL_ROWS; r++) out[a][first_out + r] = sums[a].high[r] + sums[a].low[r];
}

/* ---- many rows ---- */

/* A chunk of a panel to memory. */
KERNEL_INLINE void expand_sides(const PackedFormat *f, const uint8_t *panel, int n_blocks, PlainBlock *out)
{
    const int blocks = f->super / BLOCK_COLS;
    for (int b = 0; b < n_blocks; b += blocks) {
        const uint8_t *header = panel;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes, out++)
            for (int side = 0; side < SIDES; side++) {
                SideBlock block;
                expand_side(f, header, panel, side, &block);
                UNROLL for (int g = 0; g < 8; g++)
                    _mm256_store_si256((__m256i *)(void *)(out->codes + 64 * g + side * SIDE_BYTES), block.codes[g]);
                UNROLL for (int half = 0; half < f->halves; half++) {
                    _mm256_storeu_ps(out->scale[half] + side * SIDE_ROWS, block.scale[half]);
                    if (f->has_min) _mm256_storeu_ps(out->minimum[half] + side * SIDE_ROWS, block.minimum[half]);
                }
            }
    }
}

KERNEL_INLINE SideFrom plain_side(const PackedFormat *f, const PlainBlock *block, int side)
{
    SideFrom from = {.codes = {NULL, block->codes + side * SIDE_BYTES}};
    for (int half = 0; half < f->halves; half++) {
        from.scale[half] = block->scale[half] + side * SIDE_ROWS;
        from.minimum[half] = block->minimum[half] + side * SIDE_ROWS;
    }
    return from;
}

/* n activation rows times one side of a chunk; high and low: the rows' sums, PACKED_ROWS apart. */
KERNEL_INLINE void side_chunk(const PackedFormat *f, bool joined, const PlainChunk *plain, int n_blocks, int side,
                              const ActChunk *const acts[], int n, float *high, float *low)
{
    __m256 totals[SIDE_TOGETHER];
    SidePowers powers;
    side_powers(acts, n, powers);
    UNROLL for (int a = 0; a < n; a++) totals[a] = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; b++) side_high(f, joined, plain_side(f, &plain->blocks[b], side), acts, powers, n, b, totals);
    for (int a = 0; a < n && !joined; a++)
        for (uint32_t fine = acts[a]->fine; fine != 0; fine &= fine - 1) {
            const int b = __builtin_ctz(fine);
            side_low(f, plain_side(f, &plain->blocks[b], side), acts[a], b, low + a * PACKED_ROWS);
        }
    UNROLL for (int a = 0; a < n; a++) {
        float *sum = high + a * PACKED_ROWS;
        _mm256_storeu_ps(sum, _mm256_fmadd_ps(totals[a], _mm256_set1_ps(acts[a]->scale), _mm256_loadu_ps(sum)));
    }
}

KERNEL_INLINE void multiply_many(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                                 const ActRows *acts, PackedScratch *scratch, float *const out[])
{
    const size_t n_out = (size_t)acts->n * PACKED_ROWS;
    const size_t chunk_bytes = (size_t)(CHUNK_COLS / f->super) * (f->header_bytes + (size_t)(f->super / BLOCK_COLS) * f->block_bytes);
    const bool joined = acts->first[0]->joined != 0;
    memset(scratch->high, 0, n_out * sizeof *scratch->high);
    memset(scratch->low, 0, n_out * sizeof *scratch->low);
    for (int32_t chunk = 0; chunk < act_chunks(cols); chunk++) {
        const int64_t left = cols / BLOCK_COLS - (int64_t)chunk * CHUNK_BLOCKS;
        const int n_blocks = left < CHUNK_BLOCKS ? (int)left : CHUNK_BLOCKS;
        for (int p = 0; p < n_panels; p++) {
            PlainChunk *plain = &scratch->panels[0];
            expand_sides(f, panels[p] + (size_t)chunk * chunk_bytes, n_blocks, plain->blocks);
            for (int32_t a = 0; a < acts->n; a += SIDE_TOGETHER) {
                const int n = acts->n - a < SIDE_TOGETHER ? acts->n - a : SIDE_TOGETHER;
                const ActChunk *rows[SIDE_TOGETHER];
                for (int i = 0; i < n; i++) rows[i] = acts->first[a + i] + (size_t)chunk * acts->stride;
                for (int side = 0; side < SIDES; side++) {
                    const size_t at = (size_t)a * PACKED_ROWS + (size_t)(p * PANEL_ROWS + side * SIDE_ROWS);
                    float *high = scratch->high + at, *low = scratch->low + at;
                    if (n == SIDE_TOGETHER && !joined) side_chunk(f, false, plain, n_blocks, side, rows, SIDE_TOGETHER, high, low);
                    else
                        for (int i = 0; i < n; i++, high += PACKED_ROWS, low += PACKED_ROWS) {
                            if (joined) side_chunk(f, true, plain, n_blocks, side, rows + i, 1, high, low);
                            else side_chunk(f, false, plain, n_blocks, side, rows + i, 1, high, low);
                        }
                }
            }
        }
    }
    const float *high = scratch->high, *low = scratch->low;
    for (int32_t a = 0; a < acts->n; a++, high += PACKED_ROWS, low += PACKED_ROWS)
        for (int i = 0; i < n_panels * PANEL_ROWS; i++) out[a][i] = high[i] + low[i];
}

/* ---- a function a format ---- */

#define INSTANCE(name, ...)                                                                                            \
    static const PackedFormat format_##name = PACKED_FORMAT(name, __VA_ARGS__);                                        \
    static __attribute__((noinline)) void multiply_few_##name(const uint8_t *const panels[PACKED_PANELS], int n_panels, \
                                                              int64_t cols, const ActRows *acts, float *const out[])   \
    {                                                                                                                  \
        const size_t far = weights_ahead();                                                                            \
        for (int p = 0; p < n_panels; p++) {                                                                           \
            switch (acts->n) {                                                                                         \
            case 1: few_panel(&format_##name, panels[p], cols, far, acts, 1, out, p * PANEL_ROWS); break;              \
            case 2: few_panel(&format_##name, panels[p], cols, far, acts, 2, out, p * PANEL_ROWS); break;              \
            default: few_panel(&format_##name, panels[p], cols, far, acts, 3, out, p * PANEL_ROWS);                    \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void multiply_##name(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,                \
                                const ActRows *acts, PackedScratch *scratch, float *const out[])                       \
    {                                                                                                                  \
        if (acts->n <= FEW_ACTS) multiply_few_##name(panels, n_panels, cols, acts, out);                               \
        else multiply_many(&format_##name, panels, n_panels, cols, acts, scratch, out);                                \
    }
PACKED_FORMATS(INSTANCE)
#undef INSTANCE

static void packed_multiply_avx2(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                                 const ActRows *acts, PackedScratch *scratch, float *const out[])
{
#define ENTRY(name, ...) [DT_##name] = multiply_##name,
    static void (*const instances[DT_COUNT])(const uint8_t *const[2], int, int64_t, const ActRows *, PackedScratch *,
                                             float *const[]) = {PACKED_FORMATS(ENTRY)};
#undef ENTRY
    instances[format->type](panels, n_panels, cols, acts, scratch, out);
}

#endif
