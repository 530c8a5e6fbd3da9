/* cpu_speed_avx512.c - the yardstick loops with AVX-512; eight bits go through VNNI's vpdpbusd. */
#include "compute/cpu/cpu_speed.h"

#if defined(__AVX512F__) && defined(__AVX512VNNI__)

#include <immintrin.h>

enum { CHAINS = 12, F32_LANES = 16, I8_LANES = 64 };

static float float_madds(int64_t rounds)
{
    __m512 sums[CHAINS];
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.5f);
    for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
#pragma GCC unroll 32
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

static int32_t int8_madds(int64_t rounds)
{
    __m512i sums[CHAINS];
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
    for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
#pragma GCC unroll 32
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return _mm512_cvtsi512_si32(sums[0]);
}

static const CpuSpeedLoops loops = {
    .float_madds = float_madds,
    .int8_madds = int8_madds,
    .floats_a_round = CHAINS * F32_LANES,
    .int8s_a_round = CHAINS * I8_LANES,
};

const CpuSpeedLoops *cpu_speed_loops_avx512(void) { return &loops; }

#else

const CpuSpeedLoops *cpu_speed_loops_avx512(void) { return NULL; }

#endif
