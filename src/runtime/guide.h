/*
 * guide.h - a constraint at work on one generation: which tokens may come, and which must.
 */
#ifndef IMP_RUNTIME_GUIDE_H
#define IMP_RUNTIME_GUIDE_H

#include "runtime/constraint/constraint.h"

enum { GUIDE_MAX_FORCED = 32 };

/* Zeroed: no constraint, everything is allowed. */
typedef struct Guide {
    ConstraintState *state;
    uint32_t *mask; /* a bit a token of the vocabulary */
} Guide;

/* At the start of the text. Constraint (NULL: none) and vocabulary outlive the guide. */
ImpStatus guide_open(Guide *guide, const Constraint *constraint, ConstraintVocab *vocab);
void guide_close(Guide *guide);

/* The tokens that may come next, as sampler_draw takes them; NULL in *allowed: all. */
ImpStatus guide_allowed(Guide *guide, const uint32_t **allowed);
/* A token was drawn from the allowed ones. */
ImpStatus guide_accept(Guide *guide, int32_t token);
/* The text is complete and nothing but its end may follow. */
bool guide_finished(Guide *guide);
/* Tokens that must come next, at most GUIDE_MAX_FORCED and `capacity`; they are not accepted by this. */
size_t guide_forced(Guide *guide, int32_t *tokens, size_t capacity);

#endif
