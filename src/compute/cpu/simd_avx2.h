/*
 * simd_avx2.h - the vector of 16 floats in two AVX2 registers. Same operations, same bits as simd_portable.h.
 */
#ifndef IMP_COMPUTE_CPU_SIMD_AVX2_H
#define IMP_COMPUTE_CPU_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>

typedef struct F32x16 {
    __m256 low, high;
} F32x16;

#define V_BOTH(expression_low, expression_high) return (F32x16){(expression_low), (expression_high)}

static inline F32x16 v_set1(float x) { V_BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
static inline F32x16 v_load(const float *p) { V_BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }

/* All ones in the lanes first <= l < end. */
static inline __m256i v_range_mask(int base, int first, int end)
{
    const __m256i lane = _mm256_add_epi32(_mm256_set1_epi32(base), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(first), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane));
}
static inline F32x16 v_load_n(const float *p, int n)
{
    V_BOTH(_mm256_maskload_ps(p, v_range_mask(0, 0, n)), n > 8 ? _mm256_maskload_ps(p + 8, v_range_mask(8, 0, n))
                                                               : _mm256_setzero_ps());
}
static inline __m128i v_bytes(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline F32x16 v_load_f16(const uint16_t *p)
{
    V_BOTH(_mm256_cvtph_ps(v_bytes(p)), _mm256_cvtph_ps(v_bytes(p + 8)));
}
static inline __m256 v_widen_bf16(__m128i bits)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
static inline F32x16 v_load_bf16(const uint16_t *p) { V_BOTH(v_widen_bf16(v_bytes(p)), v_widen_bf16(v_bytes(p + 8))); }
static inline F32x16 v_from_s8(__m128i bytes)
{
    V_BOTH(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))));
}
static inline F32x16 v_load_s8(const int8_t *p) { return v_from_s8(v_bytes(p)); }
/* E4M3 moved to where F16 has its exponent and mantissa is 2^8 too small. */
static inline F32x16 v_load_e4m3(const uint8_t *p)
{
    const __m256i wide = _mm256_cvtepi8_epi16(v_bytes(p));
    const __m256i magnitude = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(0x3F80));
    const __m256i half = _mm256_or_si256(magnitude, _mm256_and_si256(wide, _mm256_set1_epi16((short)0x8000)));
    const __m256 factor = _mm256_set1_ps(256.0f);
    V_BOTH(_mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(half)), factor),
           _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)), factor));
}
static inline F32x16 v_load_s32(const int32_t *p)
{
    V_BOTH(_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)),
           _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p + 8))));
}
static inline F32x16 v_load_nibbles_low(const uint8_t *p)
{
    return v_from_s8(_mm_and_si128(v_bytes(p), _mm_set1_epi8(15)));
}
static inline F32x16 v_load_nibbles_high(const uint8_t *p)
{
    return v_from_s8(_mm_and_si128(_mm_srli_epi16(v_bytes(p), 4), _mm_set1_epi8(15)));
}

static inline void v_store(float *p, F32x16 a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
static inline void v_store_n(float *p, F32x16 a, int n)
{
    _mm256_maskstore_ps(p, v_range_mask(0, 0, n), a.low);
    if (n > 8) _mm256_maskstore_ps(p + 8, v_range_mask(8, 0, n), a.high);
}
static inline void v_store_f16(uint16_t *p, F32x16 a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void v_store_s8(int8_t *p, F32x16 a)
{
    const __m256i pairs = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
    const __m256i words = _mm256_permute4x64_epi64(pairs, 0xD8);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

static inline void v_store_s16(int16_t *p, F32x16 a)
{
    const __m256i pairs = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(pairs, 0xD8));
}

static inline F32x16 v_add(F32x16 a, F32x16 b) { V_BOTH(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)); }
static inline F32x16 v_sub(F32x16 a, F32x16 b) { V_BOTH(_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)); }
static inline F32x16 v_mul(F32x16 a, F32x16 b) { V_BOTH(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)); }
static inline F32x16 v_div(F32x16 a, F32x16 b) { V_BOTH(_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)); }
static inline F32x16 v_fma(F32x16 a, F32x16 b, F32x16 c)
{
    V_BOTH(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}
static inline F32x16 v_max(F32x16 a, F32x16 b) { V_BOTH(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)); }
static inline F32x16 v_min(F32x16 a, F32x16 b) { V_BOTH(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)); }
static inline F32x16 v_round(F32x16 a)
{
    V_BOTH(_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
           _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline F32x16 v_abs(F32x16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    V_BOTH(_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high));
}
static inline F32x16 v_copysign(F32x16 a, F32x16 s)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    V_BOTH(_mm256_or_ps(_mm256_andnot_ps(sign, a.low), _mm256_and_ps(sign, s.low)),
           _mm256_or_ps(_mm256_andnot_ps(sign, a.high), _mm256_and_ps(sign, s.high)));
}
static inline F32x16 v_if_less(F32x16 a, F32x16 b, F32x16 x, F32x16 y)
{
    V_BOTH(_mm256_blendv_ps(y.low, x.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
           _mm256_blendv_ps(y.high, x.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)));
}
static inline F32x16 v_keep_range(F32x16 a, int first, int end, float other)
{
    const __m256 fill = _mm256_set1_ps(other);
    V_BOTH(_mm256_blendv_ps(fill, a.low, _mm256_castsi256_ps(v_range_mask(0, first, end))),
           _mm256_blendv_ps(fill, a.high, _mm256_castsi256_ps(v_range_mask(8, first, end))));
}
static inline __m256 v_pow2_half(__m256 a)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127)), 23));
}
static inline F32x16 v_pow2(F32x16 a) { V_BOTH(v_pow2_half(a.low), v_pow2_half(a.high)); }

static inline float v_sum(F32x16 a)
{
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* a * 2^n for whole n in -150 … 130, in two factors so that subnormal results round once. */
static inline F32x16 v_times_pow2(F32x16 a, F32x16 n)
{
    const F32x16 half = v_round(v_mul(n, v_set1(0.5f)));
    return v_mul(v_mul(a, v_pow2(half)), v_pow2(v_sub(n, half)));
}
static inline float v_reduce_max(F32x16 a)
{
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#undef V_BOTH
#endif
