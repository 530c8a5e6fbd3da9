/*
 * trie.h - strings with values, found by walking a text byte by byte: added tokens, Unigram's pieces.
 */
#ifndef IMP_TEXT_TRIE_H
#define IMP_TEXT_TRIE_H

#include "core/arena.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TrieEntry {
    const char *text;
    uint32_t length;
    int32_t value; /* at least 0 */
} TrieEntry;

typedef struct TrieNode {
    uint32_t first_edge; /* children are consecutive nodes, in the order of their bytes */
    int32_t value;       /* -1: no string ends here */
    uint16_t n_edges;
    uint8_t byte; /* on the edge that leads here */
} TrieNode;

typedef struct Trie {
    TrieNode *nodes; /* [0] is the root; NULL for an empty trie */
    size_t count;
    int32_t root[256]; /* child of the root by byte; -1 */
} Trie;

/* Builds a trie of non-empty strings; sorts `entries`. Of equal strings the last value in their order stays. */
ImpStatus trie_build(Arena *arena, TrieEntry *entries, size_t count, Trie *out);

/* The child of `node` (0: the root) over `byte`; 0 when there is none. */
static inline uint32_t trie_child(const Trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0) return trie->root[byte] < 0 ? 0 : (uint32_t)trie->root[byte];
    const TrieNode *parent = &trie->nodes[node];
    uint32_t low = parent->first_edge, high = parent->first_edge + parent->n_edges;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte == byte) return middle;
        if (trie->nodes[middle].byte < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* The longest string of the trie that `text` starts with; its length, 0 when there is none. */
size_t trie_longest(const Trie *trie, const char *text, size_t length, int32_t *value);

#endif
