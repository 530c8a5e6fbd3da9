/*
 * guide.h - a constraint at work on one generation: which tokens may come, and which must. A worker makes the next mask on a thread of
 * its own while the model computes.
 */
#ifndef IMP_RUNTIME_GUIDE_H
#define IMP_RUNTIME_GUIDE_H

#include "runtime/constraint/constraint.h"

enum { GUIDE_MAX_FORCED = 32 };

/* One thread that makes masks for any number of guides. */
typedef struct GuideWorker GuideWorker;

typedef enum GuidePhase {
    GUIDE_STALE,   /* the mask belongs to an earlier place in the text */
    GUIDE_WAITING, /* in the worker's queue */
    GUIDE_WORKING, /* the worker has it */
    GUIDE_READY,
} GuidePhase;

/* Zeroed: no constraint, everything is allowed. Must not move while the worker has it. */
typedef struct Guide {
    ConstraintState *state;
    uint32_t *mask; /* a bit a token of the vocabulary */
    GuideWorker *worker; /* that was asked for the mask; NULL: none was */
    struct Guide *next;  /* in its queue */
    GuidePhase phase;    /* under the worker's lock once it was asked */
    ImpStatus status;    /* of the mask when it is ready */
    char error[256];
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

ImpStatus guide_worker_create(GuideWorker **out);
/* No guide may have been prepared by it that is not closed. NULL is nothing. */
void guide_worker_free(GuideWorker *worker);
/* The next call for this guide will be guide_allowed(): its mask is made meanwhile. Does nothing without a worker or a constraint. */
void guide_prepare(Guide *guide, GuideWorker *worker);

#endif
