/*
 * kv_cache.c - sequences over page pools and the prefix index.
 *
 * A page has one holder for each sequence that lists it and one for the index. Only the last, partly filled page of a
 * sequence is ever written to, and only while the sequence is its one holder: full pages are shared as they are.
 */
#include "memory/kv_cache.h"

#include "memory/page_pool.h"
#include "memory/prefix_index.h"

#include <stdlib.h>
#include <string.h>

typedef struct Sequence {
    bool open;
    int32_t length;                            /* committed tokens */
    int32_t n_entries;                         /* filled entries of each group's list */
    int32_t *tokens;                           /* [max_tokens] */
    int32_t *pages[MODEL_MAX_PAGE_GROUPS];     /* [max_entries]; -1: released, behind the window */
    int32_t first_kept[MODEL_MAX_PAGE_GROUPS]; /* entries before it are -1 */
    int32_t node;                              /* of its last full page that is in the index; PREFIX_ROOT: none */
} Sequence;

enum { MAX_PINS = 64 };

typedef struct Pin {
    int32_t node; /* it and its ancestors are kept */
    double expires;
    uint64_t used; /* when, in uses of pins */
} Pin;

struct KvCache {
    PagePool pools[MODEL_MAX_PAGE_GROUPS];
    int32_t windows[MODEL_MAX_PAGE_GROUPS];
    int32_t n_groups;
    bool has_state;
    KvOptions options;
    Sequence *sequences; /* [max_sequences] */
    PrefixIndex index;
    int32_t *free_snapshots; /* a stack of state slots */
    int32_t n_free_snapshots;
    Pin pins[MAX_PINS];
    int32_t n_pins, max_pinned, n_pinned; /* the latter two in nodes */
    uint64_t n_uses;
};

static int32_t pages_of(int64_t tokens) { return (int32_t)((tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS); }

int32_t kv_pages_needed(const PageGroup *group, int32_t n_tokens, int32_t chunk)
{
    const int32_t all = pages_of(n_tokens);
    if (group->window == 0) return all;
    /* The window of the chunk's first row, the chunk, and a page that both ends may cut. */
    const int64_t alive = (int64_t)group->window - 1 + chunk;
    const int64_t some = (alive + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS + 1;
    return some < all ? (int32_t)some : all;
}

static ImpStatus create_sequences(KvCache *cache)
{
    const size_t n = (size_t)cache->options.max_sequences;
    const size_t entries = (size_t)pages_of(cache->options.max_tokens);
    cache->sequences = calloc(n, sizeof *cache->sequences);
    if (cache->sequences == NULL) return imp_fail_memory(n * sizeof *cache->sequences);
    for (size_t s = 0; s < n; s++) {
        Sequence *sequence = &cache->sequences[s];
        sequence->node = PREFIX_ROOT;
        sequence->tokens = malloc((size_t)cache->options.max_tokens * sizeof(int32_t));
        if (sequence->tokens == NULL) return imp_fail_memory((size_t)cache->options.max_tokens * sizeof(int32_t));
        for (int32_t g = 0; g < cache->n_groups; g++) {
            sequence->pages[g] = malloc(entries * sizeof(int32_t));
            if (sequence->pages[g] == NULL) return imp_fail_memory(entries * sizeof(int32_t));
        }
    }
    return IMP_OK;
}

static ImpStatus create_snapshots(KvCache *cache, int32_t n_state_slots)
{
    const int32_t first = cache->options.max_sequences;
    const int32_t count = cache->has_state && n_state_slots > first ? n_state_slots - first : 0;
    cache->free_snapshots = malloc((size_t)(count > 0 ? count : 1) * sizeof(int32_t));
    if (cache->free_snapshots == NULL) return imp_fail_memory((size_t)count * sizeof(int32_t));
    for (int32_t i = 0; i < count; i++) cache->free_snapshots[cache->n_free_snapshots++] = first + i;
    return IMP_OK;
}

ImpStatus kv_cache_create(const Model *model, const ComputeSizes *sizes, const KvOptions *options, KvCache **out)
{
    *out = NULL;
    KvCache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return imp_fail_memory(sizeof *cache);
    ImpStatus status;
    int32_t n_nodes = 0;
    cache->options = *options;
    cache->n_groups = model->n_page_groups;
    cache->has_state = model->has_state;
    for (int32_t g = 0; g < cache->n_groups; g++) {
        cache->windows[g] = model->page_groups[g].window;
        IMP_GOTO(page_pool_create(&cache->pools[g], sizes->n_pages[g]));
        if (sizes->n_pages[g] > n_nodes) n_nodes = sizes->n_pages[g];
    }
    /* A model without pages remembers prefixes by their snapshots alone. */
    if (cache->n_groups == 0) n_nodes = options->max_sequences * pages_of(options->max_tokens);
    cache->max_pinned = (int32_t)((double)n_nodes * (double)options->pin_percent / 100);
    IMP_GOTO(prefix_index_create(&cache->index, options->prefix_index ? n_nodes : 0));
    IMP_GOTO(create_snapshots(cache, sizes->n_state_slots));
    IMP_GOTO(create_sequences(cache));
    *out = cache;
    return IMP_OK;
fail:
    kv_cache_free(cache);
    return status;
}

void kv_cache_free(KvCache *cache)
{
    if (cache == NULL) return;
    for (int32_t s = 0; cache->sequences != NULL && s < cache->options.max_sequences; s++) {
        for (int32_t g = 0; g < cache->n_groups; g++) free(cache->sequences[s].pages[g]);
        free(cache->sequences[s].tokens);
    }
    for (int32_t g = 0; g < cache->n_groups; g++) page_pool_free(&cache->pools[g]);
    prefix_index_free(&cache->index);
    free(cache->free_snapshots);
    free(cache->sequences);
    free(cache);
}

/* ---- pins ---- */

/* Nodes from `node` to the root that no pin holds yet. */
static int32_t count_unpinned(const KvCache *cache, int32_t node)
{
    int32_t count = 0;
    for (int32_t i = node; i != PREFIX_ROOT; i = cache->index.nodes[i].parent) count += cache->index.nodes[i].pins == 0;
    return count;
}

static void drop_pin(KvCache *cache, int32_t at)
{
    for (int32_t i = cache->pins[at].node; i != PREFIX_ROOT; i = cache->index.nodes[i].parent)
        if (--cache->index.nodes[i].pins == 0) cache->n_pinned--;
    cache->pins[at] = cache->pins[--cache->n_pins];
}

/* False when there is none. */
static bool drop_oldest_pin(KvCache *cache)
{
    if (cache->n_pins == 0) return false;
    int32_t oldest = 0;
    for (int32_t i = 1; i < cache->n_pins; i++)
        if (cache->pins[i].used < cache->pins[oldest].used) oldest = i;
    drop_pin(cache, oldest);
    return true;
}

/* ---- eviction ---- */

static void release_snapshot(KvCache *cache, PrefixNode *node)
{
    if (node->snapshot >= 0) cache->free_snapshots[cache->n_free_snapshots++] = node->snapshot;
    node->snapshot = -1;
}

static void evict_node(KvCache *cache, int32_t i)
{
    PrefixNode *node = &cache->index.nodes[i];
    release_snapshot(cache, node);
    for (int32_t g = 0; g < cache->n_groups; g++)
        if (node->pages[g] >= 0) page_pool_unindex(&cache->pools[g], node->pages[g]);
    prefix_remove(&cache->index, i);
}

/* The least recently used leaf goes. False when nothing can. */
static bool evict_oldest(KvCache *cache)
{
    for (int32_t i = cache->index.oldest; cache->index.capacity > 0 && i != PREFIX_NONE;
         i = cache->index.nodes[i].newer) {
        if (!prefix_is_evictable(&cache->index, i)) continue;
        evict_node(cache, i);
        return true;
    }
    return false;
}

/* A windowed group's page can go alone: its node is then no place to start from, but its children's pages may be. */
static bool evict_windowed_page(KvCache *cache, int32_t group)
{
    PagePool *pool = &cache->pools[group];
    for (int32_t i = cache->index.oldest; cache->index.capacity > 0 && i != PREFIX_NONE;
         i = cache->index.nodes[i].newer) {
        PrefixNode *node = &cache->index.nodes[i];
        if (node->pins > 0 || node->pages[group] < 0 || pool->holders[node->pages[group]] > 1) continue;
        page_pool_unindex(pool, node->pages[group]);
        node->pages[group] = -1;
        return true;
    }
    return false;
}

/* Pins yield before a sequence must go without a page. */
static int32_t take_page(KvCache *cache, int32_t group)
{
    int32_t page;
    while ((page = page_pool_take(&cache->pools[group])) < 0) {
        const bool evicted = cache->windows[group] > 0 ? evict_windowed_page(cache, group) : evict_oldest(cache);
        if (!evicted && !drop_oldest_pin(cache)) return -1;
    }
    return page;
}

/* ---- sequences ---- */

ImpStatus kv_sequence_open(KvCache *cache, int32_t *sequence)
{
    for (int32_t s = 0; s < cache->options.max_sequences; s++) {
        if (cache->sequences[s].open) continue;
        cache->sequences[s].open = true;
        *sequence = s;
        return IMP_OK;
    }
    return imp_fail(IMP_ERR_CONTEXT_FULL, "all %d sequences are in use: raise runtime.max_batch_size",
                    (int)cache->options.max_sequences);
}

static void leave_node(KvCache *cache, Sequence *entry)
{
    if (entry->node == PREFIX_ROOT) return;
    cache->index.nodes[entry->node].users--;
    prefix_touch(&cache->index, entry->node);
    entry->node = PREFIX_ROOT;
}

static void enter_node(KvCache *cache, Sequence *entry, int32_t node)
{
    if (entry->node != PREFIX_ROOT) cache->index.nodes[entry->node].users--;
    entry->node = node;
    if (node != PREFIX_ROOT) cache->index.nodes[node].users++;
}

/* Gives back entries from … to-1 of one group's list. */
static void release_entries(KvCache *cache, Sequence *entry, int32_t group, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) {
        int32_t *page = &entry->pages[group][i];
        if (*page >= 0) page_pool_release(&cache->pools[group], *page);
        *page = -1;
    }
}

static void empty_sequence(KvCache *cache, Sequence *entry)
{
    leave_node(cache, entry);
    for (int32_t g = 0; g < cache->n_groups; g++) {
        release_entries(cache, entry, g, entry->first_kept[g], entry->n_entries);
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
    if (total > cache->options.max_tokens)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "%lld tokens do not fit the context of %d (runtime.max_seq_len)",
                        (long long)total, (int)cache->options.max_tokens);
    const int32_t before = entry->n_entries, need = pages_of(total);
    for (int32_t i = before; i < need; i++) {
        for (int32_t g = 0; g < cache->n_groups; g++) {
            const int32_t page = take_page(cache, g);
            entry->pages[g][i] = page;
            if (page >= 0) continue;
            for (int32_t h = 0; h < cache->n_groups; h++) release_entries(cache, entry, h, before, h < g ? i + 1 : i);
            return imp_fail(IMP_ERR_CONTEXT_FULL, "the key-value cache is full: all its pages are in use");
        }
    }
    if (need > before) entry->n_entries = need;
    return IMP_OK;
}

/* First entry that a query at position `length` or later can still see. */
static int32_t first_visible(const KvCache *cache, int32_t group, int32_t length)
{
    const int32_t window = cache->windows[group];
    return window == 0 || length < window ? 0 : (length - window + 1) / KV_PAGE_TOKENS;
}

/* The page that just became full enters the index, or gives way to the equal one that is there already. */
static void publish_page(KvCache *cache, Sequence *entry, int32_t depth)
{
    const int32_t *tokens = entry->tokens + (size_t)depth * KV_PAGE_TOKENS;
    int32_t found = prefix_find(&cache->index, entry->node, tokens);
    if (found == PREFIX_NONE) {
        if (cache->index.free_list == PREFIX_NONE) (void)evict_oldest(cache);
        found = prefix_add(&cache->index, entry->node, tokens);
    }
    if (found == PREFIX_NONE) return;
    PrefixNode *node = &cache->index.nodes[found];
    for (int32_t g = 0; g < cache->n_groups; g++) {
        int32_t *own = &entry->pages[g][depth];
        if (*own < 0 || *own == node->pages[g]) continue;
        if (node->pages[g] < 0) {
            node->pages[g] = *own;
            page_pool_index(&cache->pools[g], *own);
        } else {
            page_pool_release(&cache->pools[g], *own);
            *own = node->pages[g];
            page_pool_hold(&cache->pools[g], *own);
        }
    }
    enter_node(cache, entry, found);
}

void kv_sequence_commit(KvCache *cache, int32_t sequence, const int32_t *tokens, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    const int32_t full_before = entry->length / KV_PAGE_TOKENS;
    memcpy(entry->tokens + entry->length, tokens, (size_t)n_tokens * sizeof *tokens);
    entry->length += n_tokens;
    for (int32_t depth = full_before; depth < entry->length / KV_PAGE_TOKENS; depth++) {
        /* Only an unbroken chain from the root can be found again. */
        const int32_t known = entry->node == PREFIX_ROOT ? 0 : cache->index.nodes[entry->node].depth + 1;
        if (cache->options.prefix_index && known == depth) publish_page(cache, entry, depth);
    }
    for (int32_t g = 0; g < cache->n_groups; g++) {
        const int32_t visible = first_visible(cache, g, entry->length);
        if (visible <= entry->first_kept[g]) continue;
        release_entries(cache, entry, g, entry->first_kept[g], visible);
        entry->first_kept[g] = visible;
    }
}

int32_t kv_sequence_snapshot(KvCache *cache, int32_t sequence)
{
    Sequence *entry = &cache->sequences[sequence];
    if (!cache->has_state || entry->node == PREFIX_ROOT || entry->length % KV_PAGE_TOKENS != 0) return -1;
    PrefixNode *node = &cache->index.nodes[entry->node];
    if ((node->depth + 1) * KV_PAGE_TOKENS != entry->length || node->snapshot >= 0) return -1;
    for (int32_t i = cache->index.oldest; cache->n_free_snapshots == 0 && i != PREFIX_NONE;
         i = cache->index.nodes[i].newer)
        if (cache->index.nodes[i].pins == 0) release_snapshot(cache, &cache->index.nodes[i]);
    if (cache->n_free_snapshots == 0) return -1;
    node->snapshot = cache->free_snapshots[--cache->n_free_snapshots];
    return node->snapshot;
}

/* Whether a sequence that computed `length` tokens still has what a query at `n_tokens` needs. */
static bool can_rewind(const KvCache *cache, const Sequence *entry, int32_t n_tokens)
{
    if (n_tokens < entry->length && cache->has_state) return false;
    for (int32_t g = 0; g < cache->n_groups; g++)
        if (first_visible(cache, g, n_tokens) < entry->first_kept[g]) return false;
    return true;
}

/* A partly kept page will be written to again: it must be the sequence's own. */
static int32_t writable_length(const KvCache *cache, const Sequence *entry, int32_t n_tokens)
{
    if (n_tokens % KV_PAGE_TOKENS == 0 || n_tokens == entry->length) return n_tokens;
    const int32_t last = n_tokens / KV_PAGE_TOKENS;
    for (int32_t g = 0; g < cache->n_groups; g++) {
        const int32_t page = entry->pages[g][last];
        if (page >= 0 && cache->pools[g].holders[page] > 1) return last * KV_PAGE_TOKENS;
    }
    return n_tokens;
}

int32_t kv_sequence_rewind(KvCache *cache, int32_t sequence, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    if (n_tokens > entry->length) n_tokens = entry->length;
    n_tokens = writable_length(cache, entry, n_tokens);
    if (n_tokens <= 0 || !can_rewind(cache, entry, n_tokens)) {
        empty_sequence(cache, entry);
        return 0;
    }
    const int32_t keep = pages_of(n_tokens);
    for (int32_t g = 0; g < cache->n_groups; g++) release_entries(cache, entry, g, keep, entry->n_entries);
    entry->n_entries = keep;
    entry->length = n_tokens;
    int32_t node = entry->node;
    while (node != PREFIX_ROOT && cache->index.nodes[node].depth >= n_tokens / KV_PAGE_TOKENS)
        node = cache->index.nodes[node].parent;
    enter_node(cache, entry, node);
    return n_tokens;
}

/* The deepest node on the tokens' path that a sequence can start from. */
static int32_t find_start(const KvCache *cache, const int32_t *tokens, int32_t n_tokens)
{
    int32_t unbroken[MODEL_MAX_PAGE_GROUPS] = {0}; /* pages in a row that end here */
    int32_t best = PREFIX_ROOT;
    int32_t parent = PREFIX_ROOT;
    for (int32_t depth = 0; (depth + 1) * KV_PAGE_TOKENS < n_tokens; depth++) {
        const int32_t found = prefix_find(&cache->index, parent, tokens + (size_t)depth * KV_PAGE_TOKENS);
        if (found == PREFIX_NONE) break;
        const PrefixNode *node = &cache->index.nodes[found];
        const int32_t length = (depth + 1) * KV_PAGE_TOKENS;
        bool usable = !cache->has_state || node->snapshot >= 0;
        for (int32_t g = 0; g < cache->n_groups; g++) {
            unbroken[g] = node->pages[g] >= 0 ? unbroken[g] + 1 : 0;
            usable = usable && unbroken[g] >= depth + 1 - first_visible(cache, g, length);
        }
        if (usable) best = found;
        parent = found;
    }
    return best;
}

static void attach(KvCache *cache, Sequence *entry, int32_t start, const int32_t *tokens)
{
    const int32_t n_pages = cache->index.nodes[start].depth + 1;
    entry->length = n_pages * KV_PAGE_TOKENS;
    entry->n_entries = n_pages;
    memcpy(entry->tokens, tokens, (size_t)entry->length * sizeof *tokens);
    for (int32_t g = 0; g < cache->n_groups; g++) entry->first_kept[g] = first_visible(cache, g, entry->length);
    for (int32_t i = start; i != PREFIX_ROOT; i = cache->index.nodes[i].parent) {
        const PrefixNode *node = &cache->index.nodes[i];
        for (int32_t g = 0; g < cache->n_groups; g++) {
            const bool visible = node->depth >= entry->first_kept[g];
            entry->pages[g][node->depth] = visible ? node->pages[g] : -1;
            if (visible) page_pool_hold(&cache->pools[g], node->pages[g]);
        }
    }
    enter_node(cache, entry, start);
    prefix_touch(&cache->index, start);
}

KvStart kv_sequence_start(KvCache *cache, int32_t sequence, const int32_t *tokens, int32_t n_tokens)
{
    Sequence *entry = &cache->sequences[sequence];
    int32_t own = 0;
    while (own < entry->length && own < n_tokens - 1 && entry->tokens[own] == tokens[own]) own++;
    own = writable_length(cache, entry, own);
    if (!can_rewind(cache, entry, own)) own = 0;
    const int32_t start = cache->options.prefix_index ? find_start(cache, tokens, n_tokens) : PREFIX_ROOT;
    const int32_t indexed = start == PREFIX_ROOT ? 0 : (cache->index.nodes[start].depth + 1) * KV_PAGE_TOKENS;
    if (own >= indexed) return (KvStart){.n_kept = kv_sequence_rewind(cache, sequence, own), .from_snapshot = -1};
    /* In this order: what is attached must not be evicted with what the sequence lets go. */
    cache->index.nodes[start].users++;
    empty_sequence(cache, entry);
    cache->index.nodes[start].users--;
    attach(cache, entry, start, tokens);
    return (KvStart){.n_kept = entry->length,
                     .from_snapshot = cache->has_state ? cache->index.nodes[start].snapshot : -1};
}

/* Renews the pin of exactly this node; false when there is none. */
static bool renew_pin(KvCache *cache, int32_t node, double expires)
{
    for (int32_t i = 0; i < cache->n_pins; i++) {
        Pin *pin = &cache->pins[i];
        if (pin->node != node) continue;
        pin->used = ++cache->n_uses;
        if (pin->expires < expires) pin->expires = expires;
        return true;
    }
    return false;
}

int32_t kv_sequence_pin(KvCache *cache, int32_t sequence, int32_t n_tokens, double expires)
{
    const int32_t most = n_tokens / KV_PAGE_TOKENS < cache->max_pinned ? n_tokens / KV_PAGE_TOKENS : cache->max_pinned;
    int32_t node = cache->sequences[sequence].node;
    while (node != PREFIX_ROOT && cache->index.nodes[node].depth >= most) node = cache->index.nodes[node].parent;
    if (node == PREFIX_ROOT) return 0;
    const int32_t n_pinned = (cache->index.nodes[node].depth + 1) * KV_PAGE_TOKENS;
    if (renew_pin(cache, node, expires)) return n_pinned;
    while (cache->n_pins == MAX_PINS || cache->n_pinned + count_unpinned(cache, node) > cache->max_pinned)
        (void)drop_oldest_pin(cache);
    cache->n_pinned += count_unpinned(cache, node);
    for (int32_t i = node; i != PREFIX_ROOT; i = cache->index.nodes[i].parent) cache->index.nodes[i].pins++;
    cache->pins[cache->n_pins++] = (Pin){.node = node, .expires = expires, .used = ++cache->n_uses};
    return n_pinned;
}

void kv_cache_expire_pins(KvCache *cache, double now)
{
    for (int32_t i = cache->n_pins - 1; i >= 0; i--)
        if (cache->pins[i].expires < now) drop_pin(cache, i);
}

int32_t kv_cache_pinned_pages(const KvCache *cache) { return cache->n_pinned; }

/* ---- views ---- */

int32_t kv_sequence_length(const KvCache *cache, int32_t sequence) { return cache->sequences[sequence].length; }

int32_t kv_sequence_state_slot(const KvCache *cache, int32_t sequence) { return cache->has_state ? sequence : -1; }

void kv_sequence_describe(const KvCache *cache, int32_t sequence, BatchSequence *out)
{
    const Sequence *entry = &cache->sequences[sequence];
    out->n_past = entry->length;
    out->state_slot = kv_sequence_state_slot(cache, sequence);
    for (int32_t g = 0; g < MODEL_MAX_PAGE_GROUPS; g++) out->pages[g] = g < cache->n_groups ? entry->pages[g] : NULL;
}

int32_t kv_cache_cached_pages(const KvCache *cache, int32_t group) { return cache->pools[group].n_cached; }

int32_t kv_cache_available_pages(const KvCache *cache, int32_t group)
{
    return cache->pools[group].n_free + cache->pools[group].n_cached;
}

void kv_cache_clear(KvCache *cache)
{
    while (evict_oldest(cache)) continue;
}
