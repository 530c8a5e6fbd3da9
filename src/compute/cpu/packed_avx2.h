/*
 * packed_avx2.h - 16 integer sums with AVX2, which multiplies unsigned with signed bytes into saturating 16-bit pairs.
 *
 * A code above 127 could saturate them, so its top bit goes separately: code * act = (code & 127) * act + 128 * (code >> 7) * act.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_AVX2_H
#define IMP_COMPUTE_CPU_PACKED_AVX2_H

#include "compute/cpu/packed.h"

#include <immintrin.h>
#include <string.h>

#define PACKED_DOT packed_dot_avx2

static inline __m256i packed_pairs(__m256i codes, __m256i acts)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, acts), _mm256_set1_epi16(1));
}

static inline void packed_dot_avx2(const uint8_t *codes, const int8_t *acts, int groups, int32_t sums[PANEL_ROWS])
{
    const __m256i seven_bits = _mm256_set1_epi8(127);
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, top[2] = {sum[0], sum[1]};
    for (int g = 0; g < groups; g++) {
        int32_t four;
        memcpy(&four, acts + 4 * g, sizeof four);
        const __m256i act = _mm256_set1_epi32(four);
        for (int half = 0; half < 2; half++) {
            const __m256i code = _mm256_loadu_si256((const __m256i *)(const void *)(codes + g * 64 + half * 32));
            const __m256i high = _mm256_andnot_si256(seven_bits, code);
            sum[half] = _mm256_add_epi32(sum[half], packed_pairs(_mm256_and_si256(code, seven_bits), act));
            if (_mm256_testz_si256(high, high) == 0)
                top[half] = _mm256_add_epi32(top[half], packed_pairs(_mm256_srli_epi16(high, 7), act));
        }
    }
    for (int half = 0; half < 2; half++)
        _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * half),
                            _mm256_add_epi32(sum[half], _mm256_slli_epi32(top[half], 7)));
}

#endif
