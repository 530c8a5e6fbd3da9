/* cpu_speed_avx2.c - the yardstick loops with AVX2 and FMA; eight bits go through vpmaddubsw and vpmaddwd. */
#include "compute/cpu/cpu_speed.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

enum { CHAINS = 12, F32_LANES = 8, I8_LANES = 32 };

static float float_madds(int64_t rounds)
{
    __m256 sums[CHAINS];
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_ps((float)i);
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.5f);
    for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
#pragma GCC unroll 32
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_cvtss_f32(sums[0]);
}

static int32_t int8_madds(int64_t rounds)
{
    __m256i sums[CHAINS];
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_epi32(i);
    const __m256i ones = _mm256_set1_epi16(1), a = _mm256_set1_epi8(3);
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) {
            const __m256i pairs = _mm256_maddubs_epi16(a, sums[i]);
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
        }
    }
#pragma GCC unroll 32
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    return _mm256_extract_epi32(sums[0], 0);
}

static const CpuSpeedLoops loops = {
    .float_madds = float_madds,
    .int8_madds = int8_madds,
    .floats_a_round = CHAINS * F32_LANES,
    .int8s_a_round = CHAINS * I8_LANES,
};

const CpuSpeedLoops *cpu_speed_loops_avx2(void) { return &loops; }

#else

const CpuSpeedLoops *cpu_speed_loops_avx2(void) { return NULL; }

#endif
