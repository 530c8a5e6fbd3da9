/*
 * vocab.h - the vocabulary as tries over bytes, and the cache of masks.
 *
 * A mask is made by walking a trie with a machine: what the machine refuses is cut off with everything below it. Inside a
 * string in which anything may stand nearly every token is possible; for that case there is a second trie with only the
 * tokens that hold a quote, a backslash, a control character or half a character, and a ready list of all others.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_VOCAB_H
#define IMP_RUNTIME_CONSTRAINT_VOCAB_H

#include "runtime/constraint/constraint.h"
#include "runtime/constraint/machine.h"

#include <pthread.h>

enum { VOCAB_MAX_TOKEN_BYTES = 1024 };

typedef struct VocabNode {
    uint32_t end;   /* first node that is not below this one */
    int32_t token;  /* first token that ends here, -1: none */
    uint16_t depth; /* bytes up to and with this one, 1 … */
    uint8_t byte;
} VocabNode;

/* Nodes in depth-first order. */
typedef struct VocabTrie {
    VocabNode *nodes;
    size_t n_nodes;
} VocabTrie;

typedef struct VocabSlot {
    uint64_t key, check; /* 0: empty */
    uint64_t used;
    uint32_t *bits; /* [words] */
} VocabSlot;

struct ConstraintVocab {
    int32_t n_tokens;
    size_t words;
    char *bytes;           /* of all tokens */
    uint32_t *starts;      /* [n_tokens + 1] */
    int32_t *same_bytes;   /* [n_tokens] the next token with the same bytes, -1: none */
    uint32_t *end_bits;    /* [words] */
    VocabTrie all, special;
    uint32_t *plain_bits;  /* [words] tokens of whole ordinary characters */
    int32_t *plain;        /* the same by number of characters, ascending */
    uint16_t *plain_length;
    size_t n_plain;
    uint16_t longest_plain;
    VocabSlot *slots;
    uint64_t clock;
    pthread_mutex_t lock; /* of the slots */
};

static inline const char *vocab_token(const ConstraintVocab *vocab, int32_t token, size_t *length)
{
    *length = vocab->starts[token + 1] - vocab->starts[token];
    return vocab->bytes + vocab->starts[token];
}

/* Sets the bits of all tokens that may follow. False when memory ran out. */
bool vocab_walk(const ConstraintVocab *vocab, const Machine *machine, Tape *tape, uint32_t state, uint32_t *bits);
/* Copies the mask kept under the key; false when there is none or the cache is busy. */
bool vocab_recall(ConstraintVocab *vocab, uint64_t key, uint64_t check, uint32_t *bits);
void vocab_remember(ConstraintVocab *vocab, uint64_t key, uint64_t check, const uint32_t *bits);
/* The longest token that text[length] begins with; -1 when there is none. */
int32_t vocab_longest(const ConstraintVocab *vocab, const char *text, size_t length);

#endif
