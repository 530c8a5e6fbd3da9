/*
 * simd_avx512.h - the vector of 16 floats in one AVX-512 register. Same operations, same bits as simd_portable.h.
 */
#ifndef IMP_COMPUTE_CPU_SIMD_AVX512_H
#define IMP_COMPUTE_CPU_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512 F32x16;

static inline F32x16 v_set1(float x) { return _mm512_set1_ps(x); }
static inline F32x16 v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline F32x16 v_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p); }
static inline F32x16 v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline F32x16 v_load_bf16(const uint16_t *p)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline __m128i v_bytes(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline F32x16 v_load_s8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v_bytes(p))); }
/* E4M3 moved to where F16 has its exponent and mantissa is 2^8 too small. */
static inline F32x16 v_load_e4m3(const uint8_t *p)
{
    const __m256i wide = _mm256_cvtepi8_epi16(v_bytes(p));
    const __m256i magnitude = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(0x3F80));
    const __m256i half = _mm256_or_si256(magnitude, _mm256_and_si256(wide, _mm256_set1_epi16((short)0x8000)));
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}
static inline F32x16 v_load_s32(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
static inline F32x16 v_load_nibbles_low(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(v_bytes(p), _mm_set1_epi8(15))));
}
static inline F32x16 v_load_nibbles_high(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v_bytes(p), 4), _mm_set1_epi8(15))));
}

static inline void v_store(float *p, F32x16 a) { _mm512_storeu_ps(p, a); }
static inline void v_store_n(float *p, F32x16 a, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), a); }
static inline void v_store_f16(uint16_t *p, F32x16 a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void v_store_s8(int8_t *p, F32x16 a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

static inline void v_store_s16(int16_t *p, F32x16 a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a)));
}

static inline F32x16 v_add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
static inline F32x16 v_sub(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
static inline F32x16 v_mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
static inline F32x16 v_div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
static inline F32x16 v_fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
static inline F32x16 v_max(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }
static inline F32x16 v_min(F32x16 a, F32x16 b) { return _mm512_min_ps(a, b); }
static inline F32x16 v_round(F32x16 a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline F32x16 v_abs(F32x16 a) { return _mm512_abs_ps(a); }
static inline F32x16 v_copysign(F32x16 a, F32x16 s)
{
    const __m512 sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s));
}
static inline F32x16 v_if_less(F32x16 a, F32x16 b, F32x16 x, F32x16 y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
static inline F32x16 v_keep_range(F32x16 a, int first, int end, float other)
{
    const uint32_t mask = ((1u << end) - 1u) & ~((1u << first) - 1u);
    return _mm512_mask_blend_ps((__mmask16)mask, _mm512_set1_ps(other), a);
}
static inline F32x16 v_pow2(F32x16 a)
{
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

/* a * 2^n for whole n. */
static inline F32x16 v_times_pow2(F32x16 a, F32x16 n) { return _mm512_scalef_ps(a, n); }

static inline float v_sum(F32x16 a)
{
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float v_reduce_max(F32x16 a)
{
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#endif
