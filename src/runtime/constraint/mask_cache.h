/*
 * mask_cache.h - masks made before, by what they were made for. Shared by all states of a vocabulary; any thread may
 * ask.
 *
 * Most masks hold few tokens, or all plain ones and few others, so a mask is kept as its differences from one of the
 * two where that is shorter, and thousands fit into the memory of hundreds.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_MASK_CACHE_H
#define IMP_RUNTIME_CONSTRAINT_MASK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct MaskCache MaskCache;

/* Masks of `words` words; `plain` [words] outlives the cache and may be filled after this. NULL without memory. */
MaskCache *mask_cache_create(size_t words, const uint32_t *plain);
void mask_cache_free(MaskCache *cache);
/* Writes the mask kept under key and check; false when there is none or the cache is busy. */
bool mask_cache_find(MaskCache *cache, uint64_t key, uint64_t check, uint32_t *bits);
void mask_cache_add(MaskCache *cache, uint64_t key, uint64_t check, const uint32_t *bits);

#endif
