/*
 * kv_cache.h - which pages and which recurrent state slot belong to which sequence, and what is kept for those to come.
 *
 * Pages are numbers here; the bytes behind them are the backend's. Each page group of the model has its own pool. A
 * sequence holds, for each group, a list of pages indexed by position / KV_PAGE_TOKENS; in a windowed group pages
 * behind the window are given back and their entries become -1. With a prefix index every full page is also remembered
 * by the tokens before and in it, so that a later sequence starts where their common prefix ends; recurrent layers do
 * the same through snapshots of their state at page borders. Nothing allocates after creation.
 */
#ifndef IMP_MEMORY_KV_CACHE_H
#define IMP_MEMORY_KV_CACHE_H

#include "compute/compute.h"

typedef struct KvCache KvCache;

typedef struct KvOptions {
    int32_t max_sequences;
    int32_t max_tokens; /* of one sequence */
    bool prefix_index;  /* remember full pages for later sequences */
    float pin_percent;  /* share of the first group's pages that pins may hold */
} KvOptions;

/* Pages and state slots as in the ComputeSizes of the Compute that holds the bytes: slots 0 … max_sequences-1 belong to
 * the sequences, the rest to snapshots. */
ImpStatus kv_cache_create(const Model *model, const ComputeSizes *sizes, const KvOptions *options, KvCache **out);
void kv_cache_free(KvCache *cache);

/* Opens an empty sequence: its handle in *sequence. IMP_ERR_CONTEXT_FULL when all are taken. */
ImpStatus kv_sequence_open(KvCache *cache, int32_t *sequence);
/* Its full pages stay in the prefix index until others need them. */
void kv_sequence_close(KvCache *cache, int32_t sequence);

/* What a sequence starts with. */
typedef struct KvStart {
    int32_t n_kept;        /* leading tokens that need no computing */
    int32_t from_snapshot; /* state slot to copy into the sequence's before its next step; -1: none */
} KvStart;

/* Makes the sequence stand for a prefix of `tokens`, the longest that is already computed, in its own pages or in the
 * index, and shorter than n_tokens (the last token's logits are wanted). What else it held is given back. */
KvStart kv_sequence_start(KvCache *cache, int32_t sequence, const int32_t *tokens, int32_t n_tokens);

/* Makes room for `n_tokens` more tokens; all or nothing. IMP_ERR_CONTEXT_FULL when pages or max_tokens run out. */
ImpStatus kv_sequence_grow(KvCache *cache, int32_t sequence, int32_t n_tokens);
/* These tokens were computed: they count as past now, pages behind windows are released, full pages enter the index. */
void kv_sequence_commit(KvCache *cache, int32_t sequence, const int32_t *tokens, int32_t n_tokens);
/* After a commit that ended on a page border of a model with recurrent state: the slot that the state should be copied
 * to; -1 when no snapshot is wanted. */
int32_t kv_sequence_snapshot(KvCache *cache, int32_t sequence);
/* Gives back room that was grown and not used, and forgets all but the first n_tokens, which must be what
 * kv_sequence_start could keep: its own length, or fewer where nothing recurrent or windowed stands against it. Returns
 * what was kept; 0 when everything must be recomputed. */
int32_t kv_sequence_rewind(KvCache *cache, int32_t sequence, int32_t n_tokens);

/* Pins the full pages of the sequence's first n_tokens, as many as the budget holds: they stay in the index until
 * `expires` (by the clock of kv_cache_expire_pins), until newer pins need the budget, or until a sequence would have to
 * go without a page. Pinning the same prefix again renews it. Returns how many tokens are pinned. */
int32_t kv_sequence_pin(KvCache *cache, int32_t sequence, int32_t n_tokens, double expires);
void kv_cache_expire_pins(KvCache *cache, double now);
/* Pages (of each group) that pins keep. */
int32_t kv_cache_pinned_pages(const KvCache *cache);

int32_t kv_sequence_length(const KvCache *cache, int32_t sequence);
int32_t kv_sequence_state_slot(const KvCache *cache, int32_t sequence);
/* Fills pages, state slot and n_past of one batch entry. */
void kv_sequence_describe(const KvCache *cache, int32_t sequence, BatchSequence *out);

/* Pages that no sequence holds: free ones and those that only the index keeps. */
int32_t kv_cache_available_pages(const KvCache *cache, int32_t group);
/* Pages that only the prefix index keeps. */
int32_t kv_cache_cached_pages(const KvCache *cache, int32_t group);
/* Drops everything that only the prefix index keeps, pins excepted. */
void kv_cache_clear(KvCache *cache);

/* Pages of one group that a sequence of n_tokens needs at most while running in steps of at most `chunk` rows. */
int32_t kv_pages_needed(const PageGroup *group, int32_t n_tokens, int32_t chunk);

#endif
