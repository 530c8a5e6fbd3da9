/*
 * packed_expand_avx512.h - packed panels expanded block by block into AVX-512 registers, or chunk by chunk into memory.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_EXPAND_AVX512_H
#define IMP_COMPUTE_CPU_PACKED_EXPAND_AVX512_H

#include "compute/cpu/kernel_common.h"
#include "compute/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

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

/* ---- a chunk to memory, codes with an offset getting this one ---- */

KERNEL_INLINE void expand_chunk(const PackedFormat *f, const uint8_t *panel, int n_blocks, PlainBlock *out,
                                int offset)
{
    const int blocks = f->super / BLOCK_COLS;
    const __m512i raise = _mm512_set1_epi8((char)(f->offset_shift != 0 ? offset - (1 << f->offset_shift) : 0));
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

/* ---- low planes ---- */

/* Lists the rows that are fine in each block of a chunk, padded to whole tiles; n_fine: how many there are. */
static void list_fine(const ActRows *acts, size_t offset, int tile, PackedScratch *scratch,
                      int32_t n_fine[CHUNK_BLOCKS])
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
        for (int a = 0; a < tile; a++) scratch->fine[b][n_fine[b] + a] = PACKED_ACTS;
}

/* ---- results ---- */

/* Asks for `cols` floats of n rows that will be written, long before: stores wait for what is far away. */
KERNEL_INLINE void expect_results(float *const out[], int32_t n, int first_col, int cols)
{
    for (int32_t a = 0; a < n; a++)
        for (int i = 0; i < cols; i += 16) __builtin_prefetch(out[a] + first_col + i, 1, 2);
}

/* Both sums of n rows and all panels go where they are wanted. */
static void store_products(const PackedScratch *scratch, int32_t n, int n_panels, float *const out[])
{
    const float *high = scratch->high, *low = scratch->low;
    for (int32_t a = 0; a < n; a++, high += PACKED_ROWS, low += PACKED_ROWS)
        for (int i = 0; i < n_panels * PANEL_ROWS; i += PANEL_ROWS)
            _mm512_storeu_ps(out[a] + i, _mm512_add_ps(_mm512_loadu_ps(high + i), _mm512_loadu_ps(low + i)));
}

#endif
