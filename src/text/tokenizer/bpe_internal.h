/* bpe_internal.h - what bpe.c, which builds the tables, and bpe_encode.c, which reads them, have to agree on. */
#ifndef IMP_TEXT_BPE_INTERNAL_H
#define IMP_TEXT_BPE_INTERNAL_H

#include <stdint.h>

static inline uint64_t bpe_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline uint64_t bpe_pair_hash(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
}

/* The set of neighbouring characters is a bit set with one hash: a false hit only forgoes a cut. */
enum { BPE_ADJACENT_BITS = 1 << 23 };

static inline uint32_t bpe_adjacent_bit(uint32_t left, uint32_t right)
{
    const uint64_t hash = ((uint64_t)left << 21 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 41);
}

#endif
