/*
 * engine_request.c - what a request says: tokens with their text and probabilities, and one last word.
 */
#include "runtime/engine_request.h"

#include "core/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ImpStatus check(const EngineRequest *given, int32_t n_vocab, int32_t context)
{
    if (given->n_tokens < 1) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the prompt has no tokens");
    if (given->max_tokens < 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "max_tokens must be at least 0");
    if (given->n_top_logprobs < 0 || given->n_top_logprobs > IMP_MAX_TOP_LOGPROBS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "top_logprobs must be within 0 … %d", IMP_MAX_TOP_LOGPROBS);
    for (int32_t i = 0; i < given->n_tokens; i++)
        if (given->tokens[i] < 0 || given->tokens[i] >= n_vocab)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "token id %d is outside the vocabulary of %d",
                            (int)given->tokens[i], (int)n_vocab);
    if (given->n_tokens > context)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "the prompt has %d tokens, but the context holds %d",
                        (int)given->n_tokens, (int)context);
    return IMP_OK;
}

static ImpStatus copy_stop_strings(Request *request, const EngineRequest *given)
{
    if (given->n_stop < 1) return IMP_OK;
    request->stop = calloc((size_t)given->n_stop, sizeof *request->stop);
    if (request->stop == NULL) return imp_fail_memory((size_t)given->n_stop * sizeof *request->stop);
    for (int32_t i = 0; i < given->n_stop; i++) {
        request->stop[i] = strdup(given->stop[i]);
        if (request->stop[i] == NULL) return imp_fail_memory(strlen(given->stop[i]));
    }
    request->given.stop = (const char *const *)request->stop;
    return IMP_OK;
}

ImpStatus request_create(const EngineRequest *given, const Tokenizer *tokenizer, int32_t n_vocab, int32_t n_embd,
                         int32_t context, Request **out)
{
    *out = NULL;
    IMP_TRY(check(given, n_vocab, context));
    Request *request = calloc(1, sizeof *request);
    if (request == NULL) return imp_fail_memory(sizeof *request);
    ImpStatus status = IMP_OK;
    request->given = *given;
    request->tokenizer = tokenizer;
    request->sequence = -1;
    request->submitted = clock_seconds();
    atomic_init(&request->cancelled, false);
    const int64_t wanted = given->max_tokens > 0 ? (int64_t)given->n_tokens + given->max_tokens : context;
    request->capacity = wanted < context ? (int32_t)wanted : context;
    request->tokens = malloc((size_t)request->capacity * sizeof *request->tokens);
    if (request->tokens == NULL) status = imp_fail_memory((size_t)request->capacity * sizeof(int32_t));
    if (status == IMP_OK) {
        memcpy(request->tokens, given->tokens, (size_t)given->n_tokens * sizeof *request->tokens);
        request->n_tokens = given->n_tokens;
        request->given.tokens = request->tokens;
        status = copy_stop_strings(request, given);
    }
    if (status == IMP_OK && given->embedding) {
        request->embedding = calloc((size_t)n_embd, sizeof *request->embedding);
        if (request->embedding == NULL) status = imp_fail_memory((size_t)n_embd * sizeof(float));
    }
    if (status == IMP_OK && given->want_logprobs) {
        request->raw_logits = malloc((size_t)n_vocab * sizeof *request->raw_logits);
        if (request->raw_logits == NULL) status = imp_fail_memory((size_t)n_vocab * sizeof(float));
    }
    if (status == IMP_OK) status = sampler_create(&given->sampler, n_vocab, context, &request->sampler);
    if (status == IMP_OK)
        status = text_stream_open(&request->stream, tokenizer, given->keep_special, request->given.stop, given->n_stop);
    if (status == IMP_OK) status = guide_open(&request->guide, given->constraint, given->vocab);
    /* What must be a constraint's from its first token has no block of its own before it. */
    if (status == IMP_OK && (given->constraint == NULL || given->reasoning.inside))
        status = reasoning_begin(&request->reasoning, &given->reasoning, tokenizer);
    request->given.reasoning = (ReasoningRule){0};
    if (status != IMP_OK) {
        request_free(request);
        return status;
    }
    /* The sampler copied its lists; what it was given may go. */
    request->given.sampler = (SamplerParams){0};
    for (int32_t i = 0; i < given->n_tokens; i++) sampler_accept(request->sampler, given->tokens[i]);
    *out = request;
    return IMP_OK;
}

void request_free(Request *request)
{
    if (request == NULL) return;
    for (int32_t i = 0; request->stop != NULL && i < request->given.n_stop; i++) free(request->stop[i]);
    free(request->stop);
    free(request->tokens);
    free(request->embedding);
    free(request->raw_logits);
    sampler_free(request->sampler);
    text_stream_close(&request->stream);
    guide_close(&request->guide);
    strbuf_free(&request->text);
    free(request);
}

/* ---- probabilities ---- */

static float log_sum_exp(const float *logits, int32_t n_vocab)
{
    float highest = -INFINITY;
    for (int32_t i = 0; i < n_vocab; i++) highest = logits[i] > highest ? logits[i] : highest;
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - highest);
    return highest + (float)log(sum);
}

/* The n most likely, best first; ties by the lower id. */
static int32_t top_logprobs(const float *logits, int32_t n_vocab, int32_t n, ImpTokenLogprob *top)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        if (n == 0 || (count == n && !(logits[i] > top[count - 1].logprob))) continue;
        int32_t at = count < n ? count++ : n - 1;
        for (; at > 0 && logits[i] > top[at - 1].logprob; at--) top[at] = top[at - 1];
        top[at] = (ImpTokenLogprob){i, logits[i]};
    }
    return count;
}

/* ---- events ---- */

static ImpEvent new_event(const Request *request, ImpEventKind kind)
{
    ImpEvent event = {.kind = kind,
                      .stop_index = -1,
                      .text = "",
                      .prompt_tokens = request->given.n_tokens,
                      .cached_tokens = request->n_cached,
                      .generated_tokens = request->n_generated,
                      .reasoning_tokens = request->reasoning.n_tokens,
                      .pinned_tokens = request->n_pinned};
    if (request->text.length > 0) {
        event.text = request->text.data;
        event.text_length = request->text.length;
    }
    const double now = clock_seconds();
    const double started = request->started > 0 ? request->started : now;
    const double prompt_done = request->prompt_done > 0 ? request->prompt_done : now;
    event.queue_seconds = started - request->submitted;
    event.prompt_seconds = prompt_done - started;
    event.generate_seconds = now - prompt_done;
    return event;
}

/* What came of a draw. */
typedef struct Drawn {
    int32_t token;
    float logprob;
    ImpTokenLogprob top[IMP_MAX_TOP_LOGPROBS];
    int32_t n_top;
} Drawn;

static bool is_end(const Request *request, int32_t token)
{
    return !request->given.ignore_end && request->tokenizer != NULL && tokenizer_is_end(request->tokenizer, token);
}

/* The next token; -1: there is none. A block of reasoning whose budget is spent closes; one that a constraint waits
 * behind closes also in place of the answer's end, and of a token that says more behind the block than its end. */
static ImpStatus choose_token(Request *request, const SampleResult *sampled, float *logits, int32_t *token)
{
    Reasoning *reasoning = &request->reasoning;
    const bool inside = reasoning_is_inside(reasoning);
    const uint32_t *allowed = NULL;
    *token = reasoning_forced(reasoning);
    if (*token >= 0) return IMP_OK;
    if (sampled->token != SAMPLE_UNDONE) {
        *token = sampler_take(request->sampler, sampled);
    } else {
        if (!inside) IMP_TRY(guide_allowed(&request->guide, &allowed));
        *token = sampler_draw(request->sampler, logits, allowed, request->n_tokens);
    }
    if (*token < 0 || !inside || request->given.constraint == NULL) return IMP_OK;
    if (is_end(request, *token) || reasoning_spills(reasoning, request->tokenizer, *token)) {
        reasoning_end(reasoning);
        *token = reasoning_forced(reasoning);
    }
    return IMP_OK;
}

void request_describe(Request *request, float *logits, SampleRow *row)
{
    Reasoning *reasoning = &request->reasoning;
    const uint32_t *allowed = NULL;
    *row = (SampleRow){.kind = SAMPLE_NOTHING};
    if (request->given.want_logprobs) {
        *row = (SampleRow){.kind = SAMPLE_LOGITS, .logits = logits};
        return;
    }
    if (reasoning_forced(reasoning) >= 0) return;
    /* What goes wrong with a mask will do so again, and be told, in request_draw. */
    if (!reasoning_is_inside(reasoning) && guide_allowed(&request->guide, &allowed) != IMP_OK) return;
    if (!sampler_describe(request->sampler, allowed, request->n_tokens, row))
        *row = (SampleRow){.kind = SAMPLE_LOGITS, .logits = logits};
}

static ImpStatus draw(Request *request, const SampleResult *sampled, float *logits, int32_t n_vocab, Drawn *out)
{
    float normalizer = 0;
    out->n_top = 0;
    if (request->given.want_logprobs) {
        normalizer = log_sum_exp(logits, n_vocab);
        out->n_top = top_logprobs(logits, n_vocab, request->given.n_top_logprobs, out->top);
        for (int32_t i = 0; i < out->n_top; i++) out->top[i].logprob -= normalizer;
        memcpy(request->raw_logits, logits, (size_t)n_vocab * sizeof *logits);
    }
    IMP_TRY(choose_token(request, sampled, logits, &out->token));
    if (out->token < 0)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                        "no token is left to draw: all are banned, or the model's logits are not numbers");
    out->logprob = request->raw_logits != NULL ? request->raw_logits[out->token] - normalizer : 0;
    return IMP_OK;
}

/* Puts a token behind the others and emits it with its text; *reason says whether the request ends with it. */
static ImpStatus take(Request *request, const Drawn *drawn, ImpStopReason *reason, int32_t *stop_index)
{
    sampler_accept(request->sampler, drawn->token);
    if (!reasoning_is_inside(&request->reasoning)) IMP_TRY(guide_accept(&request->guide, drawn->token));
    reasoning_accept(&request->reasoning, request->tokenizer, drawn->token);
    request->n_generated++;
    strbuf_clear(&request->text);
    IMP_TRY(text_stream_push(&request->stream, drawn->token, &request->text, stop_index));
    ImpEvent event = new_event(request, IMP_EVENT_TOKEN);
    event.token = drawn->token;
    event.logprob = drawn->logprob;
    event.top = drawn->top;
    event.n_top = drawn->n_top;
    request->given.callback(request->given.user, &event);
    if (*stop_index >= 0)
        *reason = IMP_STOP_STRING;
    else if (!reasoning_is_inside(&request->reasoning) && guide_finished(&request->guide))
        *reason = IMP_STOP_END;
    else if (request->given.max_tokens > 0 && request->n_generated >= request->given.max_tokens)
        *reason = IMP_STOP_LENGTH;
    else if (request->n_tokens >= request->capacity)
        *reason = IMP_STOP_CONTEXT;
    else
        request->tokens[request->n_tokens++] = drawn->token;
    return IMP_OK;
}

/* Tokens that must come next are taken without asking the model; it computes them all in its next step. Where
 * probabilities are wanted each token needs its own. */
static ImpStatus take_forced(Request *request, ImpStopReason *reason, int32_t *stop_index)
{
    int32_t tokens[GUIDE_MAX_FORCED];
    if (request->given.want_logprobs || reasoning_is_inside(&request->reasoning)) return IMP_OK;
    const size_t count = guide_forced(&request->guide, tokens, GUIDE_MAX_FORCED);
    for (size_t i = 0; i < count && *reason == IMP_STOP_NONE; i++)
        IMP_TRY(take(request, &(Drawn){.token = tokens[i]}, reason, stop_index));
    return IMP_OK;
}

ImpStatus request_draw(Request *request, const SampleResult *sampled, float *logits, int32_t n_vocab,
                       ImpStopReason *reason, int32_t *stop_index)
{
    Drawn drawn;
    *reason = IMP_STOP_NONE;
    *stop_index = -1;
    IMP_TRY(draw(request, sampled, logits, n_vocab, &drawn));
    if (is_end(request, drawn.token)) {
        *reason = IMP_STOP_END;
        return IMP_OK;
    }
    IMP_TRY(take(request, &drawn, reason, stop_index));
    return *reason == IMP_STOP_NONE ? take_forced(request, reason, stop_index) : IMP_OK;
}

void request_finish(Request *request, ImpStopReason reason, int32_t stop_index)
{
    int32_t late = -1;
    strbuf_clear(&request->text);
    if (reason != IMP_STOP_STRING && !request->given.embedding)
        (void)text_stream_finish(&request->stream, &request->text, &late);
    ImpEvent event = new_event(request, IMP_EVENT_DONE);
    event.stop_reason = late >= 0 ? IMP_STOP_STRING : reason;
    event.stop_index = late >= 0 ? late : stop_index;
    if (reason == IMP_STOP_END || reason == IMP_STOP_LENGTH) event.embedding = request->embedding;
    request->given.callback(request->given.user, &event);
}

void request_fail(Request *request, ImpStatus status, const char *error)
{
    strbuf_clear(&request->text);
    ImpEvent event = new_event(request, IMP_EVENT_FAILED);
    event.status = status;
    event.error = error;
    request->given.callback(request->given.user, &event);
}

void request_add_hidden(Request *request, const float *rows, int32_t n_rows, int32_t width)
{
    for (int32_t row = 0; row < n_rows; row++)
        for (int32_t i = 0; i < width; i++) request->embedding[i] += rows[(size_t)row * (size_t)width + (size_t)i];
}

void request_embed(Request *request, int32_t width)
{
    double squares = 0;
    for (int32_t i = 0; i < width; i++) squares += (double)request->embedding[i] * (double)request->embedding[i];
    const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int32_t i = 0; i < width; i++) request->embedding[i] *= scale;
    request_finish(request, IMP_STOP_LENGTH, -1);
}
