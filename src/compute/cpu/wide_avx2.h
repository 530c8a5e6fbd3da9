/*
 * wide_avx2.h - 16 integer sums for up to four activation rows with AVX2's products of 16-bit pairs.
 */
#ifndef IMP_COMPUTE_CPU_WIDE_AVX2_H
#define IMP_COMPUTE_CPU_WIDE_AVX2_H

#include "compute/cpu/float_kernels.h"
#include "compute/cpu/wide.h"

#include <immintrin.h>
#include <string.h>

#define WIDE_DOT wide_dot_avx2
enum { WIDE_TOGETHER = 4 };

KERNEL_INLINE void wide_dot_of(const int16_t *codes, const WideAct *const acts[], int n, int32_t sums[][WIDE_ROWS])
{
    __m256i low[WIDE_TOGETHER], high[WIDE_TOGETHER];
    for (int a = 0; a < n; a++) low[a] = high[a] = _mm256_setzero_si256();
    for (int pair = 0; pair < WIDE_COLS / 2; pair++) {
        const __m256i *weights = (const __m256i *)(const void *)(codes + pair * 2 * WIDE_ROWS);
        const __m256i first = _mm256_loadu_si256(weights), second = _mm256_loadu_si256(weights + 1);
        for (int a = 0; a < n; a++) {
            int32_t two;
            memcpy(&two, acts[a]->codes + 2 * pair, sizeof two);
            const __m256i act = _mm256_set1_epi32(two);
            low[a] = _mm256_add_epi32(low[a], _mm256_madd_epi16(first, act));
            high[a] = _mm256_add_epi32(high[a], _mm256_madd_epi16(second, act));
        }
    }
    for (int a = 0; a < n; a++) {
        _mm256_storeu_si256((__m256i *)(void *)sums[a], low[a]);
        _mm256_storeu_si256((__m256i *)(void *)(sums[a] + 8), high[a]);
    }
}

static inline void wide_dot_avx2(const int16_t *codes, const WideAct *const acts[], int n, int32_t sums[][WIDE_ROWS])
{
    switch (n) {
    case 1: wide_dot_of(codes, acts, 1, sums); break;
    case 2: wide_dot_of(codes, acts, 2, sums); break;
    case 3: wide_dot_of(codes, acts, 3, sums); break;
    default: wide_dot_of(codes, acts, WIDE_TOGETHER, sums);
    }
}

#endif
