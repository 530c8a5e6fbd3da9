/*
 * guide.c - one constraint state and its mask; without a constraint every call is free.
 *
 * What the mask is does not depend on who makes it: a guide that the worker has not begun with is taken back and served by the one who
 * asks, one that it is at is waited for.
 */
#include "runtime/guide.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct GuideWorker {
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    pthread_t thread;
    bool started, stop;
    Guide *first, **last; /* queue */
};

/* ---- the worker ---- */

static void *work(void *argument)
{
    GuideWorker *worker = argument;
    (void)pthread_mutex_lock(&worker->mutex);
    while (!worker->stop) {
        Guide *guide = worker->first;
        if (guide == NULL) {
            (void)pthread_cond_wait(&worker->wake, &worker->mutex);
            continue;
        }
        worker->first = guide->next;
        if (worker->first == NULL) worker->last = &worker->first;
        guide->phase = GUIDE_WORKING;
        (void)pthread_mutex_unlock(&worker->mutex);
        const ImpStatus status = constraint_mask(guide->state, guide->mask);
        if (status != IMP_OK) (void)strncpy(guide->error, imp_last_error(), sizeof guide->error - 1);
        (void)pthread_mutex_lock(&worker->mutex);
        guide->status = status;
        guide->phase = GUIDE_READY;
        (void)pthread_cond_broadcast(&worker->done);
    }
    (void)pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

ImpStatus guide_worker_create(GuideWorker **out)
{
    *out = NULL;
    GuideWorker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) return imp_fail_memory(sizeof *worker);
    (void)pthread_mutex_init(&worker->mutex, NULL);
    (void)pthread_cond_init(&worker->wake, NULL);
    (void)pthread_cond_init(&worker->done, NULL);
    worker->last = &worker->first;
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
        guide_worker_free(worker);
        return imp_fail(IMP_ERR_IO, "the thread that makes masks could not be started");
    }
    worker->started = true;
    *out = worker;
    return IMP_OK;
}

void guide_worker_free(GuideWorker *worker)
{
    if (worker == NULL) return;
    if (worker->started) {
        (void)pthread_mutex_lock(&worker->mutex);
        worker->stop = true;
        (void)pthread_cond_signal(&worker->wake);
        (void)pthread_mutex_unlock(&worker->mutex);
        (void)pthread_join(worker->thread, NULL);
    }
    (void)pthread_mutex_destroy(&worker->mutex);
    (void)pthread_cond_destroy(&worker->wake);
    (void)pthread_cond_destroy(&worker->done);
    free(worker);
}

void guide_prepare(Guide *guide, GuideWorker *worker)
{
    if (guide->state == NULL || worker == NULL || guide->phase != GUIDE_STALE) return;
    (void)pthread_mutex_lock(&worker->mutex);
    guide->worker = worker;
    guide->next = NULL;
    guide->phase = GUIDE_WAITING;
    *worker->last = guide;
    worker->last = &guide->next;
    (void)pthread_cond_signal(&worker->wake);
    (void)pthread_mutex_unlock(&worker->mutex);
}

/* Takes the guide out of the queue. */
static void unqueue(GuideWorker *worker, Guide *guide)
{
    Guide **link = &worker->first;
    while (*link != guide) link = &(*link)->next;
    *link = guide->next;
    if (worker->last == &guide->next) worker->last = link;
    guide->phase = GUIDE_STALE;
}

/* From here on the guide is the caller's alone: it is stale or ready. */
static void take_back(Guide *guide)
{
    GuideWorker *worker = guide->worker;
    if (worker == NULL) return;
    (void)pthread_mutex_lock(&worker->mutex);
    if (guide->phase == GUIDE_WAITING) unqueue(worker, guide);
    while (guide->phase == GUIDE_WORKING) (void)pthread_cond_wait(&worker->done, &worker->mutex);
    guide->worker = NULL;
    (void)pthread_mutex_unlock(&worker->mutex);
}

/* ---- the guide ---- */

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
    take_back(guide);
    if (guide->state != NULL) constraint_state_free(guide->state);
    free(guide->mask);
    *guide = (Guide){0};
}

ImpStatus guide_allowed(Guide *guide, const uint32_t **allowed)
{
    *allowed = NULL;
    if (guide->state == NULL) return IMP_OK;
    take_back(guide);
    if (guide->phase == GUIDE_READY && guide->status != IMP_OK) return imp_fail(guide->status, "%s", guide->error);
    if (guide->phase != GUIDE_READY) IMP_TRY(constraint_mask(guide->state, guide->mask));
    guide->phase = GUIDE_READY;
    guide->status = IMP_OK;
    *allowed = guide->mask;
    return IMP_OK;
}

ImpStatus guide_accept(Guide *guide, int32_t token)
{
    if (guide->state == NULL) return IMP_OK;
    take_back(guide);
    guide->phase = GUIDE_STALE;
    if (constraint_advance(guide->state, token)) return IMP_OK;
    return imp_fail(IMP_ERR_INTERNAL, "token %d was allowed by the constraint's mask but not by the constraint", (int)token);
}

bool guide_finished(Guide *guide)
{
    take_back(guide);
    return guide->state != NULL && constraint_finished(guide->state);
}

size_t guide_forced(Guide *guide, int32_t *tokens, size_t capacity)
{
    take_back(guide);
    if (guide->state == NULL) return 0;
    return constraint_forced_tokens(guide->state, tokens, capacity < GUIDE_MAX_FORCED ? capacity : GUIDE_MAX_FORCED);
}
