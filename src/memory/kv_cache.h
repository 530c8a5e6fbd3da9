/*
 * kv_cache.h - which pages and which recurrent state slot belong to which sequence.
 *
 * Pages are numbers here; the bytes behind them are the backend's. Each page group of the model has its own pool. A
 * sequence holds, for each group, a list of pages indexed by position / KV_PAGE_TOKENS; in a windowed group pages behind
 * the window are given back and their entries become -1.
 */
#ifndef IMP_MEMORY_KV_CACHE_H
#define IMP_MEMORY_KV_CACHE_H

#include "compute/compute.h"

typedef struct KvCache KvCache;

/* `n_pages` as in the ComputeSizes of the Compute that holds the bytes; max_tokens bounds one sequence. */
ImpStatus kv_cache_create(const Model *model, const ComputeSizes *sizes, int32_t max_sequences, int32_t max_tokens,
                          KvCache **out);
void kv_cache_free(KvCache *cache);

/* Opens an empty sequence: its handle in *sequence. IMP_ERR_CONTEXT_FULL when all are taken. */
ImpStatus kv_sequence_open(KvCache *cache, int32_t *sequence);
void kv_sequence_close(KvCache *cache, int32_t sequence);

/* Makes room for `n_tokens` more tokens; all or nothing. IMP_ERR_CONTEXT_FULL when pages or max_tokens run out. */
ImpStatus kv_sequence_grow(KvCache *cache, int32_t sequence, int32_t n_tokens);
/* The tokens were computed: they count as past now, and pages behind windows are released. */
void kv_sequence_commit(KvCache *cache, int32_t sequence, int32_t n_tokens);
/* Forgets all but the first n_tokens. False when that cannot be done without recomputing (a windowed page is gone, a
 * recurrent state has moved on): the sequence is then empty. */
bool kv_sequence_truncate(KvCache *cache, int32_t sequence, int32_t n_tokens);

int32_t kv_sequence_length(const KvCache *cache, int32_t sequence);
int32_t kv_sequence_state_slot(const KvCache *cache, int32_t sequence);
/* Fills pages, state slot and n_past of one batch entry. */
void kv_sequence_describe(const KvCache *cache, int32_t sequence, BatchSequence *out);

int32_t kv_cache_free_pages(const KvCache *cache, int32_t group);

/* Pages of one group that a sequence of n_tokens needs at most while running in steps of at most `chunk` rows. */
int32_t kv_pages_needed(const PageGroup *group, int32_t n_tokens, int32_t chunk);

#endif
