/*
 * constraint_fuzz.h - what the fuzz targets of constraints share: the input is a source, a zero byte, and a text that is walked
 * with masks. A mask must hold exactly the bytes that are accepted, and never nothing.
 */
#ifndef IMP_TESTS_CONSTRAINT_FUZZ_H
#define IMP_TESTS_CONSTRAINT_FUZZ_H

#include "runtime/constraint/constraint.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_MAX_SOURCE = 4096, FUZZ_MAX_TEXT = 24 };

typedef ImpStatus FuzzCompiler(const char *source, size_t length, Constraint **out);

static inline ConstraintVocab *fuzz_vocab(void)
{
    static ConstraintVocab *vocab;
    static char bytes[256];
    ConstraintToken tokens[257] = {{NULL, 0}};
    const int32_t end = 256;
    if (vocab != NULL) return vocab;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    if (constraint_vocab_create(tokens, 257, &end, 1, &vocab) != IMP_OK) abort();
    return vocab;
}

/* Follows the text where it is accepted, and the first byte that is where it is not. */
static inline void fuzz_walk(ConstraintState *state, const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length && i < FUZZ_MAX_TEXT; i++) {
        uint32_t bits[9];
        int first = -1;
        /* A stated limit may be reached: then there is no mask. */
        if (constraint_mask(state, bits) != IMP_OK) return;
        for (int byte = 256; byte >= 0; byte--) {
            if ((bits[byte / 32] >> byte % 32 & 1) != 0) first = byte;
        }
        if (first < 0) abort();
        const int byte = (bits[text[i] / 32] >> text[i] % 32 & 1) != 0 ? text[i] : first;
        if (byte != text[i] && constraint_advance(state, text[i])) abort();
        if (!constraint_advance(state, byte)) abort();
        if (byte == 256) return;
    }
}

static inline int fuzz_constraint(FuzzCompiler *compiler, const uint8_t *data, size_t size)
{
    const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
    const size_t length = zero == NULL ? size : (size_t)(zero - data);
    Constraint *constraint = NULL;
    ConstraintState *state = NULL;
    if (length > FUZZ_MAX_SOURCE || compiler((const char *)data, length, &constraint) != IMP_OK) return 0;
    if (constraint_state_create(constraint, fuzz_vocab(), &state) == IMP_OK && zero != NULL)
        fuzz_walk(state, zero + 1, size - length - 1);
    constraint_state_free(state);
    constraint_free(constraint);
    return 0;
}

#endif
