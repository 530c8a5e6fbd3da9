/*
 * job.h - a generation between the engine's thread, which appends, and a connection's, which takes.
 */
#ifndef IMP_SERVER_JOB_H
#define IMP_SERVER_JOB_H

#include "reasoning.h"
#include "server.h"

/* One token where its probability was asked for. */
typedef struct JobToken {
    int32_t token, n_top;
    float logprob;
    ImpTokenLogprob top[IMP_MAX_TOP_LOGPROBS];
} JobToken;

/* What several jobs of one exchange share: their owner sleeps on it. */
typedef struct JobGroup {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool only_ends; /* nobody reads along: only the last events are worth a waking */
} JobGroup;

typedef struct Job {
    JobGroup *group;
    uint64_t id;
    bool submitted;
    /* Appended by the engine, taken by the connection, under the group's mutex. */
    Bytes text;
    JobToken *tokens;
    size_t n_tokens, token_capacity;
    bool done, memory_short;
    bool taken;        /* the end was seen by job_take */
    bool first_choice; /* of its prompt: the others share that */
    /* Once done; prompt_tokens from the beginning. */
    ImpStopReason stop_reason;
    int32_t stop_index;
    int32_t prompt_tokens, cached_tokens, pinned_tokens, generated_tokens, reasoning_tokens;
    double queue_seconds, prompt_seconds, generate_seconds;
    ImpStatus status;
    char error[512];
    float *embedding;
    int32_t n_embd;
    /* The connection's own. */
    ReasoningSplitter splitter;
    Bytes moved;  /* what job_take gave last; it and `text` trade places */
    int32_t n_calls; /* of tools, read out of the answer */
    Bytes answer; /* all text so far, for the log */
} Job;

void job_group_init(JobGroup *group);
void job_group_free(JobGroup *group);

/* Submits `request`, whose callback and user it sets. */
ImpStatus job_submit(Job *job, JobGroup *group, Server *server, ImpRequest *request);
/* Cancels if needed, waits for the last event, frees. Safe on a zeroed job. */
void job_close(Job *job, Server *server);

/* Waits until one of the jobs has something to take or is done, at most `seconds`. False when the peer has gone. */
bool jobs_wait(Job *jobs, int32_t n_jobs, JobGroup *group, int peer, double seconds);
/* Waits for the last event of all; false when the peer has gone. */
bool jobs_wait_done(Job *jobs, int32_t n_jobs, JobGroup *group, int peer);

/* Moves what is pending into job->moved and `tokens` (the caller frees these); *done: that was the last. */
void job_take(Job *job, JobToken **tokens, size_t *n_tokens, bool *done);

/* The socket of an exchange, for the waits above. */
int peer_socket(Exchange *exchange);

#endif
