/* guide.c - one constraint state and its mask; without a constraint every call is free. */
#include "runtime/guide.h"

#include <stdlib.h>

ImpStatus guide_open(Guide *guide, const Constraint *constraint, ConstraintVocab *vocab)
{
    *guide = (Guide){0};
    if (constraint == NULL) return IMP_OK;
    const size_t words = ((size_t)constraint_vocab_size(vocab) + 31) / 32;
    guide->mask = calloc(words, sizeof *guide->mask);
    if (guide->mask == NULL) return imp_fail_memory(words * sizeof *guide->mask);
    return constraint_state_create(constraint, vocab, &guide->state);
}

void guide_close(Guide *guide)
{
    if (guide->state != NULL) constraint_state_free(guide->state);
    free(guide->mask);
    *guide = (Guide){0};
}

ImpStatus guide_allowed(Guide *guide, const uint32_t **allowed)
{
    *allowed = NULL;
    if (guide->state == NULL) return IMP_OK;
    IMP_TRY(constraint_mask(guide->state, guide->mask));
    *allowed = guide->mask;
    return IMP_OK;
}

ImpStatus guide_accept(Guide *guide, int32_t token)
{
    if (guide->state == NULL || constraint_advance(guide->state, token)) return IMP_OK;
    return imp_fail(IMP_ERR_INTERNAL, "token %d was allowed by the constraint's mask but not by the constraint",
                    (int)token);
}

bool guide_finished(Guide *guide) { return guide->state != NULL && constraint_finished(guide->state); }

size_t guide_forced(Guide *guide, int32_t *tokens, size_t capacity)
{
    if (guide->state == NULL) return 0;
    return constraint_forced_tokens(guide->state, tokens, capacity < GUIDE_MAX_FORCED ? capacity : GUIDE_MAX_FORCED);
}
