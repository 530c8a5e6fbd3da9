/* job.c - a queue with two ends, and the watch over a client that may go away. */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void job_group_init(JobGroup *group)
{
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&group->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&group->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void job_group_free(JobGroup *group)
{
    (void)pthread_mutex_destroy(&group->mutex);
    (void)pthread_cond_destroy(&group->changed);
}

static bool push_token(Job *job, const ImpEvent *event)
{
    if (job->n_tokens == job->token_capacity) {
        const size_t capacity = job->token_capacity < 16 ? 16 : job->token_capacity * 2;
        JobToken *grown = realloc(job->tokens, capacity * sizeof *grown);
        if (grown == NULL) return false;
        job->tokens = grown;
        job->token_capacity = capacity;
    }
    JobToken *token = &job->tokens[job->n_tokens++];
    *token = (JobToken){.token = event->token, .logprob = event->logprob, .n_top = event->n_top};
    memcpy(token->top, event->top, (size_t)event->n_top * sizeof *event->top);
    return true;
}

static void take_end(Job *job, const ImpEvent *event)
{
    job->stop_reason = event->stop_reason;
    job->stop_index = event->stop_index;
    job->prompt_tokens = event->prompt_tokens;
    job->cached_tokens = event->cached_tokens;
    job->pinned_tokens = event->pinned_tokens;
    job->reasoning_tokens = event->reasoning_tokens;
    job->generated_tokens = event->generated_tokens;
    job->queue_seconds = event->queue_seconds;
    job->prompt_seconds = event->prompt_seconds;
    job->generate_seconds = event->generate_seconds;
    job->status = event->kind == IMP_EVENT_FAILED ? event->status : IMP_OK;
    if (event->kind == IMP_EVENT_FAILED) (void)snprintf(job->error, sizeof job->error, "%s", event->error);
    if (event->embedding != NULL) memcpy(job->embedding, event->embedding, (size_t)job->n_embd * sizeof(float));
    job->done = true;
}

/* On the engine's thread. */
static void on_event(void *user, const ImpEvent *event)
{
    Job *job = user;
    JobGroup *group = job->group;
    (void)pthread_mutex_lock(&group->mutex);
    if (event->text_length > 0 && !bytes_append(&job->text, event->text, event->text_length)) job->memory_short = true;
    if (event->kind == IMP_EVENT_TOKEN) {
        if (job->token_capacity > 0 && !push_token(job, event)) job->memory_short = true;
    } else {
        take_end(job, event);
    }
    const bool last = job->done, wakes = !group->only_ends && (job->text.length > 0 || job->n_tokens > 0);
    /* After the last event the owner may free the group: as long as the mutex is held, it does not get there. */
    if (last) (void)pthread_cond_signal(&group->changed);
    (void)pthread_mutex_unlock(&group->mutex);
    /* Before it, who wakes shall find the mutex free. */
    if (!last && wakes) (void)pthread_cond_signal(&group->changed);
}

ImpStatus job_submit(Job *job, JobGroup *group, Server *server, ImpRequest *request)
{
    job->group = group;
    job->stop_index = -1;
    job->n_embd = server->info.n_embd;
    if (request->want_logprobs) {
        job->tokens = malloc(16 * sizeof *job->tokens);
        if (job->tokens == NULL) return IMP_ERR_OUT_OF_MEMORY;
        job->token_capacity = 16;
    }
    if (request->embedding) {
        job->embedding = calloc((size_t)job->n_embd, sizeof *job->embedding);
        if (job->embedding == NULL) return IMP_ERR_OUT_OF_MEMORY;
    }
    job->prompt_tokens = request->n_tokens;
    request->callback = on_event;
    request->user = job;
    const ImpStatus status = imp_engine_submit(server->engine, request, &job->id);
    job->submitted = status == IMP_OK;
    return status;
}

void job_close(Job *job, Server *server)
{
    if (job->submitted) {
        imp_engine_cancel(server->engine, job->id);
        (void)pthread_mutex_lock(&job->group->mutex);
        while (!job->done) (void)pthread_cond_wait(&job->group->changed, &job->group->mutex);
        (void)pthread_mutex_unlock(&job->group->mutex);
    }
    bytes_free(&job->text);
    bytes_free(&job->moved);
    bytes_free(&job->answer);
    reasoning_free(&job->splitter);
    free(job->tokens);
    free(job->embedding);
    *job = (Job){0};
}

int peer_socket(Exchange *exchange)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

/* A peer that closed its sending side has gone: no client of ours half-closes. */
static bool peer_is_gone(int peer)
{
    struct pollfd watch = {.fd = peer, .events = POLLRDHUP};
    return peer >= 0 && poll(&watch, 1, 0) > 0 && (watch.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static bool has_news(const Job *jobs, int32_t n_jobs)
{
    for (int32_t i = 0; i < n_jobs; i++)
        if (!jobs[i].taken && (jobs[i].done || jobs[i].text.length > 0 || jobs[i].n_tokens > 0)) return true;
    return false;
}

static bool all_done(const Job *jobs, int32_t n_jobs)
{
    for (int32_t i = 0; i < n_jobs; i++)
        if (!jobs[i].done) return false;
    return true;
}

/* Sleeps a quarter of a second at the most, holding the mutex before and after. */
static void doze(JobGroup *group)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 250000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&group->changed, &group->mutex, &until);
}

bool jobs_wait(Job *jobs, int32_t n_jobs, JobGroup *group, int peer, double seconds)
{
    const double end = now_seconds() + seconds;
    bool gone = false;
    (void)pthread_mutex_lock(&group->mutex);
    while (!has_news(jobs, n_jobs) && !gone && now_seconds() < end) {
        doze(group);
        gone = !has_news(jobs, n_jobs) && peer_is_gone(peer);
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return !gone;
}

bool jobs_wait_done(Job *jobs, int32_t n_jobs, JobGroup *group, int peer)
{
    bool gone = false;
    (void)pthread_mutex_lock(&group->mutex);
    group->only_ends = true;
    while (!all_done(jobs, n_jobs) && !gone) {
        doze(group);
        gone = !all_done(jobs, n_jobs) && peer_is_gone(peer);
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return !gone;
}

void job_take(Job *job, JobToken **tokens, size_t *n_tokens, bool *done)
{
    (void)pthread_mutex_lock(&job->group->mutex);
    const Bytes pending = job->text;
    job->text = job->moved;
    job->text.length = 0;
    job->moved = pending;
    *tokens = NULL;
    *n_tokens = job->n_tokens;
    if (job->n_tokens > 0) {
        *tokens = job->tokens;
        job->tokens = malloc(16 * sizeof *job->tokens);
        job->token_capacity = job->tokens != NULL ? 16 : 0;
        job->memory_short = job->memory_short || job->tokens == NULL;
        job->n_tokens = 0;
    }
    *done = job->taken = job->done;
    (void)pthread_mutex_unlock(&job->group->mutex);
}
