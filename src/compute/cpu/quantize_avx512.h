/*
 * quantize_avx512.h - activations in fixed point (packed.h), a chunk of 256 columns at a time: quantize_row of quantize_kernels.h
 * in other instructions.
 *
 * What that one does for a block or an element here happens to all of a chunk: maxima are reduced together, the choice of a
 * scale is one vector, and sums of codes come out of the integer dot product. Each value is calculated as there, but that
 * quotients of powers of two are products, which is the same.
 */
#ifndef IMP_COMPUTE_CPU_QUANTIZE_AVX512_H
#define IMP_COMPUTE_CPU_QUANTIZE_AVX512_H

#include "compute/cpu/float_kernels.h"
#include "compute/cpu/packed_expand_avx512.h"

/* Two of the four lanes of 128 bits of each of two vectors. */
KERNEL_INLINE __m512i lower_lanes(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0x44); }
KERNEL_INLINE __m512i upper_lanes(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0xEE); }
KERNEL_INLINE __m512i even_lanes(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
KERNEL_INLINE __m512i odd_lanes(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0xDD); }

/* The blocks' largest magnitudes as bits: of what is no number above those of every number. Blocks from n on have none. */
static __m256i chunk_max(const float *x, int n)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i max[CHUNK_BLOCKS], half[4];
    UNROLL for (int b = 0; b < CHUNK_BLOCKS; b++) {
        max[b] = _mm512_setzero_si512();
        if (b >= n) continue;
        const __m512i first = _mm512_and_si512(_mm512_loadu_si512(x + b * BLOCK_COLS), magnitude);
        max[b] = _mm512_max_epu32(first, _mm512_and_si512(_mm512_loadu_si512(x + b * BLOCK_COLS + 16), magnitude));
    }
    UNROLL for (int b = 0; b < 4; b++)
        half[b] = _mm512_max_epu32(lower_lanes(max[b], max[b + 4]), upper_lanes(max[b], max[b + 4]));
    /* A block in each lane of four: 0, 4, 2, 6 and 1, 5, 3, 7. */
    const __m512i even = _mm512_max_epu32(even_lanes(half[0], half[2]), odd_lanes(half[0], half[2]));
    const __m512i odd = _mm512_max_epu32(even_lanes(half[1], half[3]), odd_lanes(half[1], half[3]));
    const __m512i pairs = _mm512_max_epu32(_mm512_unpacklo_epi32(even, odd), _mm512_unpackhi_epi32(even, odd));
    const __m512i all = _mm512_max_epu32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
    const __m512i order = _mm512_setr_epi32(0, 1, 8, 9, 4, 5, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, all));
}

/* Two to the power of whole numbers. */
KERNEL_INLINE __m256 powers_of_two(__m256i exponents)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(exponents, _mm256_set1_epi32(127)), 23));
}

KERNEL_INLINE float max_of_eight(__m256 x)
{
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* scale_chunk: returns the scale, or 0; exponents of blocks from n on are 0. */
static float chunk_scale(__m256 max, int n, float limit, __m256i *exponents)
{
    const __mmask8 present = (__mmask8)((1u << n) - 1u);
    const float most = max_of_eight(max);
    *exponents = _mm256_setzero_si256();
    if (!(most > ACT_TINY)) return 0.0f;
    const int top = (int)(f32_to_bits(most) >> 23);
    const __m256i bits = _mm256_castps_si256(_mm256_max_ps(max, _mm256_set1_ps(most * ACT_LEAST)));
    const __m256i powers = _mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(top));
    const __m256 mantissa = _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFF)),
                                                                _mm256_set1_epi32(0x3F800000)));
    const __mmask8 counts = present & _mm256_cmp_ps_mask(max, _mm256_set1_ps(limit), _CMP_LE_OQ);
    const __m256 unit = _mm256_maskz_mov_ps(counts, powers_of_two(powers)), square = _mm256_mul_ps(unit, unit);
    __m256 squares = _mm256_setzero_ps();
    UNROLL for (int b = 0; b < CHUNK_BLOCKS; b++) {
        const __m256i at = _mm256_set1_epi32(b);
        const __m256 one = _mm256_permutevar8x32_ps(square, at);
        const __mmask8 doubled = _mm256_cmp_ps_mask(mantissa, _mm256_permutevar8x32_ps(mantissa, at), _CMP_LT_OQ);
        squares = _mm256_add_ps(squares, _mm256_mask_mul_ps(one, doubled, one, _mm256_set1_ps(4.0f)));
    }
    const __m256 error = _mm256_mask_mul_ps(_mm256_set1_ps(INFINITY), present, squares, _mm256_mul_ps(mantissa, mantissa));
    const float least = -max_of_eight(_mm256_sub_ps(_mm256_setzero_ps(), error));
    const int best = __builtin_ctz(_mm256_cmp_ps_mask(error, _mm256_set1_ps(least), _CMP_EQ_OQ));
    const __m256 chosen = _mm256_permutevar8x32_ps(mantissa, _mm256_set1_epi32(best));
    const __mmask8 above = _mm256_cmp_ps_mask(mantissa, chosen, _CMP_GT_OQ);
    const __m256i raised = _mm256_mask_add_epi32(powers, above, powers, _mm256_set1_epi32(1));
    *exponents = _mm256_maskz_mov_epi32(present, raised);
    return _mm256_cvtss_f32(chosen) * f32_from_bits((uint32_t)top << 23) / 127.0f;
}

/* Sums of the blocks, of those of their halves. */
KERNEL_INLINE __m256i block_sums(__m512i halves)
{
    const __m512i pairs = _mm512_add_epi32(halves, _mm512_shuffle_epi32(halves, _MM_PERM_CDAB));
    const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, pairs));
}

/* Minus the offset times sums, where a chunk keeps them. */
KERNEL_INLINE void store_minus(__m512i halves, int32_t minus[3 * CHUNK_BLOCKS])
{
    const __m512i scaled = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), halves), ACT_OFFSET_SHIFT);
    _mm512_storeu_si512(minus + CHUNK_BLOCKS, scaled);
    _mm256_storeu_si256((__m256i *)(void *)minus, block_sums(scaled));
}

/* Four vectors of codes become 64 bytes in that order at `out`; returns the sums of fours, those of vector v in elements v, 4 + v,
 * 8 + v and 12 + v. */
KERNEL_INLINE __m512i store_codes(const __m512i codes[4], int8_t *out)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(codes[0], codes[1]), _mm512_packs_epi32(codes[2], codes[3]));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, bytes));
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
}

/* Sums over the four lanes of each vector, one vector behind the other. */
KERNEL_INLINE __m512i lane_sums(const __m512i v[4])
{
    const __m512i first = _mm512_add_epi32(lower_lanes(v[0], v[1]), upper_lanes(v[0], v[1]));
    const __m512i second = _mm512_add_epi32(lower_lanes(v[2], v[3]), upper_lanes(v[2], v[3]));
    return _mm512_add_epi32(even_lanes(first, second), odd_lanes(first, second));
}

/* Sums of the codes of each half block. */
typedef struct HalfSums {
    __m512i high, low;
} HalfSums;

/* The codes of n blocks, `factor` by block, and zeros behind them; of fine ones the low planes too. */
KERNEL_INLINE HalfSums chunk_codes(const float *x, int n, const float factor[CHUNK_BLOCKS], uint32_t fine, ActChunk *out)
{
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    __m512i high_sums[4], low_sums[4];
    UNROLL for (int v = 0; v < 4; v++) {
        __m512i high[4], low[4];
        UNROLL for (int half = 0; half < 4; half++) {
            const int b = 2 * v + half / 2;
            __m512 q = _mm512_setzero_ps();
            if (b < n) q = _mm512_mul_ps(_mm512_loadu_ps(x + 64 * v + 16 * half), _mm512_set1_ps(factor[b]));
            high[half] = _mm512_cvtps_epi32(q);
            low[half] = _mm512_setzero_si512();
            if ((fine >> b & 1) == 0) continue;
            /* A little above q / 256, so that a half rounds up and low is in -128 … 127. */
            q = _mm512_roundscale_ps(q, NEAREST);
            high[half] = _mm512_cvtps_epi32(_mm512_fmadd_ps(q, _mm512_set1_ps(0x1p-8f), _mm512_set1_ps(0x1p-10f)));
            low[half] = _mm512_sub_epi32(_mm512_cvtps_epi32(q), _mm512_slli_epi32(high[half], 8));
        }
        high_sums[v] = store_codes(high, out->high + 64 * v);
        low_sums[v] = _mm512_setzero_si512();
        if ((fine >> (2 * v) & 3) != 0) low_sums[v] = store_codes(low, out->low + 64 * v);
    }
    return (HalfSums){lane_sums(high_sums), lane_sums(low_sums)};
}

KERNEL_INLINE void store_sums_of_codes(HalfSums halves, __m256 low_powers, ActChunk *out)
{
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i sums = _mm512_add_epi32(_mm512_slli_epi32(halves.high, 8), halves.low);
    const __m512 powers = _mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(low_powers));
    _mm512_storeu_ps(out->sum + CHUNK_BLOCKS, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), powers));
    _mm256_storeu_ps(out->sum, _mm256_mul_ps(_mm256_cvtepi32_ps(block_sums(sums)), low_powers));
    store_minus(halves.high, out->minus_high);
    if (out->fine == 0) return;
    store_minus(halves.low, out->minus_low);
    _mm256_storeu_ps(out->low_scale, _mm256_mul_ps(_mm256_set1_ps(out->scale), low_powers));
}

/* A chunk of n blocks, whose largest elements are in `out`. */
static void quantize_chunk(const float *x, int n, float limit, bool joined, ActChunk *out)
{
    const __mmask8 present = (__mmask8)((1u << n) - 1u);
    const __m256 max = _mm256_loadu_ps(out->exponent);
    __m256i exponents;
    out->scale = chunk_scale(max, n, limit, &exponents);
    out->joined = joined;
    out->fine = joined ? present : (uint32_t)_mm256_mask_cmp_ps_mask(present, max, _mm256_set1_ps(limit), _CMP_GT_OQ);
    const __m256i low_exponents = _mm256_sub_epi32(exponents, _mm256_set1_epi32(8));
    const __m256i used = _mm256_mask_mov_epi32(exponents, (__mmask8)out->fine, low_exponents);
    const float inverse = out->scale > 0.0f ? 1.0f / out->scale : 0.0f;
    float factor[CHUNK_BLOCKS];
    _mm256_storeu_ps(factor, _mm256_mul_ps(_mm256_set1_ps(inverse), powers_of_two(_mm256_sub_epi32(_mm256_setzero_si256(), used))));
    _mm256_storeu_ps(out->exponent, _mm256_cvtepi32_ps(joined ? low_exponents : exponents));
    store_sums_of_codes(chunk_codes(x, n, factor, out->fine, out), powers_of_two(low_exponents), out);
}

static void quantize_row_avx512(const float *x, int32_t n, float fine_threshold, ActChunk *out, size_t stride)
{
    const int32_t blocks = n / BLOCK_COLS;
    const bool joined = !(fine_threshold > 0.0f);
    __m256i most = _mm256_setzero_si256();
    float squares = 0.0f;
    for (int32_t b = 0; b < blocks; b += CHUNK_BLOCKS) {
        ActChunk *chunk = out + (size_t)(b / CHUNK_BLOCKS) * stride;
        const int n_blocks = blocks - b < CHUNK_BLOCKS ? blocks - b : CHUNK_BLOCKS;
        const __m256i max = chunk_max(x + b * BLOCK_COLS, n_blocks);
        expect_chunk(chunk, joined);
        most = _mm256_max_epu32(most, max);
        _mm256_storeu_ps(chunk->exponent, _mm256_castsi256_ps(max));
        for (int i = 0; i < n_blocks; i++) squares += chunk->exponent[i] * chunk->exponent[i];
    }
    /* An infinity or what is no number: then so is every product with the row. */
    const bool bad = _mm256_cmpge_epu32_mask(most, _mm256_set1_epi32(0x7F800000)) != 0;
    const float limit = joined ? INFINITY : fine_threshold * sqrtf(squares / (float)blocks);
    for (int32_t b = 0; b < blocks; b += CHUNK_BLOCKS, out += stride) {
        if (!bad) {
            quantize_chunk(x + b * BLOCK_COLS, blocks - b < CHUNK_BLOCKS ? blocks - b : CHUNK_BLOCKS, limit, joined, out);
            continue;
        }
        poison_chunk(out);
        out->joined = joined;
    }
}

#endif
