/*
 * token_letters.h - which tokens hold which character of ASCII that is no control character, or DEL.
 *
 * A pattern that looks for words anywhere in a text is broken only by tokens that hold some letters of these words. All
 * others are allowed without a walk, and the few that are left can be read one by one.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_TOKEN_LETTERS_H
#define IMP_RUNTIME_CONSTRAINT_TOKEN_LETTERS_H

#include "runtime/constraint/character_walk.h"

enum { N_PRINTABLE = 96 }; /* from the space on, DEL too */

typedef struct TokenLetters {
    uint32_t *holders; /* [N_PRINTABLE][words] bits of the tokens that hold ' ' + the row's number */
    size_t words;
    uint32_t counts[N_PRINTABLE]; /* of those tokens */
} TokenLetters;

/* tokens[n] with ids below 32 * words. */
ImpStatus token_letters_build(const TrieToken *tokens, size_t n, size_t words, TokenLetters *out);
void token_letters_free(TokenLetters *letters);

/* Sets the bits of those tokens of all[words] that cannot lead from `state` to DFA_DEAD because they lack letters.
 * `classes`: of the trie of these tokens, which hold no quote, no backslash and no control character. Does nothing and
 * returns false where that would leave more than `most_left` tokens. scratch: [words]. */
bool token_letters_allow(const TokenLetters *letters, const AutomatonClasses *classes, uint64_t beyond_kinds,
                         uint32_t state, const uint32_t *all, size_t most_left, uint32_t *scratch, uint32_t *bits);

#endif
