/*
 * imp/serve.h - one engine, many requests: what a server needs beyond imp/imp.h.
 *
 * An engine owns a thread, the keys and values of many sequences, and an index of computed prefixes. Requests are
 * submitted from any thread and answer through a callback on the engine's. A request's tokens depend on itself alone:
 * not on its neighbours, on when it was admitted, or on whether it was put back and recomputed on the way.
 */
#ifndef IMP_SERVE_H
#define IMP_SERVE_H

#include "imp/imp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque handle, passed by value; NULL is no engine. Any thread may use it. */
typedef struct ImpEngineObject *ImpEngine;

enum { IMP_MAX_TOP_LOGPROBS = 32 };

typedef struct ImpTokenLogprob {
    int32_t token;
    float logprob; /* natural logarithm, of the model's own distribution, before the sampler chain */
} ImpTokenLogprob;

typedef enum ImpEventKind {
    IMP_EVENT_TOKEN = 0, /* a token was generated; its text may come with a later one */
    IMP_EVENT_DONE = 1,  /* the last event of a request that ran to one of its ends */
    IMP_EVENT_FAILED = 2 /* the last event of a request that could not */
} ImpEventKind;

/* Valid during the callback only. */
typedef struct ImpEvent {
    ImpEventKind kind;
    const char *text; /* what became final, also with the last event; "" when nothing did */
    size_t text_length;
    /* IMP_EVENT_TOKEN */
    int32_t token;
    float logprob;
    const ImpTokenLogprob *top; /* [n_top], most likely first */
    int32_t n_top;
    /* IMP_EVENT_DONE */
    ImpStopReason stop_reason;
    int32_t stop_index;     /* which stop string, -1: none */
    const float *embedding; /* [n_embd], of an embedding request; NULL otherwise */
    /* both ends */
    int32_t prompt_tokens, cached_tokens, generated_tokens;
    int32_t pinned_tokens;    /* leading ones of the prompt */
    int32_t reasoning_tokens; /* of those generated, inside of the reasoning block */
    double queue_seconds, prompt_seconds, generate_seconds;
    /* IMP_EVENT_FAILED */
    ImpStatus status;
    const char *error;
} ImpEvent;

/* On the engine's thread: must not block and must not call imp_engine_submit. */
typedef void ImpEventCallback(void *user, const ImpEvent *event);

typedef struct ImpEngineConfig {
    size_t size;
    ImpConfig context;   /* max_sequences: how many requests run together; max_seq_len: of each */
    int32_t kv_tokens;   /* tokens that all sequences and the prefix index hold together; 0: chosen by memory */
    int32_t max_waiting; /* requests queued beyond those that run */
    bool prefix_cache;   /* start from what earlier requests computed */
    float pin_percent;   /* share of the pages that pins may hold */
} ImpEngineConfig;

typedef struct ImpRequest {
    size_t size;
    const int32_t *tokens; /* [n_tokens], copied; at least one */
    int32_t n_tokens;
    const ImpGenerateParams *params; /* copied; its chat fields do not count. NULL: the defaults */
    const char *const *stop;         /* [n_stop] more stop strings than params can hold, copied */
    int32_t n_stop;
    bool want_logprobs;
    int32_t n_top_logprobs; /* 0 … IMP_MAX_TOP_LOGPROBS */
    bool embedding;         /* no generation: the mean of the final hidden states, of unit length */
    int32_t priority;       /* higher goes first */
    double timeout_seconds; /* from submission to the last token; 0: none */
    /* A block of reasoning at the head of the answer: its markers (copied; NULL: none is looked for), whether the
     * prompt has opened it, and how many tokens it may have before it is closed (-1: no limit). A constraint holds from
     * the end of a block that the prompt has opened. */
    const char *reasoning_open, *reasoning_close;
    bool inside_reasoning;
    int32_t reasoning_budget;
    /* The prompt's first n_pinned tokens stay in the prefix index for pin_seconds, within pin_percent of the pages, as
     * long as no running request would go without a page. */
    int32_t n_pinned;
    double pin_seconds;
    ImpEventCallback *callback;
    void *user;
} ImpRequest;

typedef struct ImpEngineStats {
    size_t size;
    int32_t running, waiting;
    uint64_t finished, failed, cancelled, preempted;
    uint64_t prompt_tokens, cached_tokens, generated_tokens;
    uint64_t steps, rows;
    int32_t pages, pages_in_use, pages_cached; /* of the first page group */
    double busy_seconds;
    int32_t pages_pinned; /* of those cached or in use */
} ImpEngineStats;

IMP_API void imp_engine_config_init(ImpEngineConfig *config, size_t size);

static inline ImpEngineConfig imp_engine_config_default(void)
{
    ImpEngineConfig config;
    imp_engine_config_init(&config, sizeof config);
    return config;
}

/* Starts an engine on a model with weights. */
IMP_API ImpStatus imp_engine_create(ImpModel model, const ImpEngineConfig *config, ImpEngine *engine);
/* Cancels what is left and waits: every accepted request has had its last event when this returns. */
IMP_API void imp_engine_free(ImpEngine engine);

/* Checks and queues a request. IMP_ERR_LIMIT when max_waiting are queued, IMP_ERR_CONTEXT_FULL for a prompt that can
 * never fit, IMP_ERR_INVALID_ARGUMENT for bad parameters. On success exactly one DONE or FAILED event will come. */
IMP_API ImpStatus imp_engine_submit(ImpEngine engine, const ImpRequest *request, uint64_t *id);
/* The request ends with IMP_STOP_CANCELLED within one step; nothing when it has ended. */
IMP_API void imp_engine_cancel(ImpEngine engine, uint64_t id);

/* Refuses new requests and cancels all others, without waiting for their ends. */
IMP_API void imp_engine_stop(ImpEngine engine);

/* Tokens that a prompt and its answer may have together. */
IMP_API int32_t imp_engine_context(ImpEngine engine);
/* Set stats->size first. */
IMP_API ImpStatus imp_engine_stats(ImpEngine engine, ImpEngineStats *stats);

#ifdef __cplusplus
}
#endif
#endif
