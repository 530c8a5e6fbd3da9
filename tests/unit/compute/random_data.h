/* random_data.h - reproducible numbers for the tests of the compute room. */
#ifndef IMP_TESTS_RANDOM_DATA_H
#define IMP_TESTS_RANDOM_DATA_H

#include <stdint.h>
#include <stdlib.h>

/* splitmix64 (Steele, Lea and Flood). */
static inline uint64_t random_bits(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Uniform in [-range, range). */
static inline float random_float(uint64_t *seed, float range)
{
    return ((float)(random_bits(seed) >> 40) * 0x1p-23f - 1.0f) * range;
}

static inline int32_t random_int(uint64_t *seed, int32_t below)
{
    return (int32_t)(random_bits(seed) % (uint64_t)below);
}

static inline void random_fill(uint64_t *seed, float *out, size_t n, float range)
{
    for (size_t i = 0; i < n; i++) out[i] = random_float(seed, range);
}

/* `n` random floats; freed by the caller. */
static inline float *random_floats(uint64_t *seed, size_t n, float range)
{
    float *out = malloc((n + 1) * sizeof *out);
    if (out != NULL) random_fill(seed, out, n, range);
    return out;
}

#endif
