/*
 * constraint_vocab.h - a small vocabulary for tests of constraints: all single bytes and some longer tokens that straddle
 * borders (a key with its colon, half of a character, digits, spacing).
 */
#ifndef IMP_TESTS_CONSTRAINT_VOCAB_H
#define IMP_TESTS_CONSTRAINT_VOCAB_H

#include "runtime/constraint/constraint.h"

#include <string.h>

static const char *const constraint_test_words[] = {
    "{\"", "\":", "\": ", "\",", "\", \"", "\"}", "}]", "true", "false", "null", "tru", "12", "123", "0.", ".5", "e-",
    "name", "\"name\":", "age", "ab", "abc", "hello", " world", "  ", "\n", "\n  ", "[1", ", ", "],", "\\n", "\\u00",
    "\xc3", "\xa9\"", "\xe4\xb8", "\xe4\xb8\xad", "\xf0\x9f", "red", "green", "re", "\"red\"", "{}", "[]", "}}", "aaaa",
    "\"a", "\"ab", "\"abc", "\"hello\"", "9a", "9ab", "9abc", "9hello", "9 \xc3\xa9", "9a\",\"", "ba", "bab", "babc", "b\\n",
    "b\",\"x\"", "b\",\"y\":", "1,\"x\":", "2,\"y", "\"},{\"ab", "\"},{\"x\"", "1],[", "},{", "0E1", "e2", "[[", "\"x\":", "\"y",
};
enum {
    CONSTRAINT_TEST_WORDS = sizeof constraint_test_words / sizeof constraint_test_words[0],
    CONSTRAINT_TEST_END = 256 + CONSTRAINT_TEST_WORDS,
    CONSTRAINT_TEST_TOKENS,
};

static inline ConstraintVocab *constraint_test_vocab(void)
{
    static char bytes[256];
    ConstraintToken tokens[CONSTRAINT_TEST_TOKENS] = {{NULL, 0}};
    const int32_t end = CONSTRAINT_TEST_END;
    ConstraintVocab *vocab = NULL;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    for (int i = 0; i < CONSTRAINT_TEST_WORDS; i++)
        tokens[256 + i] = (ConstraintToken){constraint_test_words[i], strlen(constraint_test_words[i])};
    return constraint_vocab_create(tokens, CONSTRAINT_TEST_TOKENS, &end, 1, &vocab) == IMP_OK ? vocab : NULL;
}

/* Whether the whole text is accepted, byte by byte. */
static inline bool constraint_takes(const Constraint *constraint, ConstraintVocab *vocab, const char *text, size_t length)
{
    ConstraintState *state = NULL;
    if (constraint_state_create(constraint, vocab, &state) != IMP_OK) return false;
    bool taken = true;
    for (size_t i = 0; i < length && taken; i++) taken = constraint_advance(state, (unsigned char)text[i]);
    taken = taken && constraint_complete(state);
    constraint_state_free(state);
    return taken;
}

#endif
