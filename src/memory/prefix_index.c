/*
 * prefix_index.c - hashed children, an intrusive list for recency. Nothing allocates after creation.
 */
#include "memory/prefix_index.h"

#include <stdlib.h>
#include <string.h>

ImpStatus prefix_index_create(PrefixIndex *index, int32_t capacity)
{
    int32_t n_buckets = 16;
    while (n_buckets < capacity) n_buckets *= 2;
    *index = (PrefixIndex){.capacity = capacity, .n_buckets = n_buckets, .newest = PREFIX_NONE, .oldest = PREFIX_NONE};
    index->nodes = calloc((size_t)(capacity > 0 ? capacity : 1), sizeof *index->nodes);
    index->buckets = malloc((size_t)n_buckets * sizeof *index->buckets);
    if (index->nodes == NULL || index->buckets == NULL) {
        prefix_index_free(index);
        return imp_fail_memory((size_t)capacity * sizeof *index->nodes);
    }
    for (int32_t i = 0; i < n_buckets; i++) index->buckets[i] = PREFIX_NONE;
    for (int32_t i = 0; i < capacity; i++) index->nodes[i].next_in_bucket = i + 1 < capacity ? i + 1 : PREFIX_NONE;
    index->free_list = capacity > 0 ? 0 : PREFIX_NONE;
    return IMP_OK;
}

void prefix_index_free(PrefixIndex *index)
{
    free(index->nodes);
    free(index->buckets);
    *index = (PrefixIndex){0};
}

/* FNV-1a over whole tokens, then a finishing mix: the low bits choose the bucket. */
static uint32_t hash_page(int32_t parent, const int32_t *tokens)
{
    uint32_t hash = 2166136261u ^ (uint32_t)parent;
    for (int32_t i = 0; i < KV_PAGE_TOKENS; i++) hash = (hash ^ (uint32_t)tokens[i]) * 16777619u;
    hash ^= hash >> 15;
    hash *= 0x2c1b3c6du;
    return hash ^ hash >> 13;
}

static int32_t *bucket_of(const PrefixIndex *index, uint32_t hash)
{
    return &index->buckets[hash & (uint32_t)(index->n_buckets - 1)];
}

int32_t prefix_find(const PrefixIndex *index, int32_t parent, const int32_t *tokens)
{
    if (index->capacity == 0) return PREFIX_NONE;
    const uint32_t hash = hash_page(parent, tokens);
    for (int32_t i = *bucket_of(index, hash); i != PREFIX_NONE; i = index->nodes[i].next_in_bucket) {
        const PrefixNode *node = &index->nodes[i];
        if (node->hash == hash && node->parent == parent && memcmp(node->tokens, tokens, sizeof node->tokens) == 0)
            return i;
    }
    return PREFIX_NONE;
}

static void unlink_recency(PrefixIndex *index, int32_t i)
{
    PrefixNode *node = &index->nodes[i];
    if (node->newer == PREFIX_NONE)
        index->newest = node->older;
    else
        index->nodes[node->newer].older = node->older;
    if (node->older == PREFIX_NONE)
        index->oldest = node->newer;
    else
        index->nodes[node->older].newer = node->newer;
}

static void link_newest(PrefixIndex *index, int32_t i)
{
    PrefixNode *node = &index->nodes[i];
    node->newer = PREFIX_NONE;
    node->older = index->newest;
    if (index->newest == PREFIX_NONE)
        index->oldest = i;
    else
        index->nodes[index->newest].newer = i;
    index->newest = i;
}

int32_t prefix_add(PrefixIndex *index, int32_t parent, const int32_t *tokens)
{
    const int32_t i = index->free_list;
    if (i == PREFIX_NONE) return PREFIX_NONE;
    PrefixNode *node = &index->nodes[i];
    index->free_list = node->next_in_bucket;
    *node = (PrefixNode){.parent = parent, .snapshot = -1, .hash = hash_page(parent, tokens), .live = true};
    node->depth = parent == PREFIX_ROOT ? 0 : index->nodes[parent].depth + 1;
    if (parent != PREFIX_ROOT) index->nodes[parent].n_children++;
    for (int32_t g = 0; g < MODEL_MAX_PAGE_GROUPS; g++) node->pages[g] = -1;
    memcpy(node->tokens, tokens, sizeof node->tokens);
    int32_t *bucket = bucket_of(index, node->hash);
    node->next_in_bucket = *bucket;
    *bucket = i;
    link_newest(index, i);
    index->n_live++;
    return i;
}

void prefix_remove(PrefixIndex *index, int32_t i)
{
    PrefixNode *node = &index->nodes[i];
    int32_t *link = bucket_of(index, node->hash);
    while (*link != i) link = &index->nodes[*link].next_in_bucket;
    *link = node->next_in_bucket;
    unlink_recency(index, i);
    if (node->parent != PREFIX_ROOT) index->nodes[node->parent].n_children--;
    node->live = false;
    node->next_in_bucket = index->free_list;
    index->free_list = i;
    index->n_live--;
}

void prefix_touch(PrefixIndex *index, int32_t node)
{
    for (int32_t i = node; i != PREFIX_ROOT; i = index->nodes[i].parent) {
        unlink_recency(index, i);
        link_newest(index, i);
    }
}

bool prefix_is_evictable(const PrefixIndex *index, int32_t i)
{
    const PrefixNode *node = &index->nodes[i];
    return node->n_children == 0 && node->users == 0 && node->pins == 0;
}
