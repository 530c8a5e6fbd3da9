/*
 * runner.c - builds batches out of sequences: pages are grown, rows laid out, the forward pass run, tokens committed.
 */
#include "runtime/runner.h"

#include <stdlib.h>

struct Runner {
    Compute *compute;
    Forward *forward;
    KvCache *kv;
    const Model *model;
    RunnerOptions options;
    /* One step's arrays, sized once. */
    int32_t *tokens, *positions; /* [chunk] */
    int32_t *logit_rows;         /* [max_logits] */
    BatchSequence *sequences;    /* [max_sequences] */
    /* The step that was begun. */
    Batch batch;
    const StepInput *inputs;
    int32_t n_inputs;
};

enum { FALLBACK_CONTEXT = 4096, SNAPSHOT_TOKENS = 128, TAIL_TOKENS = 64 };

RunnerOptions runner_default_options(void)
{
    return (RunnerOptions){.max_sequences = 1, .chunk = 512, .kv_type = DT_F16, .pin_percent = 25};
}

static ImpStatus resolve_options(const Model *model, RunnerOptions *options)
{
    if (options->max_tokens == 0) options->max_tokens = model->n_ctx_train > 0 ? model->n_ctx_train : FALLBACK_CONTEXT;
    if (options->max_tokens < 1 || options->max_sequences < 1 || options->chunk < 1 || options->max_logits < 0)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                        "a context needs at least one token, one sequence and one row a step");
    if (model->n_ctx_most > 0 && options->max_tokens > model->n_ctx_most)
        return imp_fail(IMP_ERR_UNSUPPORTED,
                        "sequences of %d tokens are not supported: this model's dynamic rotary scaling holds for the %d "
                        "that it was trained for",
                        (int)options->max_tokens, (int)model->n_ctx_most);
    const int64_t most_rows = (int64_t)options->max_tokens * options->max_sequences;
    if (options->chunk > most_rows) options->chunk = (int32_t)most_rows;
    if (options->chunk < options->max_sequences) options->chunk = options->max_sequences;
    if (options->max_logits == 0) options->max_logits = options->max_sequences;
    const int64_t most = (int64_t)options->max_sequences * options->max_tokens;
    if (most > INT32_MAX / 2)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                        "%d sequences of %d tokens are more than a cache can hold: lower "
                        "runtime.max_seq_len or runtime.max_batch_size",
                        (int)options->max_sequences, (int)options->max_tokens);
    if (options->kv_tokens == 0) options->kv_tokens = (int32_t)most;
    if (options->kv_tokens < options->max_tokens) options->kv_tokens = options->max_tokens;
    return IMP_OK;
}

/* Pages of one group: what all sequences can hold at once, or what kv_tokens pay for. The prefix index keeps windowed
 * pages too: a quarter of the full number is set aside for it. */
static int32_t group_pages(const PageGroup *group, const RunnerOptions *options)
{
    const int32_t paid = (options->kv_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS + options->max_sequences;
    if (group->window == 0) return paid;
    int64_t need = (int64_t)kv_pages_needed(group, options->max_tokens, options->chunk) * options->max_sequences;
    if (options->prefix_index) need += paid / 4;
    return need < paid ? (int32_t)need : paid;
}

static ComputeSizes compute_sizes(const Model *model, const RunnerOptions *options)
{
    ComputeSizes sizes = {.max_rows = options->chunk,
                          .max_sequences = options->max_sequences,
                          .max_logits = options->max_logits,
                          .max_tokens = options->max_tokens,
                          .kv_type = options->kv_type};
    if (model->has_state) sizes.n_state_slots = options->max_sequences + options->n_snapshots;
    for (int32_t g = 0; g < model->n_page_groups; g++) sizes.n_pages[g] = group_pages(&model->page_groups[g], options);
    return sizes;
}

static ImpStatus create_arrays(Runner *runner)
{
    const RunnerOptions *options = &runner->options;
    runner->tokens = calloc((size_t)options->chunk, sizeof *runner->tokens);
    runner->positions = calloc((size_t)options->chunk, sizeof *runner->positions);
    runner->logit_rows = calloc((size_t)options->max_logits, sizeof *runner->logit_rows);
    runner->sequences = calloc((size_t)options->max_sequences, sizeof *runner->sequences);
    const bool good = runner->tokens && runner->positions && runner->logit_rows && runner->sequences;
    return good ? IMP_OK : imp_fail_memory((size_t)options->chunk * 2 * sizeof(int32_t));
}

ImpStatus runner_create(Backend *backend, const Model *model, const RunnerOptions *options, Runner **out)
{
    *out = NULL;
    Runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL) return imp_fail_memory(sizeof *runner);
    ImpStatus status;
    runner->model = model;
    runner->options = *options;
    IMP_GOTO(resolve_options(model, &runner->options));
    IMP_GOTO(create_arrays(runner));
    const ComputeSizes sizes = compute_sizes(model, &runner->options);
    IMP_GOTO(backend->ops->create_compute(backend, model, &sizes, &runner->compute));
    IMP_GOTO(forward_create(runner->compute, &runner->forward));
    const KvOptions kv = {.max_sequences = runner->options.max_sequences,
                          .max_tokens = runner->options.max_tokens,
                          .prefix_index = runner->options.prefix_index,
                          .pin_percent = runner->options.pin_percent};
    IMP_GOTO(kv_cache_create(model, &sizes, &kv, &runner->kv));
    *out = runner;
    return IMP_OK;
fail:
    runner_free(runner);
    return status;
}

void runner_free(Runner *runner)
{
    if (runner == NULL) return;
    kv_cache_free(runner->kv);
    forward_free(runner->forward);
    if (runner->compute != NULL) runner->compute->ops->destroy(runner->compute);
    free(runner->tokens);
    free(runner->positions);
    free(runner->logit_rows);
    free(runner->sequences);
    free(runner);
}

const RunnerOptions *runner_options(const Runner *runner) { return &runner->options; }
Forward *runner_forward(Runner *runner) { return runner->forward; }
KvCache *runner_kv(Runner *runner) { return runner->kv; }

static ImpStatus check_inputs(const Runner *runner, const StepInput *inputs, int32_t n_inputs)
{
    const RunnerOptions *options = &runner->options;
    int64_t rows = 0, logits = 0;
    if (n_inputs < 1 || n_inputs > options->max_sequences)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a step of %d sequences was asked for, 1 to %d are possible",
                        (int)n_inputs, (int)options->max_sequences);
    for (int32_t i = 0; i < n_inputs; i++) {
        const StepInput *input = &inputs[i];
        if (input->n_tokens < 1 || input->n_logits < 0 || input->n_logits > input->n_tokens)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a sequence needs a token, and has logits for its tokens only");
        for (int32_t t = 0; t < input->n_tokens; t++)
            if (input->tokens[t] < 0 || input->tokens[t] >= runner->model->n_vocab)
                return imp_fail(IMP_ERR_INVALID_ARGUMENT, "token id %d is outside the vocabulary of %d",
                                (int)input->tokens[t], (int)runner->model->n_vocab);
        rows += input->n_tokens;
        logits += input->n_logits;
    }
    if (rows > options->chunk || logits > options->max_logits)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a step of %lld rows with %lld logits is larger than %d and %d",
                        (long long)rows, (long long)logits, (int)options->chunk, (int)options->max_logits);
    return IMP_OK;
}

/* Room for every sequence, or for none: what was grown for the earlier ones is given back. */
static ImpStatus grow_all(Runner *runner, const StepInput *inputs, int32_t n_inputs)
{
    for (int32_t i = 0; i < n_inputs; i++) {
        const ImpStatus status = kv_sequence_grow(runner->kv, inputs[i].sequence, inputs[i].n_tokens);
        if (status == IMP_OK) continue;
        for (int32_t j = 0; j < i; j++)
            (void)kv_sequence_rewind(runner->kv, inputs[j].sequence,
                                     kv_sequence_length(runner->kv, inputs[j].sequence));
        return status;
    }
    return IMP_OK;
}

/* Lays out the rows of all sequences one after the other. */
static Batch lay_out(Runner *runner, const StepInput *inputs, int32_t n_inputs)
{
    int32_t row = 0, n_logits = 0;
    for (int32_t i = 0; i < n_inputs; i++) {
        const StepInput *input = &inputs[i];
        BatchSequence *sequence = &runner->sequences[i];
        kv_sequence_describe(runner->kv, input->sequence, sequence);
        sequence->first_row = row;
        sequence->n_rows = input->n_tokens;
        for (int32_t t = 0; t < input->n_tokens; t++, row++) {
            runner->tokens[row] = input->tokens[t];
            runner->positions[row] = sequence->n_past + t;
            if (t >= input->n_tokens - input->n_logits) runner->logit_rows[n_logits++] = row;
        }
    }
    return (Batch){.n_rows = row,
                   .tokens = runner->tokens,
                   .positions = runner->positions,
                   .n_sequences = n_inputs,
                   .sequences = runner->sequences,
                   .n_logits = n_logits,
                   .logit_rows = runner->logit_rows};
}

ImpStatus runner_step_begin(Runner *runner, const StepInput *inputs, int32_t n_inputs, float *logits)
{
    IMP_TRY(check_inputs(runner, inputs, n_inputs));
    IMP_TRY(grow_all(runner, inputs, n_inputs));
    const Batch batch = lay_out(runner, inputs, n_inputs);
    for (int32_t i = 0; i < n_inputs; i++)
        if (batch.sequences[i].n_past == 0 && batch.sequences[i].state_slot >= 0)
            runner->compute->ops->state_clear(runner->compute, batch.sequences[i].state_slot);
    runner->batch = batch;
    runner->inputs = inputs;
    runner->n_inputs = n_inputs;
    forward_start(runner->forward, &runner->batch, logits);
    return IMP_OK;
}

ImpStatus runner_step_end(Runner *runner)
{
    const StepInput *inputs = runner->inputs;
    IMP_TRY(forward_finish(runner->forward));
    for (int32_t i = 0; i < runner->n_inputs; i++) {
        kv_sequence_commit(runner->kv, inputs[i].sequence, inputs[i].tokens, inputs[i].n_tokens);
        const int32_t slot = kv_sequence_snapshot(runner->kv, inputs[i].sequence);
        if (slot >= 0) runner->compute->ops->state_copy(runner->compute, inputs[i].sequence, slot);
    }
    return IMP_OK;
}

ImpStatus runner_step(Runner *runner, const StepInput *inputs, int32_t n_inputs, float *logits)
{
    IMP_TRY(runner_step_begin(runner, inputs, n_inputs, logits));
    return runner_step_end(runner);
}

bool runner_draws(const Runner *runner) { return runner->compute->draws; }

void runner_sample(Runner *runner, const SampleRow *rows, SampleResult *results)
{
    runner->compute->ops->sample(runner->compute, rows, results);
}

ImpStatus runner_read_logits(Runner *runner, int32_t index, float *logits)
{
    return runner->compute->ops->logits_read(runner->compute, index, logits);
}

ComputeMemory runner_memory(const Runner *runner) { return runner->compute->memory; }

float *runner_logits_alloc(Runner *runner, int32_t n_rows)
{
    return runner->compute->ops->host_alloc(runner->compute,
                                            (size_t)n_rows * (size_t)runner->model->n_vocab * sizeof(float));
}

void runner_logits_free(Runner *runner, float *logits)
{
    if (logits != NULL) runner->compute->ops->host_free(runner->compute, logits);
}

int32_t runner_start(Runner *runner, int32_t sequence, const int32_t *tokens, int32_t n_tokens)
{
    const KvStart start = kv_sequence_start(runner->kv, sequence, tokens, n_tokens);
    const int32_t slot = kv_sequence_state_slot(runner->kv, sequence);
    if (start.from_snapshot >= 0) runner->compute->ops->state_copy(runner->compute, start.from_snapshot, slot);
    return start.n_kept;
}

int32_t runner_chunk(const Runner *runner, int32_t sequence, int32_t n_left, int32_t budget, int32_t border)
{
    int32_t count = n_left < budget ? n_left : budget;
    if (!runner->model->has_state || !runner->options.prefix_index) return count;
    /* States are kept every so often; at the last page border of the prompt, where its continuation will start; and a
     * little before, where another last message will. */
    const int32_t from = kv_sequence_length(runner->kv, sequence);
    const int32_t next = from - from % SNAPSHOT_TOKENS + SNAPSHOT_TOKENS;
    const int32_t end = from + n_left, last = end - 1 - (end - 1) % KV_PAGE_TOKENS;
    if (next <= from + count) count = next - from;
    if (last > from && last < from + count) count = last - from;
    if (last - TAIL_TOKENS > from && last - TAIL_TOKENS < from + count) count = last - TAIL_TOKENS - from;
    border -= border % KV_PAGE_TOKENS;
    if (border > from && border < from + count) count = border - from;
    return count;
}

/* The last step of a prompt, with a draw; logits reach the host where the draw leaves them to it. */
static ImpStatus step_drawing(Runner *runner, const StepInput *input, float *logits, StepDraw *draw)
{
    SampleRow row = {.kind = SAMPLE_NOTHING};
    draw->result = (SampleResult){.token = SAMPLE_UNDONE};
    IMP_TRY(runner_step_begin(runner, input, 1, NULL));
    const ImpStatus described = draw->describe(draw->user, &row);
    if (described == IMP_OK) runner_sample(runner, &row, &draw->result);
    IMP_TRY(runner_step_end(runner));
    IMP_TRY(described);
    return draw->result.token == SAMPLE_UNDONE ? runner_read_logits(runner, 0, logits) : IMP_OK;
}

ImpStatus runner_prefill(Runner *runner, int32_t sequence, const int32_t *tokens, int32_t n_tokens, float *logits,
                         StepDraw *draw, const Progress *progress)
{
    for (int32_t done = 0; done < n_tokens;) {
        const int32_t left = n_tokens - done;
        const int32_t count = runner_chunk(runner, sequence, left, runner->options.chunk, 0);
        const StepInput input = {.sequence = sequence,
                                 .tokens = tokens + done,
                                 .n_tokens = count,
                                 .n_logits = logits != NULL && count == left ? 1 : 0};
        IMP_TRY(draw != NULL && count == left ? step_drawing(runner, &input, logits, draw)
                                              : runner_step(runner, &input, 1, logits));
        done += count;
        if (progress != NULL && progress->callback != NULL &&
            !progress->callback(progress->user, "prompt", (uint64_t)done, (uint64_t)n_tokens))
            return imp_fail(IMP_ERR_CANCELLED, "the prompt was cancelled after %d of %d tokens", (int)done,
                            (int)n_tokens);
    }
    return IMP_OK;
}
