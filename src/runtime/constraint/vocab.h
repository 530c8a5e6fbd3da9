/*
 * vocab.h - the vocabulary as tries over bytes, and the cache of masks.
 *
 * A mask is made by walking a trie with a machine: what the machine refuses is cut off with everything below it. Inside a
 * string in which anything may stand nearly every token is possible; for that case there is a second trie with only the
 * tokens that hold a quote, a backslash, a control character or half a character, and a ready list of all others. Where a
 * pattern restricts the string, a third trie with those others is walked with the pattern's automaton alone.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_VOCAB_H
#define IMP_RUNTIME_CONSTRAINT_VOCAB_H

#include "runtime/constraint/constraint.h"
#include "runtime/constraint/machine.h"

#include <pthread.h>

enum { VOCAB_MAX_TOKEN_BYTES = 1024 };

/* Bytes by kind, a bit each: what a branch of a trie is made of. */
enum { VOCAB_GROUPS = 16 };

typedef struct VocabNode {
    uint32_t end;    /* first node that is not below this one */
    uint32_t first;  /* place in the trie's order of the first token that ends here, if any, or below */
    uint16_t depth;  /* bytes up to and with this one, 1 … */
    uint16_t groups; /* of this byte and all below it */
    uint8_t byte;
    uint8_t height;  /* bytes of the longest way down, this one included; 255 stands for more, too */
} VocabNode;

/* Nodes in depth-first order, and one behind the last; tokens in the order of their nodes. Those that end at a node are the
 * ones from its `first` to the next node's. */
typedef struct VocabTrie {
    VocabNode *nodes; /* [n_nodes + 1] */
    int32_t *order;
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
    uint32_t *end_bits;    /* [words] */
    VocabTrie all, plain_trie, special;
    uint32_t *plain_bits;  /* [words] tokens of whole ordinary characters */
    int32_t *plain;        /* the same by number of characters, ascending */
    uint16_t *plain_length;
    size_t n_plain;
    uint16_t longest_plain;
    bool keys_in_tokens;   /* Tape */
    VocabSlot *slots;
    uint64_t clock;
    pthread_mutex_t lock; /* of the slots */
};

static inline const char *vocab_token(const ConstraintVocab *vocab, int32_t token, size_t *length)
{
    *length = vocab->starts[token + 1] - vocab->starts[token];
    return vocab->bytes + vocab->starts[token];
}

/*
 * What a walk remembers: that a byte leads from one state to another, and one offset for all states of equal hash. Tokens share
 * few characters, so most steps of a walk were made before.
 */
enum { WALK_STEPS = 4096, WALK_STATES = 2048 };

typedef struct WalkMemo {
    uint32_t round; /* entries of earlier rounds do not count */
    struct {
        uint32_t round, from, to;
        uint8_t byte;
    } steps[WALK_STEPS];
    struct {
        uint64_t hash;
        uint32_t round, state;
    } states[WALK_STATES];
} WalkMemo;

/* Sets the bits of all tokens that may follow. False when memory ran out. */
bool vocab_walk(const ConstraintVocab *vocab, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state,
                uint32_t *bits);
/* Copies the mask kept under the key; false when there is none or the cache is busy. */
bool vocab_recall(ConstraintVocab *vocab, uint64_t key, uint64_t check, uint32_t *bits);
void vocab_remember(ConstraintVocab *vocab, uint64_t key, uint64_t check, const uint32_t *bits);
/* The longest token that text[length] begins with; -1 when there is none. */
int32_t vocab_longest(const ConstraintVocab *vocab, const char *text, size_t length);

#endif
