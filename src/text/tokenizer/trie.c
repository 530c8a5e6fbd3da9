/*
 * trie.c - built breadth-first from the sorted strings, so that the children of a node lie next to each other.
 */
#include "text/tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>

static int compare_entries(const void *a, const void *b)
{
    const TrieEntry *x = a, *y = b;
    const size_t shorter = x->length < y->length ? x->length : y->length;
    const int order = memcmp(x->text, y->text, shorter);
    if (order != 0) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* A node still to be expanded: the entries [first, last) share its first `depth` bytes. */
typedef struct Work {
    size_t first, last;
    uint32_t depth;
} Work;

typedef struct Builder {
    TrieNode *nodes;
    Work *work; /* [capacity], one a node */
    size_t count, capacity;
} Builder;

static ImpStatus add_node(Builder *builder, uint8_t byte, Work work)
{
    if (builder->count == builder->capacity) {
        const size_t capacity = builder->capacity * 2 + 256;
        if (capacity >= INT32_MAX) return imp_fail(IMP_ERR_LIMIT, "the vocabulary's texts are too long together");
        TrieNode *nodes = realloc(builder->nodes, capacity * sizeof *nodes);
        if (nodes != NULL) builder->nodes = nodes;
        Work *list = nodes == NULL ? NULL : realloc(builder->work, capacity * sizeof *list);
        if (list == NULL) return imp_fail_memory(capacity * (sizeof *nodes + sizeof *list));
        builder->work = list;
        builder->capacity = capacity;
    }
    builder->nodes[builder->count] = (TrieNode){.value = -1, .byte = byte};
    builder->work[builder->count++] = work;
    return IMP_OK;
}

static ImpStatus expand(Builder *builder, const TrieEntry *entries, size_t node)
{
    Work work = builder->work[node];
    while (work.first < work.last && entries[work.first].length == work.depth) {
        builder->nodes[node].value = entries[work.first++].value;
    }
    builder->nodes[node].first_edge = (uint32_t)builder->count;
    while (work.first < work.last) {
        const uint8_t byte = (uint8_t)entries[work.first].text[work.depth];
        size_t end = work.first + 1;
        while (end < work.last && (uint8_t)entries[end].text[work.depth] == byte) end++;
        IMP_TRY(add_node(builder, byte, (Work){work.first, end, work.depth + 1}));
        builder->nodes[node].n_edges++;
        work.first = end;
    }
    return IMP_OK;
}

ImpStatus trie_build(Arena *arena, TrieEntry *entries, size_t count, Trie *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 256; i++) out->root[i] = -1;
    if (count == 0) return IMP_OK;
    qsort(entries, count, sizeof *entries, compare_entries);
    ImpStatus status = IMP_OK;
    Builder builder = {0};
    IMP_GOTO(add_node(&builder, 0, (Work){0, count, 0}));
    for (size_t node = 0; node < builder.count; node++) IMP_GOTO(expand(&builder, entries, node));
    out->nodes = arena_alloc(arena, builder.count, sizeof *out->nodes);
    if (out->nodes == NULL) IMP_GOTO(imp_fail_memory(builder.count * sizeof *out->nodes));
    memcpy(out->nodes, builder.nodes, builder.count * sizeof *out->nodes);
    out->count = builder.count;
    for (uint32_t i = 0; i < out->nodes[0].n_edges; i++) {
        const uint32_t child = out->nodes[0].first_edge + i;
        out->root[out->nodes[child].byte] = (int32_t)child;
    }
fail:
    free(builder.nodes);
    free(builder.work);
    return status;
}

size_t trie_longest(const Trie *trie, const char *text, size_t length, int32_t *value)
{
    size_t best = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        node = trie_child(trie, node, (unsigned char)text[i]);
        if (node == 0) break;
        if (trie->nodes[node].value >= 0) {
            best = i + 1;
            *value = trie->nodes[node].value;
        }
    }
    return best;
}
