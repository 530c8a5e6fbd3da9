/*
 * vocab.h - the vocabulary as tries, and the walks over them that make masks.
 *
 * A mask is made by walking a trie with a machine: what the machine refuses is cut off with everything below it. Inside a
 * string nearly every token may be possible; for that there is a second trie with only the tokens that hold a quote, a backslash, a
 * control character or half a character. All others, the plain ones, are allowed at once where anything may stand, and walked with
 * the automaton alone where a pattern restricts the string (character_trie.h).
 */
#ifndef IMP_RUNTIME_CONSTRAINT_VOCAB_H
#define IMP_RUNTIME_CONSTRAINT_VOCAB_H

#include "runtime/constraint/character_trie.h"
#include "runtime/constraint/constraint.h"
#include "runtime/constraint/machine.h"
#include "runtime/constraint/mask_cache.h"
#include "runtime/constraint/token_letters.h"

enum { VOCAB_MAX_TOKEN_BYTES = 1024 };

typedef struct VocabNode {
    uint32_t end;   /* first node that is not below this one */
    uint32_t first; /* place in the trie's order of the first token that ends here, if any, or below */
    uint16_t depth; /* bytes up to and with this one, 1 … */
    uint8_t byte;
    uint8_t plain_height; /* bytes of the longest way on from here, where all below are whole ordinary characters; 0 elsewhere */
} VocabNode;

/* As CharacterTrie, of bytes. */
typedef struct VocabTrie {
    VocabNode *nodes; /* [n_nodes + 1] */
    int32_t *order;
    size_t n_nodes;
} VocabTrie;

struct ConstraintVocab {
    int32_t n_tokens;
    size_t words;
    char *bytes;           /* of all tokens */
    uint32_t *starts;      /* [n_tokens + 1] */
    uint32_t *end_bits;    /* [words] */
    VocabTrie all;
    CharacterTrie plain, marked; /* whole characters: ordinary ones alone; with a quote, a backslash or a control character */
    VocabTrie broken;            /* with half a character */
    VocabTrie special;           /* marked and broken */
    uint32_t *plain_bits;  /* [words] tokens of whole ordinary characters */
    int32_t *plain_ids;    /* [n_plain] the same by number of characters, ascending */
    uint16_t *plain_length; /* [n_tokens] characters of those */
    size_t n_plain;
    TokenLetters letters;  /* of the plain ones */
    bool keys_in_tokens;   /* Tape */
    MaskCache *masks;
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
    CharacterMemo *plain, *marked; /* made when first needed */
    uint32_t *scratch;             /* [words] */
} WalkMemo;

WalkMemo *walk_memo_create(size_t words); /* of the vocabulary */
void walk_memo_free(WalkMemo *memo);

/* Sets the bits of all tokens that may follow. False when memory ran out. */
bool vocab_walk(const ConstraintVocab *vocab, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state,
                uint32_t *bits);
/* The part of it that steps the machine: sets the bits of the tokens of one trie. Gives up when the tape fails. */
void trie_walk(const VocabTrie *trie, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state, uint32_t *bits);
/* The nodes of `all` that are children of the one for text[length]: from *first to *end, each to the `end` of the one before. False when
 * no token begins with the text and goes on. */
bool vocab_children(const ConstraintVocab *vocab, const char *text, size_t length, size_t *first, size_t *end);
/* The longest token that text[length] begins with; -1 when there is none. */
int32_t vocab_longest(const ConstraintVocab *vocab, const char *text, size_t length);

#endif
