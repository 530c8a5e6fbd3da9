/*
 * engine_request.h - one request inside the engine, from the queue to its last event.
 */
#ifndef IMP_RUNTIME_ENGINE_REQUEST_H
#define IMP_RUNTIME_ENGINE_REQUEST_H

#include "runtime/engine.h"
#include "runtime/text_stream.h"

#include <stdatomic.h>

typedef struct Request {
    struct Request *next;       /* of the list that it is in */
    uint64_t id, admitted;      /* admitted: order of admission */
    EngineRequest given;        /* its pointers are the request's own copies */
    const Tokenizer *tokenizer; /* NULL: ids only */
    char **stop;
    int32_t *tokens; /* [capacity]: prompt, then what was generated */
    int32_t n_tokens, capacity;
    int32_t sequence; /* -1 while it waits */
    int32_t n_generated, n_cached, n_pinned;
    bool resumed; /* was put back: its tokens are recomputed, its text goes on */
    Sampler *sampler;
    TextStream stream;
    Guide guide;
    Reasoning reasoning;
    StrBuf text;       /* of the current event */
    float *raw_logits; /* [n_vocab] as the model gave them, where probabilities are wanted */
    float *embedding;  /* [n_embd] sums of an embedding request */
    atomic_bool cancelled;
    double submitted, started, prompt_done; /* clock_seconds */
} Request;

/* Copies everything that the engine will need. n_vocab: of drawable tokens; context: tokens of one sequence. */
ImpStatus request_create(const EngineRequest *given, const Tokenizer *tokenizer, int32_t n_vocab, int32_t n_embd,
                         int32_t context, Request **out);
void request_free(Request *request);

/* What a backend that draws is to do with the logits behind the request's last token; `logits` is where they go if the
 * host wants them. */
void request_describe(Request *request, float *logits, SampleRow *row);
/* Takes the token that the backend drew, or draws it from `logits` (changed in place; not read where there is no choice)
 * when `sampled` is undone; emits it, and says in *reason whether the request ends with it. An end token is not emitted. */
ImpStatus request_draw(Request *request, const SampleResult *sampled, float *logits, int32_t n_vocab,
                       ImpStopReason *reason, int32_t *stop_index);

/* The last events. */
void request_finish(Request *request, ImpStopReason reason, int32_t stop_index);
void request_fail(Request *request, ImpStatus status, const char *error);

/* Adds `n_rows` rows of final hidden states; when the prompt is whole, request_embed emits their mean. */
void request_add_hidden(Request *request, const float *rows, int32_t n_rows, int32_t width);
void request_embed(Request *request, int32_t width);

#endif
