/*
 * hash.h - the hash that tells states apart: masks are shared by whatever has the same one, so two states that differ must not.
 *
 * Both halves of a product are folded: what is mixed in has not to be spread before, and mixing is not the same the other way round.
 * Every field goes in by itself, or packed beside others where each has bits of its own.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_HASH_H
#define IMP_RUNTIME_CONSTRAINT_HASH_H

#include <stdint.h>

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    __extension__ typedef unsigned __int128 Product;
    const Product product = (Product)(hash ^ UINT64_C(0x9e3779b97f4a7c15)) * (value ^ UINT64_C(0xd1b54a32d192ed03));
    /* The hash once more: a value that makes the product 0 leaves it as it is. */
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ hash;
}

#endif
