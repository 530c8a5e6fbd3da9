/*
 * kv_cache.c - a stack of free pages for each group, a list of pages for each sequence.
 */
#include "memory/kv_cache.h"

#include <stdlib.h>
#include <string.h>

typedef struct PagePool {
    int32_t *free;     /* [n_pages], a stack of page ids */
    int32_t n_free;
    int32_t window;
} PagePool;

typedef struct Sequence {
    bool open;
    int32_t length;    /* committed tokens */
    int32_t n_entries; /* filled entries of each group's list */
    int32_t *pages[MODEL_MAX_PAGE_GROUPS]; /* [max_entries]; -1: released, behind the window */
    int32_t first_kept[MODEL_MAX_PAGE_GROUPS]; /* entries before it are -1 */
} Sequence;

struct KvCache {
    PagePool pools[MODEL_MAX_PAGE_GROUPS];
    int32_t n_groups;
    bool has_state;
    int32_t max_tokens;
    Sequence *sequences;
    int32_t n_sequences;
};

static int32_t pages_of(int64_t tokens) { return (int32_t)((tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS); }

int32_t kv_pages_needed(const PageGroup *group, int32_t n_tokens, int32_t chunk)
{
    const int32_t all = pages_of(n_tokens);
    if (group->window == 0) return all;
    /* The window of the chunk's first row, the chunk, and a page that both ends may cut. */
    const int64_t alive = (int64_t)group->window - 1 + chunk;
    const int32_t some = pages_of(alive) + 1;
    return some < all ? some : all;
}

static ImpStatus create_pool(PagePool *pool, const PageGroup *group, int32_t n_pages)
{
    pool->window = group->window;
    pool->free = malloc((size_t)n_pages * sizeof *pool->free);
    if (pool->free == NULL && n_pages > 0) return imp_fail_memory((size_t)n_pages * sizeof *pool->free);
    /* Low ids on top, so that a short run touches little memory. */
    for (int32_t i = 0; i < n_pages; i++) pool->free[i] = n_pages - 1 - i;
    pool->n_free = n_pages;
    return IMP_OK;
}

ImpStatus kv_cache_create(const Model *model, const ComputeSizes *sizes, int32_t max_sequences, int32_t max_tokens,
                          KvCache **out)
{
    *out = NULL;
    KvCache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return imp_fail_memory(sizeof *cache);
    ImpStatus status = IMP_OK;
    const size_t entries = (size_t)pages_of(max_tokens);
    cache->n_groups = model->n_page_groups;
    cache->has_state = model->has_state;
    cache->max_tokens = max_tokens;
    cache->sequences = calloc((size_t)max_sequences, sizeof *cache->sequences);
    if (cache->sequences == NULL) status = imp_fail_memory((size_t)max_sequences * sizeof *cache->sequences);
    else cache->n_sequences = max_sequences;
    for (int32_t g = 0; g < cache->n_groups && status == IMP_OK; g++)
        status = create_pool(&cache->pools[g], &model->page_groups[g], sizes->n_pages[g]);
    for (int32_t s = 0; s < cache->n_sequences; s++) {
        for (int32_t g = 0; g < cache->n_groups && status == IMP_OK; g++) {
            cache->sequences[s].pages[g] = malloc(entries * sizeof(int32_t));
            if (cache->sequences[s].pages[g] == NULL) status = imp_fail_memory(entries * sizeof(int32_t));
        }
    }
    if (status != IMP_OK) {
        kv_cache_free(cache);
        return status;
    }
    *out = cache;
    return IMP_OK;
}

void kv_cache_free(KvCache *cache)
{
    if (cache == NULL) return;
    for (int32_t s = 0; s < cache->n_sequences; s++)
        for (int32_t g = 0; g < cache->n_groups; g++) free(cache->sequences[s].pages[g]);
    for (int32_t g = 0; g < cache->n_groups; g++) free(cache->pools[g].free);
    free(cache->sequences);
    free(cache);
}

/* Gives back entries from … to-1 of one group's list. */
static void release_entries(PagePool *pool, Sequence *sequence, int32_t group, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) {
        int32_t *entry = &sequence->pages[group][i];
        if (*entry >= 0) pool->free[pool->n_free++] = *entry;
        *entry = -1;
    }
}

ImpStatus kv_sequence_open(KvCache *cache, int32_t *sequence)
{
    for (int32_t s = 0; s < cache->n_sequences; s++) {
        if (cache->sequences[s].open) continue;
        cache->sequences[s].open = true;
        *sequence = s;
        return IMP_OK;
    }
    return imp_fail(IMP_ERR_CONTEXT_FULL, "all %d sequences are in use: raise runtime.max_batch_size",
                    (int)cache->n_sequences);
}

static void empty_sequence(KvCache *cache, Sequence *entry)
{
    for (int32_t g = 0; g < cache->n_groups; g++) {
        release_entries(&cache->pools[g], entry, g, entry->first_kept[g], entry->n_entries);
        entry->first_kept[g] = 0;
    }
    entry->length = 0;
    entry->n_entries = 0;
}

void kv_sequence_close(KvCache *cache, int32_t sequence)
{
    empty_sequence(cache, &cache->sequences[sequence]);
    cache->sequences[sequence].open = false;
}

ImpStatus kv_sequence_grow(KvCache *cache, int32_t sequence, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    const int64_t total = (int64_t)entry->length + n_tokens;
    if (total > cache->max_tokens)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "%lld tokens do not fit the context of %d (runtime.max_seq_len)",
                        (long long)total, (int)cache->max_tokens);
    const int32_t need = pages_of(total);
    for (int32_t g = 0; g < cache->n_groups; g++)
        if (need - entry->n_entries > cache->pools[g].n_free)
            return imp_fail(IMP_ERR_CONTEXT_FULL, "the key-value cache is full: all its pages are in use");
    for (int32_t g = 0; g < cache->n_groups; g++) {
        PagePool *pool = &cache->pools[g];
        for (int32_t i = entry->n_entries; i < need; i++) entry->pages[g][i] = pool->free[--pool->n_free];
    }
    if (need > entry->n_entries) entry->n_entries = need;
    return IMP_OK;
}

/* First entry that a query at position `length` or later can still see. */
static int32_t first_visible(const PagePool *pool, int32_t length)
{
    if (pool->window == 0 || length < pool->window) return 0;
    return (length - pool->window + 1) / KV_PAGE_TOKENS;
}

void kv_sequence_commit(KvCache *cache, int32_t sequence, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    entry->length += n_tokens;
    for (int32_t g = 0; g < cache->n_groups; g++) {
        const int32_t visible = first_visible(&cache->pools[g], entry->length);
        if (visible <= entry->first_kept[g]) continue;
        release_entries(&cache->pools[g], entry, g, entry->first_kept[g], visible);
        entry->first_kept[g] = visible;
    }
}

bool kv_sequence_truncate(KvCache *cache, int32_t sequence, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    bool possible = n_tokens >= entry->length || !cache->has_state;
    for (int32_t g = 0; g < cache->n_groups; g++)
        possible = possible && first_visible(&cache->pools[g], n_tokens) >= entry->first_kept[g];
    if (n_tokens <= 0 || !possible) {
        empty_sequence(cache, entry);
        return n_tokens <= 0;
    }
    if (n_tokens > entry->length) n_tokens = entry->length;
    const int32_t keep = pages_of(n_tokens);
    for (int32_t g = 0; g < cache->n_groups; g++) release_entries(&cache->pools[g], entry, g, keep, entry->n_entries);
    entry->n_entries = keep;
    entry->length = n_tokens;
    return true;
}

int32_t kv_sequence_length(const KvCache *cache, int32_t sequence) { return cache->sequences[sequence].length; }

int32_t kv_sequence_state_slot(const KvCache *cache, int32_t sequence) { return cache->has_state ? sequence : -1; }

void kv_sequence_describe(const KvCache *cache, int32_t sequence, BatchSequence *out)
{
    const Sequence *entry = &cache->sequences[sequence];
    out->n_past = entry->length;
    out->state_slot = kv_sequence_state_slot(cache, sequence);
    for (int32_t g = 0; g < MODEL_MAX_PAGE_GROUPS; g++) out->pages[g] = g < cache->n_groups ? entry->pages[g] : NULL;
}

int32_t kv_cache_free_pages(const KvCache *cache, int32_t group) { return cache->pools[group].n_free; }
