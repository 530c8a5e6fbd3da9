/*
 * packed_few_avx512.h - products of packed panels with the few activation rows of a decode step, by VNNI.
 *
 * A block is expanded in registers and used at once; its bytes are read exactly once, in order. Up to FEW_ACTS rows have
 * their sums in registers too, and memory is what they wait for. More have them in the first cache and go in pairs, whose
 * four sums of integers hide the latency of the units: there a block takes as long to multiply as the processor looks ahead,
 * so that nobody asks for the next block in time unless the code does: for the second cache first, then for the first.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_FEW_AVX512_H
#define IMP_COMPUTE_CPU_PACKED_FEW_AVX512_H

#include "compute/cpu/packed_expand_avx512.h"

#include <immintrin.h>
#include <string.h>

enum { FEW_ACTS = 3, SOME_ACTS = 16, SOME_TOGETHER = 2 };

/* Bytes ahead that more than FEW_ACTS rows' weights are asked for: for the second cache (on Intel) and for the first. */
enum { SOME_FAR = 4096, SOME_FAR_INTEL = 16384, SOME_NEAR = 1024 };

/* ---- products of one expanded block ---- */

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

/* A row's sums in a chunk, to be scaled by it, over all chunks and over all low planes. */
typedef struct FewSums {
    __m512 chunk, high, low;
} FewSums;

/* Block b's high plane, or both joined: adds to the chunk's sums. */
KERNEL_INLINE __m512 few_high(const PackedFormat *f, const VectorBlock *block, const ActChunk *act, int b, __m512 total)
{
    const __m512 exponent = _mm512_set1_ps(act->exponent[b]);
    UNROLL for (int half = 0; half < f->halves; half++) {
        const __m512i *codes = block->codes + half * 4;
        const int part = act_part(f->halves, b, half), at = b * BLOCK_COLS + half * 16;
        __m512i sum = plane_dot(f, codes, act->high + at, act->minus_high[part]);
        if (act->joined != 0)
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), plane_dot(f, codes, act->low + at, act->minus_low[part]));
        total = _mm512_fmadd_ps(_mm512_scalef_ps(_mm512_cvtepi32_ps(sum), exponent), block->scale[half], total);
    }
    for (int half = 0; half < f->halves && f->has_min; half++)
        total = _mm512_fmadd_ps(block->minimum[half], _mm512_set1_ps(act->sum[act_part(f->halves, b, half)]), total);
    return total;
}

/* Its low plane: adds to the sums of those. */
KERNEL_INLINE __m512 few_low(const PackedFormat *f, const VectorBlock *block, const ActChunk *act, int b, __m512 total)
{
    __m512 scaled = _mm512_setzero_ps();
    UNROLL for (int half = 0; half < f->halves; half++) {
        const int part = act_part(f->halves, b, half), at = b * BLOCK_COLS + half * 16;
        const __m512 value = _mm512_cvtepi32_ps(plane_dot(f, block->codes + half * 4, act->low + at, act->minus_low[part]));
        scaled = half == 0 ? _mm512_mul_ps(value, block->scale[half]) : _mm512_fmadd_ps(value, block->scale[half], scaled);
    }
    return _mm512_fmadd_ps(scaled, _mm512_set1_ps(act->low_scale[b]), total);
}

/* ---- up to FEW_ACTS rows ---- */

KERNEL_INLINE void few_panel(const PackedFormat *f, const uint8_t *panel, int64_t cols, size_t far, const ActRows *acts, int n_acts,
                             float *const out[], int first_out)
{
    const int blocks = f->super / BLOCK_COLS;
    FewSums sums[FEW_ACTS];
    UNROLL for (int a = 0; a < n_acts; a++) sums[a].chunk = sums[a].high = sums[a].low = _mm512_setzero_ps();
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *header = panel;
        const size_t chunk = (size_t)(b / CHUNK_BLOCKS) * acts->stride;
        panel += f->header_bytes;
        for (int i = 0; i < blocks; i++, panel += f->block_bytes) {
            VectorBlock block;
            const int at = (int)(b % CHUNK_BLOCKS) + i;
            expand_block(f, header, panel, &block);
            for (int byte = 0; byte < f->block_bytes && far != 0; byte += 64)
                _mm_prefetch((const char *)panel + far + byte, _MM_HINT_T1);
            UNROLL for (int a = 0; a < n_acts; a++) {
                const ActChunk *act = acts->first[a] + chunk;
                sums[a].chunk = few_high(f, &block, act, at, sums[a].chunk);
                if (act->joined == 0 && (act->fine >> at & 1) != 0) sums[a].low = few_low(f, &block, act, at, sums[a].low);
            }
        }
        if ((b + blocks) % CHUNK_BLOCKS != 0 && b + blocks < cols / BLOCK_COLS) continue;
        UNROLL for (int a = 0; a < n_acts; a++) {
            const __m512 scale = _mm512_set1_ps(acts->first[a][chunk].scale);
            sums[a].high = _mm512_fmadd_ps(sums[a].chunk, scale, sums[a].high);
            sums[a].chunk = _mm512_setzero_ps();
        }
    }
    UNROLL for (int a = 0; a < n_acts; a++)
        _mm512_storeu_ps(out[a] + first_out, _mm512_add_ps(sums[a].high, sums[a].low));
}

KERNEL_INLINE void multiply_few(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                int64_t cols, const ActRows *acts, float *const out[])
{
    const size_t far = weights_ahead();
    for (int p = 0; p < n_panels; p++) {
        switch (acts->n) {
        case 1: few_panel(f, panels[p], cols, far, acts, 1, out, p * PANEL_ROWS); break;
        case 2: few_panel(f, panels[p], cols, far, acts, 2, out, p * PANEL_ROWS); break;
        default: few_panel(f, panels[p], cols, far, acts, 3, out, p * PANEL_ROWS);
        }
    }
}

/* ---- up to SOME_ACTS rows ---- */

/* FewSums of each row, by panel: two go side by side, because an activation costs as much to load as to multiply. */
typedef struct SomeSums {
    _Alignas(64) float chunk[SOME_ACTS][2][PANEL_ROWS], high[SOME_ACTS][2][PANEL_ROWS], low[SOME_ACTS][2][PANEL_ROWS];
} SomeSums;

/* Activation rows that are multiplied together: independent sums hide the latency of the units. */
typedef __m512i SomeInts[SOME_TOGETHER][2];

/* One plane of a part of the panels' blocks, added to sums. */
KERNEL_INLINE void some_plane(const PackedFormat *f, const VectorBlock blocks[2], int n_panels, int half,
                              const int8_t *const planes[SOME_TOGETHER], int n_acts, SomeInts sums)
{
    UNROLL for (int g = 0; g < 8 / f->halves; g++)
        UNROLL for (int a = 0; a < n_acts; a++) {
            const __m512i act = four_acts(planes[a] + 4 * g);
            UNROLL for (int p = 0; p < n_panels; p++)
                sums[a][p] = _mm512_dpbusd_epi32(sums[a][p], blocks[p].codes[half * 4 + g], act);
        }
}

/* Minus a format's own offset times the sum of a plane. */
KERNEL_INLINE __m512i some_start(const PackedFormat *f, int32_t minus)
{
    if (f->offset_shift == 0) return _mm512_setzero_si512();
    return _mm512_srai_epi32(_mm512_set1_epi32(minus), (unsigned)(ACT_OFFSET_SHIFT - f->offset_shift));
}

/* few_high of each panel. */
KERNEL_INLINE void some_high(const PackedFormat *f, const VectorBlock blocks[2], int n_panels, const ActChunk *const acts[], int n_acts,
                             size_t offset, bool joined, int b, float chunk[][2][PANEL_ROWS])
{
    const __mmask16 started = b == 0 ? 0 : 0xFFFF;
    const ActChunk *act[SOME_TOGETHER];
    __m512 total[SOME_TOGETHER][2];
    UNROLL for (int a = 0; a < n_acts; a++) act[a] = acts[a] + offset;
    UNROLL for (int half = 0; half < f->halves; half++) {
        const int part = act_part(f->halves, b, half), at = b * BLOCK_COLS + half * 16;
        const int8_t *planes[SOME_TOGETHER];
        SomeInts sums;
        UNROLL for (int a = 0; a < n_acts; a++) {
            planes[a] = act[a]->high + at;
            UNROLL for (int p = 0; p < n_panels; p++) sums[a][p] = some_start(f, act[a]->minus_high[part]);
        }
        some_plane(f, blocks, n_panels, half, planes, n_acts, sums);
        if (joined) {
            UNROLL for (int a = 0; a < n_acts; a++) {
                const __m512i start = some_start(f, act[a]->minus_low[part]);
                planes[a] = act[a]->low + at;
                UNROLL for (int p = 0; p < n_panels; p++)
                    sums[a][p] = _mm512_add_epi32(_mm512_slli_epi32(sums[a][p], 8), start);
            }
            some_plane(f, blocks, n_panels, half, planes, n_acts, sums);
        }
        UNROLL for (int a = 0; a < n_acts; a++) {
            const __m512 exponent = _mm512_set1_ps(act[a]->exponent[b]);
            UNROLL for (int p = 0; p < n_panels; p++) {
                const __m512 value = _mm512_scalef_ps(_mm512_cvtepi32_ps(sums[a][p]), exponent);
                const __m512 before = half == 0 ? _mm512_maskz_load_ps(started, chunk[a][p]) : total[a][p];
                total[a][p] = _mm512_fmadd_ps(value, blocks[p].scale[half], before);
            }
        }
    }
    for (int half = 0; half < f->halves && f->has_min; half++)
        UNROLL for (int a = 0; a < n_acts; a++) {
            const __m512 sum = _mm512_set1_ps(act[a]->sum[act_part(f->halves, b, half)]);
            UNROLL for (int p = 0; p < n_panels; p++)
                total[a][p] = _mm512_fmadd_ps(blocks[p].minimum[half], sum, total[a][p]);
        }
    UNROLL for (int a = 0; a < n_acts; a++)
        UNROLL for (int p = 0; p < n_panels; p++) _mm512_store_ps(chunk[a][p], total[a][p]);
}

/* The low planes of the rows whose bits are set; those of `before` have had some. */
KERNEL_INLINE void some_low(const PackedFormat *f, const VectorBlock blocks[2], int n_panels, const ActRows *acts, size_t chunk,
                            int b, unsigned rows, unsigned before, SomeSums *sums)
{
    for (; rows != 0; rows &= rows - 1) {
        const int a = __builtin_ctz(rows);
        const __mmask16 started = (before >> a & 1) != 0 ? 0xFFFF : 0;
        UNROLL for (int p = 0; p < n_panels; p++) {
            float *low = sums->low[a][p];
            _mm512_store_ps(low, few_low(f, &blocks[p], acts->first[a] + chunk, b, _mm512_maskz_load_ps(started, low)));
        }
    }
}

/* Which blocks of a chunk have a low plane of their own, by row. */
KERNEL_INLINE __m512i some_fine(const ActRows *acts, size_t chunk)
{
    uint32_t fine[SOME_ACTS] = {0};
    for (int32_t a = 0; a < acts->n; a++) fine[a] = acts->first[a][chunk].joined != 0 ? 0 : acts->first[a][chunk].fine;
    return _mm512_loadu_si512(fine);
}

/* Adds a chunk's sums to those of all; behind the last chunk, and the low planes' sums of `low_rows`, they go `first_out` behind
 * each row's `out`. */
KERNEL_INLINE void some_end_chunk(const ActRows *acts, int n_panels, size_t chunk, bool first, bool last, unsigned low_rows,
                                  SomeSums *sums, float *const out[], int first_out)
{
    const __mmask16 started = first ? 0 : 0xFFFF;
    for (int32_t a = 0; a < acts->n; a++) {
        const __m512 scale = _mm512_set1_ps(acts->first[a][chunk].scale);
        const __mmask16 low = (low_rows >> a & 1) != 0 ? 0xFFFF : 0;
        UNROLL for (int p = 0; p < n_panels; p++) {
            const __m512 before = _mm512_maskz_load_ps(started, sums->high[a][p]);
            const __m512 high = _mm512_fmadd_ps(_mm512_load_ps(sums->chunk[a][p]), scale, before);
            if (last) _mm512_storeu_ps(out[a] + first_out + p * PANEL_ROWS,
                                       _mm512_add_ps(high, _mm512_maskz_load_ps(low, sums->low[a][p])));
            else _mm512_store_ps(sums->high[a][p], high);
        }
    }
}

/* Asks for what is as large as a block, some way ahead in a panel that ends at `end`; behind it come `others` bytes of the
 * panels at its side, which have been read by then. */
KERNEL_INLINE void some_fetch(const PackedFormat *f, const uint8_t *at, size_t ahead, const uint8_t *end, size_t others)
{
    const uint8_t *far = at + ahead, *near = at + SOME_NEAR;
    far += far < end ? 0 : others;
    near += near < end ? 0 : others;
    for (int byte = 0; byte < f->block_bytes; byte += 64) {
        _mm_prefetch((const char *)far + byte, _MM_HINT_T1);
        _mm_prefetch((const char *)near + byte, _MM_HINT_T0);
    }
}

KERNEL_INLINE void some_panels(const PackedFormat *f, const uint8_t *const panels[], int n_panels, int64_t cols,
                               const ActRows *acts, float *const out[], int first_out)
{
    const int blocks = f->super / BLOCK_COLS;
    const bool joined = acts->first[0]->joined != 0;
    const size_t far = __builtin_cpu_is("intel") ? SOME_FAR_INTEL : SOME_FAR;
    const size_t bytes = packed_panel_bytes(f, cols), others = bytes * (size_t)(n_panels - 1);
    const uint8_t *at[2];
    SomeSums sums;
    __m512i fine = _mm512_setzero_si512();
    unsigned low_rows = 0;
    UNROLL for (int p = 0; p < n_panels; p++) at[p] = panels[p];
    for (int64_t b = 0; b < cols / BLOCK_COLS; b += blocks) {
        const uint8_t *headers[2];
        const size_t chunk = (size_t)(b / CHUNK_BLOCKS) * acts->stride;
        UNROLL for (int p = 0; p < n_panels; p++) {
            headers[p] = at[p];
            at[p] += f->header_bytes;
        }
        if (b % CHUNK_BLOCKS == 0) fine = some_fine(acts, chunk);
        for (int i = 0; i < blocks; i++) {
            const int block = (int)(b % CHUNK_BLOCKS) + i;
            VectorBlock expanded[2];
            UNROLL for (int p = 0; p < n_panels; p++) {
                expand_block(f, headers[p], at[p], &expanded[p]);
                some_fetch(f, at[p], far, panels[p] + bytes, others);
                at[p] += f->block_bytes;
            }
            int32_t a = 0;
            for (; a + SOME_TOGETHER <= acts->n; a += SOME_TOGETHER)
                some_high(f, expanded, n_panels, acts->first + a, SOME_TOGETHER, chunk, joined, block, sums.chunk + a);
            for (; a < acts->n; a++) some_high(f, expanded, n_panels, acts->first + a, 1, chunk, joined, block, sums.chunk + a);
            const unsigned low = _mm512_test_epi32_mask(fine, _mm512_set1_epi32(1 << block));
            some_low(f, expanded, n_panels, acts, chunk, block, low, low_rows, &sums);
            low_rows |= low;
        }
        const int64_t end = b + blocks;
        if (end % CHUNK_BLOCKS == 0 || end >= cols / BLOCK_COLS)
            some_end_chunk(acts, n_panels, chunk, b < CHUNK_BLOCKS, end >= cols / BLOCK_COLS, low_rows, &sums, out,
                           first_out);
    }
}

KERNEL_INLINE void multiply_some(const PackedFormat *f, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                                 int64_t cols, const ActRows *acts, float *const out[])
{
    int p = 0;
    for (; p + 2 <= n_panels; p += 2) some_panels(f, panels + p, 2, cols, acts, out, p * PANEL_ROWS);
    if (p < n_panels) some_panels(f, panels + p, 1, cols, acts, out, p * PANEL_ROWS);
}

#endif
