/*
 * engine.h - one thread that owns a runner and serves many requests at once: continuous batching over ragged steps.
 *
 * Requests come in over a queue and answer over a callback on the engine's thread. A request's tokens depend on itself
 * alone: not on its neighbours, on when it was admitted, or on whether it was put back and recomputed on the way.
 */
#ifndef IMP_RUNTIME_ENGINE_H
#define IMP_RUNTIME_ENGINE_H

#include "imp/serve.h"
#include "runtime/guide.h"
#include "runtime/reasoning.h"
#include "runtime/runner.h"
#include "runtime/sampler.h"
#include "text/tokenizer/tokenizer.h"

typedef struct Engine Engine;

typedef struct EngineRequest {
    const int32_t *tokens; /* [n_tokens], copied; at least one */
    int32_t n_tokens;
    SamplerParams sampler;
    int32_t max_tokens;      /* 0: as many as the context holds */
    const char *const *stop; /* [n_stop], copied */
    int32_t n_stop;
    const Constraint *constraint; /* what the text must be; NULL: anything. It and the vocabulary outlive the request */
    ConstraintVocab *vocab;
    ReasoningRule reasoning; /* its markers are copied. Where the prompt has opened the block, the constraint holds from
                              * its end on */
    bool ignore_end;         /* end tokens are tokens like others */
    bool keep_special;       /* special tokens appear in the text */
    bool want_logprobs;
    int32_t n_top_logprobs; /* 0 … IMP_MAX_TOP_LOGPROBS */
    bool embedding;         /* no generation: the mean of the final hidden states, of unit length */
    int32_t n_pinned;       /* leading tokens of the prompt that are to be pinned once they are computed; 0: none */
    double pin_seconds;     /* for so long */
    int32_t priority;       /* higher goes first */
    double timeout_seconds; /* from submission to the last token; 0: none */
    ImpEventCallback *callback;
    void *user;
} EngineRequest;

typedef struct EngineOptions {
    RunnerOptions runner;
    int32_t max_waiting; /* requests queued beyond those that run */
} EngineOptions;

/* `backend` has prepared `model`; they and `tokenizer` (NULL: ids only) outlive the engine. Starts its thread. */
ImpStatus engine_create(Backend *backend, const Model *model, const Tokenizer *tokenizer, const EngineOptions *options,
                        Engine **out);
/* Cancels what is left, waits for the thread. Every accepted request has had its last event when this returns. */
void engine_free(Engine *engine);

/* Checks and queues a request. IMP_ERR_LIMIT when max_waiting are queued, IMP_ERR_CONTEXT_FULL for a prompt that can
 * never fit, IMP_ERR_INVALID_ARGUMENT for bad parameters. On success exactly one IMP_EVENT_DONE or IMP_EVENT_FAILED
 * event will come. */
ImpStatus engine_submit(Engine *engine, const EngineRequest *request, uint64_t *id);
/* The request ends with IMP_EVENT_DONE and IMP_STOP_CANCELLED within one step; nothing when it has ended. Any thread.
 */
void engine_cancel(Engine *engine, uint64_t id);

/* Refuses new requests and cancels all others, without waiting for their ends. Any thread. */
void engine_stop(Engine *engine);

/* Tokens that a prompt and its answer may have together. */
int32_t engine_context(const Engine *engine);
void engine_stats(Engine *engine, ImpEngineStats *out);

#endif
