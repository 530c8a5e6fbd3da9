/*
 * constraint_fuzz.h - what the fuzz targets of constraints share: the input is a source, a zero byte, and a text that is walked
 * with masks, perhaps another zero byte and a second text. A mask must hold exactly the tokens that are accepted, and never nothing.
 * The two texts share masks with each other, but with no other input, so that whatever is found is found again by the input alone.
 */
#ifndef IMP_TESTS_CONSTRAINT_FUZZ_H
#define IMP_TESTS_CONSTRAINT_FUZZ_H

#include "runtime/constraint/constraint_parts.h"

#include <stdlib.h>
#include <string.h>

/* Beside all bytes: words that share beginnings, so that walks find branches, inside and outside of strings. */
static const char *const fuzz_words[] = {
    "ab", "aba", "abab", "abc", "abcab", "aB", "a1", "a1b", "a b", "a\xc3\xa9", "a\xc3", "a\"", "a\",\"", "a\\n", "b", "ba", "bab", "b\":",
    "10", "101", "1e1", "0.", "00", "9a", "9ab", "9abc", "9a\"", "9a\xe2\x80\xa8", "9 a", "0abab", "0a1", "0\",", "\"a", "\"ab", "\"aba", "\"abc\"",
    "\"a\":", "\"a\":1", "\"b\"", "\"1", "{\"a", "{\"ab", "{\"ab\":", "[\"", "[\"a", "[\"ab\"", ", \"", "\\u00", "\\u006", "\\na", "\\nab", "\\nabc",
    " a", " ab", " abab", " \xe4\xb8\xad", "\xe4\xb8\xad", "\xe4\xb8\xad\xe4\xb8", "\xb8\xad", "\xa9", "\xa9" "a", "\xa9" "ab", "true", "null", "]}",
    "b\",\"x\"", "b\",\"y\":", "1,\"x\":", "2,\"y", "\"},{\"ab", "\"},{\"x\"", "1],[", "},{", "0E1", "e2", "[[", "\"x\":", "\"y",
};
enum {
    FUZZ_MAX_SOURCE = 4096,
    FUZZ_MAX_TEXT = 24,
    FUZZ_WORDS = sizeof fuzz_words / sizeof fuzz_words[0],
    FUZZ_TOKENS = 256 + FUZZ_WORDS,
    FUZZ_END = FUZZ_TOKENS,
    FUZZ_CHECKED = 16, /* words that are compared at each step */
};

typedef ImpStatus FuzzCompiler(const char *source, size_t length, Constraint **out);

static inline ConstraintVocab *fuzz_vocab(void)
{
    static ConstraintVocab *vocab;
    static char bytes[256];
    ConstraintToken tokens[FUZZ_TOKENS + 1] = {{NULL, 0}};
    const int32_t end = FUZZ_END;
    if (vocab != NULL) return vocab;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    for (int i = 0; i < FUZZ_WORDS; i++) tokens[256 + i] = (ConstraintToken){fuzz_words[i], strlen(fuzz_words[i])};
    if (constraint_vocab_create(tokens, FUZZ_TOKENS + 1, &end, 1, &vocab) != IMP_OK) abort();
    return vocab;
}

static inline bool fuzz_allowed(const uint32_t *bits, int token) { return (bits[token / 32] >> token % 32 & 1) != 0; }

/* Some of the words, others at each step, are in the mask when they are accepted. */
static inline void fuzz_check_words(ConstraintState *state, const uint32_t *bits, size_t first)
{
    for (size_t i = 0; i < FUZZ_CHECKED; i++) {
        const int token = 256 + (int)((first + i) % FUZZ_WORDS);
        const bool taken = constraint_advance(state, token);
        if (taken) constraint_rollback(state, 1);
        if (taken != fuzz_allowed(bits, token)) abort();
    }
}

/* The byte itself, or the word that a byte beyond ASCII stands for where it may not come; `first` where neither may. */
static inline int fuzz_choose(const uint32_t *bits, uint8_t byte, int first)
{
    const int word = 256 + (int)((byte & 127U) % FUZZ_WORDS);
    if (fuzz_allowed(bits, byte)) return byte;
    return byte >= 128 && fuzz_allowed(bits, word) ? word : first;
}

/* Follows the text where it is accepted, and the first byte that is where it is not. */
static inline void fuzz_walk(ConstraintState *state, const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length && i < FUZZ_MAX_TEXT; i++) {
        uint32_t bits[FUZZ_TOKENS / 32 + 1];
        int first = -1;
        /* A stated limit may be reached: then there is no mask. */
        if (constraint_mask(state, bits) != IMP_OK) return;
        if (fuzz_allowed(bits, FUZZ_END)) first = FUZZ_END;
        for (int byte = 255; byte >= 0; byte--) {
            if (fuzz_allowed(bits, byte)) first = byte;
        }
        if (first < 0) abort();
        fuzz_check_words(state, bits, i * FUZZ_CHECKED + text[i]);
        const int token = fuzz_choose(bits, text[i], first);
        if (token != text[i] && constraint_advance(state, text[i])) abort();
        if (!constraint_advance(state, token)) abort();
        if (token == FUZZ_END) return;
    }
}

static inline void fuzz_follow(const Constraint *constraint, const uint8_t *text, size_t length)
{
    ConstraintState *state = NULL;
    if (constraint_state_create(constraint, fuzz_vocab(), &state) == IMP_OK) fuzz_walk(state, text, length);
    constraint_state_free(state);
}

static inline int fuzz_constraint(FuzzCompiler *compiler, const uint8_t *data, size_t size)
{
    static uint64_t n_inputs;
    const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
    const size_t length = zero == NULL ? size : (size_t)(zero - data);
    Constraint *constraint = NULL;
    if (length > FUZZ_MAX_SOURCE || compiler((const char *)data, length, &constraint) != IMP_OK) return 0;
    n_inputs++;
    constraint_identify(constraint, &n_inputs, sizeof n_inputs);
    if (zero != NULL) {
        const uint8_t *text = zero + 1;
        const size_t left = size - length - 1;
        const uint8_t *second = left == 0 ? NULL : memchr(text, 0, left);
        fuzz_follow(constraint, text, second == NULL ? left : (size_t)(second - text));
        if (second != NULL) fuzz_follow(constraint, second + 1, left - (size_t)(second + 1 - text));
    }
    constraint_free(constraint);
    return 0;
}

#endif
