/*
 * packed_expand_avx2.h - packed panels expanded into AVX2 registers, half of a panel's rows at a time: eight vectors of codes are all
 * that 16 registers leave room for.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_EXPAND_AVX2_H
#define IMP_COMPUTE_CPU_PACKED_EXPAND_AVX2_H

#include "compute/cpu/kernel_common.h"
#include "compute/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

enum { SIDES = 2, SIDE_ROWS = PANEL_ROWS / SIDES, SIDE_BYTES = 4 * SIDE_ROWS /* of a vector of codes */ };

/* A block's codes, four columns a vector, and what they are scaled by, of one side: rows 0 … 7 or 8 … 15. */
typedef struct SideBlock {
    __m256i codes[8];
    __m256 scale[2], minimum[2];
} SideBlock;

KERNEL_INLINE __m256i load_side(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }

/* a | (b & mask), of what a shift may have dragged over from the neighbour byte. */
KERNEL_INLINE __m256i join_bits(__m256i a, __m256i b, __m256i mask) { return _mm256_or_si256(a, _mm256_and_si256(b, mask)); }

/* `in`: where the side's bytes of the first vector lie. */
KERNEL_INLINE void expand_side_codes(int bits, const uint8_t *table, const uint8_t *in, __m256i codes[8])
{
    const __m256i fifteen = _mm256_set1_epi8(15), three = _mm256_set1_epi8(3);
    if (bits == 8) {
        UNROLL for (int g = 0; g < 8; g++) codes[g] = load_side(in + g * 64);
        return;
    }
    if (bits >= 4) {
        UNROLL for (int v = 0; v < 4; v++) {
            const __m256i pair = load_side(in + v * 64);
            codes[2 * v] = _mm256_and_si256(pair, fifteen);
            codes[2 * v + 1] = _mm256_and_si256(_mm256_srli_epi32(pair, 4), fifteen);
        }
        in += 256;
    } else {
        UNROLL for (int g = 0; g < 8; g++) codes[g] = _mm256_and_si256(_mm256_srli_epi32(load_side(in + g / 4 * 64), g % 4 * 2), three);
        in += 128;
    }
    if (table != NULL) {
        const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
        UNROLL for (int g = 0; g < 8; g++) codes[g] = _mm256_shuffle_epi8(values, codes[g]);
    }
    if (bits == 6) {
        const __m256i mask = _mm256_set1_epi8(0x30);
        UNROLL for (int g = 0; g < 8; g++) {
            const __m256i high = load_side(in + g / 4 * 64);
            const int left = 4 - g % 4 * 2;
            codes[g] = join_bits(codes[g], left >= 0 ? _mm256_slli_epi32(high, left) : _mm256_srli_epi32(high, -left), mask);
        }
    } else if (bits == 5 || bits == 3) {
        const int at = bits == 5 ? 4 : 2;
        const __m256i high = load_side(in), mask = _mm256_set1_epi8((char)(1 << at));
        UNROLL for (int g = 0; g < 8; g++)
            codes[g] = join_bits(codes[g], g <= at ? _mm256_slli_epi32(high, at - g) : _mm256_srli_epi32(high, g - at), mask);
    }
}

/* A side's eight values. */
KERNEL_INLINE __m128i side_bytes(const uint8_t *p) { return _mm_loadl_epi64((const __m128i *)(const void *)p); }
KERNEL_INLINE __m256 side_f16(const uint8_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
KERNEL_INLINE __m256 side_signed(const uint8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(side_bytes(p))); }
KERNEL_INLINE __m256 side_unsigned(const uint8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(side_bytes(p))); }

KERNEL_INLINE __m256 side_e8m0_halves(const uint8_t *p)
{
    const __m256i code = _mm256_cvtepu8_epi32(side_bytes(p));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(code, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), code);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), code)));
}

KERNEL_INLINE __m256 side_ue4m3_halves(const uint8_t *p)
{
    const __m256i code = _mm256_cvtepu8_epi32(side_bytes(p)), none = _mm256_set1_epi32(0x7F);
    const __m256i magnitude = _mm256_slli_epi32(_mm256_and_si256(code, none), 20);
    const __m256 value = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p119f));
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(code, none)), value);
}

/* `header` opens the superblock, `block` is one of its blocks; rows 8 side … 8 side + 7. */
KERNEL_INLINE void expand_side(const PackedFormat *f, const uint8_t *header, const uint8_t *block, int side, SideBlock *out)
{
    expand_side_codes(f->bits, f->table, block + f->group_bytes + side * SIDE_BYTES, out->codes);
    const __m256 zero = _mm256_setzero_ps();
    const __m256 d = f->header_bytes > 0 ? side_f16(header + side * 16) : zero;
    __m256 m = f->has_min ? side_f16(header + 32 + side * 16) : zero;
    if (f->has_min && !f->adds_min) m = _mm256_xor_ps(m, _mm256_set1_ps(-0.0f));
    UNROLL for (int half = 0; half < f->halves; half++) {
        const uint8_t *group = block + 16 * half + side * SIDE_ROWS;
        out->scale[half] = d;
        out->minimum[half] = m;
        if (f->scale == SCALE_D_GROUP) {
            out->scale[half] = _mm256_mul_ps(d, side_signed(group));
            if (f->has_min) out->minimum[half] = _mm256_mul_ps(m, side_unsigned(block + 16 + side * SIDE_ROWS));
        } else if (f->scale == SCALE_D_NIBBLE) {
            const __m256i bytes = _mm256_cvtepu8_epi32(side_bytes(group));
            out->scale[half] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(bytes, _mm256_set1_epi32(15))));
            out->minimum[half] = _mm256_mul_ps(m, _mm256_cvtepi32_ps(_mm256_srli_epi32(bytes, 4)));
        } else if (f->scale == SCALE_E8M0) {
            out->scale[half] = side_e8m0_halves(group);
        } else if (f->scale == SCALE_UE4M3) {
            out->scale[half] = side_ue4m3_halves(group);
        }
    }
}

#endif
