/*
 * runner.h - a model on a backend with its pages: feed tokens to sequences, get logits. What generation, benchmarks,
 * perplexity and the engine stand on.
 */
#ifndef IMP_RUNTIME_RUNNER_H
#define IMP_RUNTIME_RUNNER_H

#include "compute/forward.h"
#include "memory/kv_cache.h"

typedef struct Runner Runner;

typedef struct RunnerOptions {
    int32_t max_tokens;    /* of one sequence; 0: the model's training context */
    int32_t max_sequences; /* running together */
    int32_t chunk;         /* most rows of one step */
    int32_t max_logits;    /* logit rows of one step; 0: max_sequences */
    DType kv_type;         /* what the backend supports: F32, F16 and BF16 everywhere */
    int32_t kv_tokens;     /* tokens that the pages hold in all; 0: every sequence at max_tokens */
    bool prefix_index;     /* remember computed prefixes for later sequences */
    int32_t n_snapshots;   /* recurrent states kept for them */
    float pin_percent;     /* share of the pages that pins may hold */
} RunnerOptions;

RunnerOptions runner_default_options(void);

/* `backend` has prepared `model`; both outlive the runner. */
ImpStatus runner_create(Backend *backend, const Model *model, const RunnerOptions *options, Runner **out);
void runner_free(Runner *runner);

const RunnerOptions *runner_options(const Runner *runner); /* with defaults resolved */
Forward *runner_forward(Runner *runner);
KvCache *runner_kv(Runner *runner);

/* What one sequence contributes to a step. */
typedef struct StepInput {
    int32_t sequence;      /* a kv_cache handle */
    const int32_t *tokens; /* [n_tokens], n_tokens >= 1 */
    int32_t n_tokens;
    int32_t n_logits; /* logits of its last n_logits tokens are wanted */
} StepInput;

/* Makes a sequence stand for the longest prefix of `tokens` that is already computed, at most n_tokens-1 long, and
 * returns its length: the caller feeds the rest. */
int32_t runner_start(Runner *runner, int32_t sequence, const int32_t *tokens, int32_t n_tokens);

/* How many of the next `n_left` tokens of a prompt should go into one step of at most `budget` rows: fewer where a
 * recurrent state is to be kept at a page border, the last one before `border` tokens among them (0: no such wish). */
int32_t runner_chunk(const Runner *runner, int32_t sequence, int32_t n_left, int32_t budget, int32_t border);

/* One step over several sequences (the sum of n_tokens at most `chunk`); logits [sum of n_logits][n_vocab] in order.
 * On IMP_ERR_CONTEXT_FULL nothing has changed. */
ImpStatus runner_step(Runner *runner, const StepInput *inputs, int32_t n_inputs, float *logits);

/* The same in two parts; the backend may compute between them. `inputs` live until the second. logits NULL: they stay
 * with a backend that draws. When the first fails nothing has begun and the second must not follow. */
ImpStatus runner_step_begin(Runner *runner, const StepInput *inputs, int32_t n_inputs, float *logits);
ImpStatus runner_step_end(Runner *runner);

/* Whether the backend draws tokens itself. */
bool runner_draws(const Runner *runner);
/* Between the two parts, where logits stayed: rows, results: [the sum of n_logits]; the results are there behind the
 * second part, the rows and what they point at are free at once. */
void runner_sample(Runner *runner, const SampleRow *rows, SampleResult *results);
/* Behind the second part: a row of the logits that stayed, from which nothing was drawn. */
ImpStatus runner_read_logits(Runner *runner, int32_t index, float *logits);

/* What its compute took. */
ComputeMemory runner_memory(const Runner *runner);

/* Where a step's logits go fastest: [n_rows][n_vocab], zeroed. NULL: memory is short. */
float *runner_logits_alloc(Runner *runner, int32_t n_rows);
void runner_logits_free(Runner *runner, float *logits);

/* A draw behind a prompt, by a backend that draws: while it computes it is asked for. */
typedef struct StepDraw {
    ImpStatus (*describe)(void *user, SampleRow *row);
    void *user;
    SampleResult result;
} StepDraw;

/* Feeds a prompt of any length in chunks; logits of the last token only ([n_vocab], NULL: none). With a draw, of which a
 * token is made, they are copied only where that leaves them to the host (SAMPLE_UNDONE). */
ImpStatus runner_prefill(Runner *runner, int32_t sequence, const int32_t *tokens, int32_t n_tokens, float *logits,
                         StepDraw *draw, const Progress *progress);

#endif
