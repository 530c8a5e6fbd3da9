/*
 * generate.c - the loop that everything else serves: compute the prompt, draw, hand out text, compute the token, again.
 *
 * The token that ends a generation is drawn but not computed: when the conversation goes on, its text is part of the
 * next prompt.
 */
#include "runtime/generate.h"

#include "core/clock.h"
#include "runtime/text_stream.h"

#include <stdlib.h>
#include <string.h>

struct Session {
    Runner *runner;
    const Tokenizer *tokenizer;
    int32_t sequence, capacity;
    int32_t n_vocab, n_drawable;
    int32_t *tokens; /* [capacity], the first n_tokens are in the sequence */
    int32_t n_tokens;
    float *logits; /* [n_vocab] */
    bool logits_valid;
    GuideWorker *guides;   /* made when a constraint first comes */
    Sampler *step_sampler; /* of session_step; has accepted all tokens */
    Progress progress;
    atomic_bool cancelled;

    GenerateResult result;
    TokenList generated;
    StrBuf text; /* all that was handed out */
};

/* ---- Life ---- */

ImpStatus session_create(Runner *runner, int32_t n_vocab, const Tokenizer *tokenizer, Session **out)
{
    ImpStatus status;
    *out = NULL;
    Session *session = calloc(1, sizeof *session);
    if (!session) return imp_fail_memory(sizeof *session);
    session->runner = runner;
    session->tokenizer = tokenizer;
    session->sequence = -1;
    session->capacity = runner_options(runner)->max_tokens;
    session->n_vocab = session->n_drawable = n_vocab;
    if (tokenizer && tokenizer_vocab_size(tokenizer) < n_vocab) session->n_drawable = tokenizer_vocab_size(tokenizer);
    session->result.stop_index = -1;
    atomic_init(&session->cancelled, false);
    session->tokens = calloc((size_t)session->capacity, sizeof *session->tokens);
    session->logits = runner_logits_alloc(runner, 1);
    strbuf_puts(&session->text, "");
    if (!session->tokens || !session->logits || session->text.failed) {
        status = imp_fail_memory((size_t)session->capacity * sizeof(int32_t) + (size_t)n_vocab * sizeof(float));
        goto fail;
    }
    IMP_GOTO(kv_sequence_open(runner_kv(runner), &session->sequence));
    *out = session;
    return IMP_OK;
fail:
    session_free(session);
    return status;
}

void session_free(Session *session)
{
    if (!session) return;
    guide_worker_free(session->guides);
    if (session->sequence >= 0) kv_sequence_close(runner_kv(session->runner), session->sequence);
    sampler_free(session->step_sampler);
    token_list_free(&session->generated);
    strbuf_free(&session->text);
    free(session->tokens);
    runner_logits_free(session->runner, session->logits);
    free(session);
}

void session_watch(Session *session, const Progress *progress) { session->progress = *progress; }
atomic_bool *session_cancel_flag(Session *session) { return &session->cancelled; }

const int32_t *session_tokens(const Session *session, int32_t *n_tokens)
{
    *n_tokens = session->n_tokens;
    return session->tokens;
}

int32_t session_capacity(const Session *session) { return session->capacity; }
int32_t session_sequence(const Session *session) { return session->sequence; }
const GenerateResult *session_result(const Session *session) { return &session->result; }

const char *session_text(const Session *session, size_t *length)
{
    *length = session->text.length;
    return session->text.data;
}

const int32_t *session_generated(const Session *session, int32_t *n_tokens)
{
    *n_tokens = (int32_t)session->generated.count;
    return session->generated.ids;
}

float *session_logits(Session *session) { return session->logits_valid ? session->logits : NULL; }

/* ---- Tokens in ---- */

static void drop_logits(Session *session)
{
    sampler_free(session->step_sampler);
    session->step_sampler = NULL;
    session->logits_valid = false;
}

static void cut(Session *session, int32_t n_tokens)
{
    drop_logits(session);
    session->n_tokens = kv_sequence_rewind(runner_kv(session->runner), session->sequence, n_tokens);
}

int32_t session_truncate(Session *session, int32_t n_tokens)
{
    if (n_tokens < session->n_tokens) cut(session, n_tokens > 0 ? n_tokens : 0);
    return session->n_tokens;
}

void session_reset(Session *session) { cut(session, 0); }

static bool on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    Session *session = user;
    if (atomic_load(&session->cancelled)) return false;
    return !session->progress.callback || session->progress.callback(session->progress.user, what, done, total);
}

bool session_report(Session *session, uint64_t done, uint64_t total)
{
    return on_progress(session, "prompt", done, total);
}

/* `report`: a prompt, which is watched and can be cancelled between its chunks. `draw`: what a backend that draws is to
 * do behind it; without one the logits are wanted. */
static ImpStatus feed(Session *session, const int32_t *tokens, int32_t n_tokens, StepDraw *draw, bool report)
{
    if (n_tokens > session->capacity - session->n_tokens)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "%d tokens do not fit: the context holds %d, of which %d are taken",
                        (int)n_tokens, (int)session->capacity, (int)session->n_tokens);
    const Progress progress = {on_progress, session};
    session->logits_valid = false;
    const ImpStatus status = runner_prefill(session->runner, session->sequence, tokens, n_tokens, session->logits, draw,
                                            report ? &progress : NULL);
    /* A prompt that failed on its way has left its first chunks. */
    const int32_t n_now = kv_sequence_length(runner_kv(session->runner), session->sequence);
    for (int32_t i = 0; session->n_tokens < n_now; i++) {
        session->tokens[session->n_tokens++] = tokens[i];
        if (session->step_sampler) sampler_accept(session->step_sampler, tokens[i]);
    }
    session->logits_valid = status == IMP_OK && n_tokens > 0 && (!draw || draw->result.token == SAMPLE_UNDONE);
    return status;
}

static ImpStatus check_count(int32_t n_tokens)
{
    if (n_tokens > 0) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the prompt has no tokens");
}

ImpStatus session_feed(Session *session, const int32_t *tokens, int32_t n_tokens)
{
    IMP_TRY(check_count(n_tokens));
    atomic_store(&session->cancelled, false);
    return feed(session, tokens, n_tokens, NULL, true);
}

/* Makes the sequence hold exactly `tokens` with their logits or a draw from them, out of what it holds already. */
static ImpStatus hold(Session *session, const int32_t *tokens, int32_t n_tokens, StepDraw *draw)
{
    if (n_tokens > session->capacity)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "the prompt has %d tokens, but the context holds %d", (int)n_tokens,
                        (int)session->capacity);
    const bool same = n_tokens == session->n_tokens && session->logits_valid &&
                      memcmp(tokens, session->tokens, (size_t)n_tokens * sizeof *tokens) == 0;
    if (!same) {
        drop_logits(session);
        session->n_tokens = runner_start(session->runner, session->sequence, tokens, n_tokens);
        memmove(session->tokens, tokens, (size_t)session->n_tokens * sizeof *tokens);
    }
    session->result.reused_tokens = session->n_tokens;
    const int32_t n_new = n_tokens - session->result.reused_tokens;
    return n_new > 0 ? feed(session, tokens + session->result.reused_tokens, n_new, draw, true) : IMP_OK;
}

/* ---- Tokens out ---- */

static ImpStatus check_drawn(int32_t token)
{
    if (token >= 0) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                    "no token is left to draw: all are banned, or the model's logits are not numbers");
}

static ImpStatus draw(Session *session, Sampler *sampler, const uint32_t *allowed, int32_t *token)
{
    session->logits_valid = false;
    *token = sampler_draw(sampler, session->logits, allowed, session->n_tokens);
    return check_drawn(*token);
}

/* A sampler that has seen `tokens`. */
static ImpStatus create_sampler(const Session *session, const SamplerParams *params, const int32_t *tokens,
                                int32_t n_tokens, Sampler **out)
{
    IMP_TRY(sampler_create(params, session->n_drawable, session->capacity, out));
    for (int32_t i = 0; i < n_tokens; i++) sampler_accept(*out, tokens[i]);
    return IMP_OK;
}

ImpStatus session_step(Session *session, const SamplerParams *params, int32_t *token)
{
    if (!session->logits_valid)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "no logits are in reach: nothing was computed since the last draw");
    if (!session->step_sampler || !sampler_has_params(session->step_sampler, params)) {
        sampler_free(session->step_sampler);
        session->step_sampler = NULL;
        IMP_TRY(create_sampler(session, params, session->tokens, session->n_tokens, &session->step_sampler));
    }
    IMP_TRY(draw(session, session->step_sampler, NULL, token));
    return feed(session, token, 1, NULL, false);
}

/* ---- Text out ---- */

/* The parts of one generation. */
typedef struct Output {
    Session *session;
    const GenerateOptions *options;
    Sampler *sampler;
    TextStream stream;
    Guide guide;
    Reasoning reasoning;
    StepDraw draw;    /* by a backend that draws: the token behind what was computed last */
    int32_t position; /* of the token that is drawn next */
} Output;

/* NULL: the backend does not draw. */
static StepDraw *drawing(Output *output) { return runner_draws(output->session->runner) ? &output->draw : NULL; }

/* Called while the backend computes what comes before the draw: masks are made meanwhile. */
static ImpStatus describe(void *user, SampleRow *row)
{
    Output *output = user;
    const uint32_t *allowed;
    *row = (SampleRow){.kind = SAMPLE_NOTHING};
    if (reasoning_forced(&output->reasoning) >= 0) return IMP_OK;
    IMP_TRY(guide_allowed(&output->guide, &allowed));
    if (!sampler_describe(output->sampler, allowed, output->position, row)) *row = (SampleRow){.kind = SAMPLE_NOTHING};
    return IMP_OK;
}

/* For a generation behind `tokens`, which may have yet to be computed. */
static ImpStatus output_open(Output *output, const int32_t *tokens, int32_t n_tokens)
{
    Session *session = output->session;
    const GenerateOptions *options = output->options;
    output->draw = (StepDraw){.describe = describe, .user = output, .result.token = SAMPLE_UNDONE};
    output->position = n_tokens;
    if (options->constraint != NULL && session->guides == NULL) IMP_TRY(guide_worker_create(&session->guides));
    IMP_TRY(
        text_stream_open(&output->stream, session->tokenizer, options->keep_special, options->stop, options->n_stop));
    IMP_TRY(guide_open(&output->guide, options->constraint, options->vocab));
    if (options->constraint == NULL)
        IMP_TRY(reasoning_begin(&output->reasoning, &options->reasoning, session->tokenizer));
    return create_sampler(session, &options->sampler, tokens, n_tokens, &output->sampler);
}

static void output_close(Output *output)
{
    text_stream_close(&output->stream);
    guide_close(&output->guide);
    sampler_free(output->sampler);
}

/* Hands out what was appended to the text behind `from`; false when the callback wants no more. */
static bool hand_out(Output *output, size_t from)
{
    const StrBuf *text = &output->session->text;
    if (text->length == from || !output->options->on_text) return true;
    return output->options->on_text(output->options->user, text->data + from, text->length - from);
}

static void found_stop(GenerateResult *result, int32_t index)
{
    result->stop_reason = IMP_STOP_STRING;
    result->stop_index = index;
}

static ImpStatus put_token(Output *output, int32_t token)
{
    Session *session = output->session;
    const size_t from = session->text.length;
    int32_t found;
    IMP_TRY(text_stream_push(&output->stream, token, &session->text, &found));
    if (!hand_out(output, from)) session->result.stop_reason = IMP_STOP_CALLBACK;
    if (found >= 0) found_stop(&session->result, found);
    return IMP_OK;
}

/* What was held back belongs to the text, unless it is cut. What the callback says of it matters no more. */
static ImpStatus put_end(Output *output)
{
    Session *session = output->session;
    const ImpStopReason reason = session->result.stop_reason;
    const size_t from = session->text.length;
    int32_t found;
    if (reason == IMP_STOP_STRING || reason == IMP_STOP_CALLBACK) return IMP_OK;
    IMP_TRY(text_stream_finish(&output->stream, &session->text, &found));
    (void)hand_out(output, from);
    if (found >= 0) found_stop(&session->result, found);
    return IMP_OK;
}

/* ---- The loop ---- */

/* A token that is no end: it counts, its text goes out, and the generation may end with it. */
static ImpStatus take(Output *output, int32_t token)
{
    GenerateResult *result = &output->session->result;
    const int32_t max_tokens = output->options->max_tokens;
    sampler_accept(output->sampler, token);
    IMP_TRY(guide_accept(&output->guide, token));
    reasoning_accept(&output->reasoning, output->session->tokenizer, token);
    result->generated_tokens++;
    IMP_TRY(put_token(output, token));
    if (result->stop_reason != IMP_STOP_NONE) return IMP_OK;
    if (guide_finished(&output->guide))
        result->stop_reason = IMP_STOP_END;
    else if (max_tokens > 0 && result->generated_tokens >= max_tokens)
        result->stop_reason = IMP_STOP_LENGTH;
    return IMP_OK;
}

/* The next token: one that closes a block of reasoning, or drawn by the backend, or from the logits. */
static ImpStatus draw_next(Output *output, int32_t *token)
{
    const uint32_t *allowed;
    *token = reasoning_forced(&output->reasoning);
    if (*token >= 0) return IMP_OK;
    if (output->draw.result.token != SAMPLE_UNDONE) {
        *token = sampler_take(output->sampler, &output->draw.result);
        output->draw.result.token = SAMPLE_UNDONE;
        return check_drawn(*token);
    }
    IMP_TRY(guide_allowed(&output->guide, &allowed));
    return draw(output->session, output->sampler, allowed, token);
}

/* Draws one token, and takes with it those that a constraint leaves no choice about; computes them all in one step,
 * unless something ends the generation there. */
static ImpStatus generate_one(Output *output)
{
    Session *session = output->session;
    GenerateResult *result = &session->result;
    int32_t tokens[1 + GUIDE_MAX_FORCED];
    size_t count = 1;
    IMP_TRY(draw_next(output, &tokens[0]));
    IMP_TRY(token_list_push(&session->generated, tokens[0]));
    if (!output->options->ignore_end && session->tokenizer && tokenizer_is_end(session->tokenizer, tokens[0])) {
        result->stop_reason = IMP_STOP_END;
        return IMP_OK;
    }
    IMP_TRY(take(output, tokens[0]));
    if (result->stop_reason == IMP_STOP_NONE) count += guide_forced(&output->guide, tokens + 1, GUIDE_MAX_FORCED);
    for (size_t i = 1; i < count && result->stop_reason == IMP_STOP_NONE; i++) {
        IMP_TRY(token_list_push(&session->generated, tokens[i]));
        IMP_TRY(take(output, tokens[i]));
        result->forced_tokens++;
    }
    if (result->stop_reason != IMP_STOP_NONE) return IMP_OK;
    guide_prepare(&output->guide, session->guides);
    const bool fits = (int32_t)count <= session->capacity - session->n_tokens;
    output->position += (int32_t)count;
    const ImpStatus status =
        fits ? feed(session, tokens, (int32_t)count, drawing(output), false) : IMP_ERR_CONTEXT_FULL;
    if (status == IMP_ERR_CONTEXT_FULL) {
        result->stop_reason = IMP_STOP_CONTEXT;
        return IMP_OK;
    }
    return status;
}

static ImpStatus generate_all(Output *output)
{
    Session *session = output->session;
    while (session->result.stop_reason == IMP_STOP_NONE) {
        if (atomic_load(&session->cancelled))
            session->result.stop_reason = IMP_STOP_CANCELLED;
        else
            IMP_TRY(generate_one(output));
    }
    IMP_TRY(put_end(output));
    if (session->result.stop_reason == IMP_STOP_CANCELLED)
        return imp_fail(IMP_ERR_CANCELLED, "the generation was cancelled after %d tokens",
                        (int)session->result.generated_tokens);
    return IMP_OK;
}

ImpStatus session_generate(Session *session, const int32_t *tokens, int32_t n_tokens, const GenerateOptions *options)
{
    Output output = {.session = session, .options = options};
    ImpStatus status;
    session->result = (GenerateResult){.prompt_tokens = n_tokens, .stop_index = -1};
    session->generated.count = 0;
    strbuf_clear(&session->text);
    atomic_store(&session->cancelled, false);
    IMP_TRY(check_count(n_tokens));
    if (options->max_tokens < 0)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "max_tokens is %d, but must be at least 0", (int)options->max_tokens);

    const double start = clock_seconds();
    IMP_GOTO(output_open(&output, tokens, n_tokens));
    guide_prepare(&output.guide, session->guides);
    status = hold(session, tokens, n_tokens, drawing(&output));
    const double computed = clock_seconds();
    session->result.prompt_seconds = computed - start;
    if (status == IMP_ERR_CANCELLED) session->result.stop_reason = IMP_STOP_CANCELLED;
    if (status != IMP_OK) goto fail;
    status = generate_all(&output);
    session->result.generate_seconds = clock_seconds() - computed;
fail:
    output_close(&output);
    return status;
}
