/*
 * prefix_index.h - a tree of pages by content: what was computed once for a run of tokens is found again by those
 * tokens.
 *
 * A node stands for one full page of tokens after its parent's; the path from the root spells a prefix. It holds that
 * page's number in each page group (a windowed group's may be missing) and perhaps a snapshot of the recurrent state
 * after its last token. Least recently used leaves go first.
 */
#ifndef IMP_MEMORY_PREFIX_INDEX_H
#define IMP_MEMORY_PREFIX_INDEX_H

#include "compute/batch.h"
#include "core/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { PREFIX_ROOT = -1, PREFIX_NONE = -2 };

typedef struct PrefixNode {
    int32_t parent; /* PREFIX_ROOT at depth 0 */
    int32_t depth;  /* index of its page in a sequence */
    int32_t n_children;
    int32_t users; /* running sequences that end here */
    int32_t pins;
    int32_t snapshot;                     /* state slot, -1: none */
    int32_t pages[MODEL_MAX_PAGE_GROUPS]; /* -1: none */
    int32_t tokens[KV_PAGE_TOKENS];
    /* Links of the index: hash chain, and the list from most to least recently used. */
    uint32_t hash;
    int32_t next_in_bucket;
    int32_t newer, older;
    bool live;
} PrefixNode;

typedef struct PrefixIndex {
    PrefixNode *nodes; /* [capacity] */
    int32_t *buckets;  /* [n_buckets] */
    int32_t capacity, n_buckets, n_live;
    int32_t free_list;
    int32_t newest, oldest;
} PrefixIndex;

ImpStatus prefix_index_create(PrefixIndex *index, int32_t capacity);
void prefix_index_free(PrefixIndex *index);

/* The child of `parent` that spells these KV_PAGE_TOKENS tokens; PREFIX_NONE when there is none. */
int32_t prefix_find(const PrefixIndex *index, int32_t parent, const int32_t *tokens);
/* Adds it, without pages and snapshot; PREFIX_NONE when all nodes are taken. */
int32_t prefix_add(PrefixIndex *index, int32_t parent, const int32_t *tokens);
/* Takes a leaf without users out of the tree; the caller has released what it held. */
void prefix_remove(PrefixIndex *index, int32_t node);
/* Makes a node and its ancestors the most recently used; ancestors stay newer than their descendants. */
void prefix_touch(PrefixIndex *index, int32_t node);
/* Whether nothing but the index keeps this node. */
bool prefix_is_evictable(const PrefixIndex *index, int32_t node);

#endif
