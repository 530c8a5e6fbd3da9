/*
 * api_inspect.c - logits of every token, perplexity, and steps over several sequences: straight onto the runner.
 */
#include "api/api.h"

#include "runtime/sampler_select.h"

#include <math.h>
#include <stdlib.h>

enum { PERPLEXITY_WINDOW = 512 };

/* ---- Every token's logits ---- */

static ImpStatus report(ImpContext context, int32_t done, int32_t total)
{
    if (session_report(context->session, (uint64_t)done, (uint64_t)total)) return IMP_OK;
    return imp_fail(IMP_ERR_CANCELLED, "cancelled after %d of %d", (int)done, (int)total);
}

static void begin(ImpContext context)
{
    session_reset(context->session);
    atomic_store(session_cancel_flag(context->session), false);
}

/* Rows of logits for a slice, as many as one step gives. */
static ImpStatus create_slice(ImpContext context, int32_t n_tokens, int32_t *n_rows, float **logits)
{
    const RunnerOptions *options = runner_options(context->runner);
    const int32_t n_vocab = context->model->model->n_vocab;
    *n_rows = options->max_logits < options->chunk ? options->max_logits : options->chunk;
    if (*n_rows > n_tokens) *n_rows = n_tokens;
    *logits = calloc((size_t)*n_rows, (size_t)n_vocab * sizeof **logits);
    return *logits ? IMP_OK : imp_fail_memory((size_t)*n_rows * (size_t)n_vocab * sizeof **logits);
}

static ImpStatus step_slice(ImpContext context, const int32_t *tokens, int32_t n_tokens, float *logits)
{
    const StepInput input = {
        .sequence = session_sequence(context->session), .tokens = tokens, .n_tokens = n_tokens, .n_logits = n_tokens};
    return runner_step(context->runner, &input, 1, logits);
}

static ImpStatus evaluate(ImpContext context, const int32_t *tokens, int32_t n_tokens, ImpLogitsCallback *callback,
                          void *user)
{
    const int32_t n_vocab = context->model->model->n_vocab;
    float *logits = NULL;
    int32_t n_rows;
    ImpStatus status;
    IMP_GOTO(create_slice(context, n_tokens, &n_rows, &logits));
    for (int32_t done = 0; done < n_tokens;) {
        const int32_t count = n_tokens - done < n_rows ? n_tokens - done : n_rows;
        IMP_GOTO(step_slice(context, tokens + done, count, logits));
        if (!callback(user, done, count, n_vocab, logits))
            IMP_GOTO(imp_fail(IMP_ERR_CANCELLED, "cancelled after %d of %d", (int)done, (int)n_tokens));
        done += count;
        IMP_GOTO(report(context, done, n_tokens));
    }
fail:
    free(logits);
    return status;
}

ImpStatus imp_evaluate(ImpContext context, const int32_t *tokens, int32_t n_tokens, ImpLogitsCallback *callback,
                       void *user)
{
    API_REQUIRE(context);
    API_REQUIRE(tokens);
    API_REQUIRE(callback);
    if (n_tokens < 1) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there are no tokens to evaluate");
    if (n_tokens > session_capacity(context->session))
        return imp_fail(IMP_ERR_CONTEXT_FULL, "there are %d tokens, but the context holds %d", (int)n_tokens,
                        (int)session_capacity(context->session));
    begin(context);
    const ImpStatus status = evaluate(context, tokens, n_tokens, callback, user);
    session_reset(context->session);
    return status;
}

ImpStatus imp_watch_layers(ImpContext context, ImpLayerCallback *callback, void *user)
{
    API_REQUIRE(context);
    return forward_watch(runner_forward(context->runner), callback, user);
}

/* ---- Perplexity ---- */

typedef struct Score {
    Arena arena;
    Selection selection;
    float *logits; /* [n_rows][n_vocab] */
    int32_t n_rows;
    int32_t *window; /* [n_window] tokens, the first perhaps BOS */
    int32_t n_window;
    double sum; /* of -ln p */
    int64_t n_scored;
} Score;

/* Scores tokens window[first + 1 …] by the logits of window[first …]. */
static void score_rows(Score *score, int32_t n_vocab, int32_t first, int32_t n_rows)
{
    for (int32_t row = 0; row < n_rows; row++) {
        float *logits = score->logits + (size_t)row * (size_t)n_vocab;
        selection_begin(&score->selection, logits);
        const double log_sum = selection_log_sum(&score->selection) + (double)selection_max(&score->selection);
        score->sum += log_sum - (double)logits[score->window[first + row + 1]];
        score->n_scored++;
    }
}

/* The first half is computed without logits; the last token's logits would score nothing and are not computed. */
static ImpStatus score_window(ImpContext context, Score *score)
{
    const int32_t n_vocab = context->model->model->n_vocab;
    const int32_t first_scored = score->n_window / 2;
    int32_t done = first_scored - 1;
    session_reset(context->session);
    if (done > 0)
        IMP_TRY(runner_prefill(context->runner, session_sequence(context->session), score->window, done, NULL, NULL, NULL));
    while (done < score->n_window - 1) {
        const int32_t left = score->n_window - 1 - done;
        const int32_t count = left < score->n_rows ? left : score->n_rows;
        IMP_TRY(step_slice(context, score->window + done, count, score->logits));
        score_rows(score, n_vocab, done, count);
        done += count;
    }
    return IMP_OK;
}

static ImpStatus score_text(ImpContext context, Score *score, const int32_t *tokens, int32_t n_windows)
{
    const Tokenizer *tokenizer = context->model->tokenizer;
    const bool adds_bos = tokenizer && tokenizer_adds_bos(tokenizer) && tokenizer_bos(tokenizer) >= 0;
    const int32_t n_vocab = context->model->model->n_vocab;
    IMP_TRY(selection_init(&score->selection, n_vocab, &score->arena));
    IMP_TRY(create_slice(context, score->n_window, &score->n_rows, &score->logits));
    score->window = arena_alloc(&score->arena, (size_t)score->n_window, sizeof *score->window);
    if (!score->window) return imp_fail_memory((size_t)score->n_window * sizeof *score->window);
    for (int32_t w = 0; w < n_windows; w++) {
        for (int32_t i = 0; i < score->n_window; i++) {
            score->window[i] = tokens[(size_t)w * (size_t)score->n_window + (size_t)i];
            if (score->window[i] < 0 || score->window[i] >= n_vocab)
                return imp_fail(IMP_ERR_INVALID_ARGUMENT, "token id %d is outside the vocabulary of %d",
                                (int)score->window[i], (int)n_vocab);
        }
        if (adds_bos) score->window[0] = tokenizer_bos(tokenizer);
        IMP_TRY(score_window(context, score));
        IMP_TRY(report(context, w + 1, n_windows));
    }
    return IMP_OK;
}

static ImpStatus check_window(ImpContext context, size_t n_tokens, int32_t *window)
{
    const int32_t capacity = session_capacity(context->session);
    if (*window == 0) *window = capacity < PERPLEXITY_WINDOW ? capacity : PERPLEXITY_WINDOW;
    if (*window < 2 || *window > capacity)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a window of %d tokens was asked for, 2 to %d are possible",
                        (int)*window, (int)capacity);
    if (n_tokens < (size_t)*window || n_tokens / (size_t)*window > INT32_MAX)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a text of %zu tokens has no window of %d", n_tokens, (int)*window);
    return IMP_OK;
}

ImpStatus imp_perplexity(ImpContext context, const int32_t *tokens, size_t n_tokens, int32_t window,
                         ImpPerplexity *result)
{
    API_REQUIRE(context);
    API_REQUIRE(tokens);
    API_REQUIRE(result);
    IMP_TRY(check_window(context, n_tokens, &window));
    const int32_t n_windows = (int32_t)(n_tokens / (size_t)window);
    Score score = {.n_window = window};
    begin(context);
    const ImpStatus status = score_text(context, &score, tokens, n_windows);
    session_reset(context->session);
    free(score.logits);
    arena_free(&score.arena);
    IMP_TRY(status);
    const double mean = score.sum / (double)score.n_scored;
    const ImpPerplexity value = {
        .perplexity = exp(mean), .mean_nll = mean, .n_scored = score.n_scored, .n_windows = n_windows};
    return api_write_sized(result, &value, sizeof value, "ImpPerplexity");
}

/* ---- Several sequences ---- */

static ImpStatus check_sequence(ImpContext context, int32_t sequence)
{
    if (sequence >= 0 && sequence < runner_options(context->runner)->max_sequences && context->open_sequences[sequence])
        return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d is no sequence that imp_sequence_open gave out", (int)sequence);
}

ImpStatus imp_sequence_open(ImpContext context, int32_t *sequence)
{
    API_REQUIRE(sequence);
    *sequence = -1;
    API_REQUIRE(context);
    IMP_TRY(kv_sequence_open(runner_kv(context->runner), sequence));
    context->open_sequences[*sequence] = true;
    return IMP_OK;
}

ImpStatus imp_sequence_close(ImpContext context, int32_t sequence)
{
    API_REQUIRE(context);
    IMP_TRY(check_sequence(context, sequence));
    kv_sequence_close(runner_kv(context->runner), sequence);
    context->open_sequences[sequence] = false;
    return IMP_OK;
}

int32_t imp_sequence_length(ImpContext context, int32_t sequence)
{
    if (!context || check_sequence(context, sequence) != IMP_OK) return -1;
    return kv_sequence_length(runner_kv(context->runner), sequence);
}

ImpStatus imp_sequence_truncate(ImpContext context, int32_t sequence, int32_t n_tokens, int32_t *kept)
{
    API_REQUIRE(context);
    IMP_TRY(check_sequence(context, sequence));
    KvCache *kv = runner_kv(context->runner);
    if (n_tokens < 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d tokens cannot be kept", (int)n_tokens);
    int32_t length = kv_sequence_length(kv, sequence);
    if (n_tokens < length) length = kv_sequence_rewind(kv, sequence, n_tokens);
    if (kept) *kept = length;
    return IMP_OK;
}

static ImpStatus check_inputs(ImpContext context, const ImpStepInput *inputs, int32_t n_inputs)
{
    for (int32_t i = 0; i < n_inputs; i++) {
        IMP_TRY(check_sequence(context, inputs[i].sequence));
        if (!inputs[i].tokens) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "input %d has no tokens", (int)i);
        for (int32_t j = 0; j < i; j++)
            if (inputs[j].sequence == inputs[i].sequence)
                return imp_fail(IMP_ERR_INVALID_ARGUMENT, "sequence %d is in the step twice", (int)inputs[i].sequence);
    }
    return IMP_OK;
}

ImpStatus imp_step(ImpContext context, const ImpStepInput *inputs, int32_t n_inputs, float *logits)
{
    API_REQUIRE(context);
    API_REQUIRE(inputs);
    const int32_t max_sequences = runner_options(context->runner)->max_sequences;
    if (n_inputs < 1 || n_inputs > max_sequences)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a step of %d sequences was asked for, 1 to %d are possible",
                        (int)n_inputs, (int)max_sequences);
    IMP_TRY(check_inputs(context, inputs, n_inputs));
    bool wants_logits = false;
    for (int32_t i = 0; i < n_inputs; i++) {
        wants_logits = wants_logits || inputs[i].n_logits > 0;
        context->step_inputs[i] = (StepInput){.sequence = inputs[i].sequence,
                                              .tokens = inputs[i].tokens,
                                              .n_tokens = inputs[i].n_tokens,
                                              .n_logits = inputs[i].n_logits};
    }
    if (wants_logits) API_REQUIRE(logits);
    return runner_step(context->runner, context->step_inputs, n_inputs, logits);
}
